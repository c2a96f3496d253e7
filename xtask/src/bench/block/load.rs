//! Loads of block mode, run in a process of their own, with or without an agent that can't be told apart from within. The
//! agent is the parent; what the kernel knows of its programs and threads is read from `/proc` around each loop.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::names;
use super::proc::{Agent, Programs};
use super::rules::destinations;

/// Ports of the loads' listeners. The namespace has no others.
pub const PORTS: RangeInclusive<u16> = 20_000..=20_007;

/// A loop is cut into so many pieces, of which the quickest quarter counts: neighbours make pieces slower, never quicker,
/// and on many machines a CPU is half of a core whose other half is theirs.
const PIECES: u64 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Connects and datagrams to one destination, and to two in turn
    Calls,
    /// Connects and datagrams to destinations all over the generated rules
    Spread,
    /// Questions for one name, as fast as they are answered
    CachedNames,
    /// Questions for names that nobody asked before, one after the other
    FreshNames,
    /// Questions for very many names, half of them allowed, with the agent's memory in between
    ManyNames,
    /// Nothing at all
    Nothing,
    /// Beside the loads: answers every question until ended
    Upstream,
    /// Beside the loads: takes connections until ended
    Server,
}

#[derive(Args)]
pub struct Options {
    #[arg(value_enum)]
    work: Work,
    /// How many operations
    count: u64,
    /// Rules of the policy, where destinations are spread over them
    #[arg(long)]
    rules: usize,
    /// Where to write the result
    #[arg(long)]
    result: PathBuf,
    /// The parent is an agent
    #[arg(long)]
    under_agent: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let Options { work, count, rules, result, under_agent } = options;
    let agent = under_agent.then(Agent::parent).transpose()?;
    let value = match work {
        Work::Calls => calls(*count, agent.as_ref())?,
        Work::Spread => spread(*count, *rules)?,
        Work::CachedNames => names::cached(*count, agent.as_ref())?,
        Work::FreshNames => names::fresh(*count)?,
        Work::ManyNames => names::many(*count, agent.as_ref().context("this load looks at the agent")?)?,
        Work::Nothing => {
            agent.as_ref().map_or(Ok(json!({})), |agent| Ok::<_, anyhow::Error>(agent.memory()?.json()))?
        }
        Work::Upstream => names::upstream()?,
        Work::Server => server()?,
    };
    fs::write(result, format!("{value}\n")).with_context(|| result.display().to_string())
}

/// Says that the work beside the loads has begun.
pub fn say_ready() -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(b"ready\n").and_then(|()| out.flush()).context("standard output")
}

/// Nanoseconds an operation, of this thread's own time: who else had the CPU meanwhile does not count.
fn each(count: u64, mut operation: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let piece = count.div_ceil(PIECES).max(1);
    let mut pieces = Vec::new();
    for first in (0..count).step_by(piece as usize) {
        let start = own_time();
        let last = count.min(first + piece);
        for number in first..last {
            operation(number)?;
        }
        pieces.push((own_time() - start) / (last - first) as f64);
        // The agent empties its rings meanwhile: a full one would make the next piece cheaper than it is.
        std::thread::sleep(Duration::from_millis(3));
    }
    quickest_quarter(pieces).context("no operation was asked for")
}

/// Nanoseconds that this thread ran so far.
fn own_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// The value below which a quarter lies.
fn quickest_quarter(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 4).copied()
}

/// Takes connections for ever: whoever connects pays for one end alone, as with servers elsewhere.
fn server() -> Result<Value> {
    let listener = TcpListener::bind(any(*PORTS.end())).context("a listener")?;
    say_ready()?;
    loop {
        drop(listener.accept().context("taking a connection")?);
    }
}

/// One destination after the other from a list, for ever.
fn in_turn(places: &[SocketAddr], number: u64) -> SocketAddr {
    places[(number % places.len() as u64) as usize]
}

fn place(last: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, last), *PORTS.start()).into()
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

/// The loops around single calls, with what the kernel counted around each.
fn calls(count: u64, agent: Option<&Agent>) -> Result<Value> {
    // Nobody reads: the kernel drops what does not fit, at the same price with and without the agent.
    let _receiver = UdpSocket::bind(any(*PORTS.start())).context("a receiver")?;
    let listener = TcpListener::bind(any(*PORTS.start())).context("a listener")?;
    let mut result = Map::new();
    let mut measure = |name: &str, count: u64, operation: &mut dyn FnMut(u64) -> Result<()>| -> Result<()> {
        let before = agent.map(Agent::programs).transpose()?;
        result.insert(name.to_owned(), json!(each(count, operation)?));
        if let (Some(agent), Some(before)) = (agent, before) {
            let ran: Programs = agent.programs()?.since(&before);
            result.insert(format!("{name} programs"), ran.json(count));
        }
        Ok(())
    };
    let mut alone = Vec::new();
    measure("tcp, both ends", count / 5, &mut |_| {
        let start = Instant::now();
        let stream = TcpStream::connect(place(2)).context("connecting")?;
        alone.push(start.elapsed().as_nanos() as f64);
        drop(listener.accept().context("taking the connection")?);
        drop(stream);
        Ok(())
    })?;
    let both_ends = quickest_quarter(std::mem::take(&mut alone));
    let server = (Ipv4Addr::new(127, 0, 0, 2), *PORTS.end());
    measure("tcp, one end", count / 5, &mut |_| {
        let start = Instant::now();
        let stream = TcpStream::connect(server).context("connecting")?;
        alone.push(start.elapsed().as_nanos() as f64);
        drop(stream);
        Ok(())
    })?;
    // No packet goes out for it, so this is the connect hook and little else.
    let socket = UdpSocket::bind(any(0)).context("a sender")?;
    measure("connect", count, &mut |_| socket.connect(place(2)).context("connecting"))?;
    let two = [place(2), place(3)];
    measure("connect, two in turn", count, &mut |number| socket.connect(in_turn(&two, number)).context("connecting"))?;
    let sender = UdpSocket::bind(any(0)).context("a sender")?;
    let send = |to: SocketAddr| sender.send_to(&[0; 32], to).map(drop).context("sending");
    measure("sendto", 4 * count, &mut |_| send(place(2)))?;
    measure("sendto, two in turn", count, &mut |number| send(in_turn(&two, number)))?;
    result.insert("tcp, both ends, connect alone".to_owned(), json!(both_ends));
    result.insert("tcp, one end, connect alone".to_owned(), json!(quickest_quarter(alone)));
    Ok(Value::Object(result))
}

/// The same calls, to destinations that many rules decide about.
fn spread(count: u64, rules: usize) -> Result<Value> {
    let _receivers: Vec<UdpSocket> =
        PORTS.map(|port| UdpSocket::bind(any(port)).context("a receiver")).collect::<Result<_>>()?;
    let places = destinations(rules);
    let socket = UdpSocket::bind(any(0)).context("a sender")?;
    let connect = each(count, |number| socket.connect(in_turn(&places, number)).context("connecting"))?;
    let sender = UdpSocket::bind(any(0)).context("a sender")?;
    let send = |to: SocketAddr| sender.send_to(&[0; 32], to).map(drop).context("sending");
    let changing = each(count, |number| send(in_turn(&places, number)))?;
    let same = each(4 * count, |_| send(places[0]))?;
    Ok(json!({ "connect": connect, "sendto, in turn": changing, "sendto": same }))
}
