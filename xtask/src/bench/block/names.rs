//! Questions, and a name server that has an answer to each: what the agent's resolver is measured with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::load::say_ready;
use super::proc::Agent;
use super::world::UPSTREAM;
use crate::bench::stats::median;

/// Questions that are on their way at once, where speed is asked for.
const AT_ONCE: u64 = 32;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(5);

const HEADER: usize = 12;
/// Type A, class IN.
const TYPE_AND_CLASS: [u8; 4] = [0, 1, 0, 1];

fn question(id: u16, name: &str) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut message = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(TYPE_AND_CLASS);
    message
}

/// The same question with an address behind it, which no other question of the same number has.
fn answer(message: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let mut end = HEADER;
    while *message.get(end)? != 0 {
        end += 1 + usize::from(message[end]);
    }
    let mut answer = message.get(..end + 1 + TYPE_AND_CLASS.len())?.to_vec();
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    // The name again by a pointer to the question, type and class, a TTL of ten minutes.
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4]);
    answer.extend(address.octets());
    Some(answer)
}

/// Answers for ever: each question with the next address of the documentation's and the benchmarks' neighbours.
pub fn upstream() -> Result<Value> {
    let address: IpAddr = UPSTREAM.parse()?;
    let socket = UdpSocket::bind((address, 53)).context("the upstream's socket")?;
    say_ready()?;
    let mut buffer = [0; 1500];
    let mut next = Ipv4Addr::new(8, 0, 0, 1).to_bits();
    loop {
        let (length, from) = socket.recv_from(&mut buffer).context("a question")?;
        if let Some(answer) = answer(&buffer[..length], Ipv4Addr::from_bits(next)) {
            next += 1;
            // Who has gone needs no answer.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// A socket that asks as stub resolvers do: connected to the server that `resolv.conf` names.
fn asker() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("a socket to ask by")?;
    let server: SocketAddr = (UPSTREAM.parse::<IpAddr>()?, 53).into();
    socket.connect(server).context("the resolver's address")?;
    socket.set_read_timeout(Some(WITHIN)).context("a time limit")?;
    Ok(socket)
}

/// The code of the next answer.
fn take(socket: &UdpSocket, buffer: &mut [u8]) -> Result<u8> {
    let length = socket.recv(buffer).context("no answer came")?;
    ensure!(length > HEADER, "an answer of {length} bytes");
    Ok(buffer[3] & 0xf)
}

/// One name again and again: questions a second, and a second of the resolver's own time.
pub fn cached(count: u64, agent: Option<&Agent>) -> Result<Value> {
    let (socket, mut buffer) = (asker()?, [0; 1500]);
    let question = question(7, "cached.bench.test");
    socket.send(&question).context("asking")?;
    ensure!(take(&socket, &mut buffer)? == 0, "the name was refused");
    let before = agent.map(Agent::threads).transpose()?;
    let start = Instant::now();
    for number in 0..count + AT_ONCE {
        if number >= AT_ONCE {
            take(&socket, &mut buffer)?;
        }
        if number < count {
            socket.send(&question).context("asking")?;
        }
    }
    let taken = start.elapsed().as_secs_f64();
    let mut result = Map::new();
    result.insert("a second".to_owned(), json!(count as f64 / taken));
    if let (Some(agent), Some(before)) = (agent, before) {
        for (name, ran) in agent.threads()? {
            let ran = ran - before.get(&name).copied().unwrap_or_default();
            result.insert(format!("ns of {name}"), json!(ran / count as f64));
        }
    }
    Ok(Value::Object(result))
}

/// New names, each by a socket of its own as `getaddrinfo` does: microseconds until the answer.
pub fn fresh(count: u64) -> Result<Value> {
    let mut buffer = [0; 1500];
    let mut taken = Vec::new();
    for number in 0..count {
        let question = question(number as u16, &format!("n{number}.bench.test"));
        let start = Instant::now();
        let socket = asker()?;
        socket.send(&question).context("asking")?;
        let code = take(&socket, &mut buffer)?;
        taken.push(start.elapsed().as_nanos() as f64 / 1e3);
        ensure!(code == 0, "name {number} was refused with {code}");
    }
    taken.sort_by(f64::total_cmp);
    let late = taken.get(taken.len() * 99 / 100).copied();
    Ok(json!({ "median": median(&taken), "99 of 100": late }))
}

/// Very many names, every other one of them allowed by a wildcard; the agent's size at each tenth.
pub fn many(count: u64, agent: &Agent) -> Result<Value> {
    let (socket, mut buffer) = (asker()?, [0; 1500]);
    let mut sizes = vec![agent.memory()?.json()];
    let (mut answered, mut refused, mut failed) = (0_u64, 0_u64, 0_u64);
    for tenth in 0..10 {
        let (first, last) = (count * tenth / 10, count * (tenth + 1) / 10);
        for number in first..last + AT_ONCE {
            if number >= first + AT_ONCE {
                match take(&socket, &mut buffer)? {
                    0 => answered += 1,
                    3 | 5 => refused += 1,
                    2 => failed += 1,
                    other => bail!("an answer with code {other}"),
                }
            }
            if number < last {
                let domain = if number.is_multiple_of(2) { "bench" } else { "elsewhere" };
                socket.send(&question(number as u16, &format!("n{number}.{domain}.test"))).context("asking")?;
            }
        }
        sizes.push(agent.memory()?.json());
    }
    Ok(json!({ "sizes": sizes, "answered": answered, "refused": refused, "failed": failed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_its_question() {
        let question = question(0x1234, "a.bench.test");
        let answer = answer(&question, Ipv4Addr::new(8, 0, 0, 9)).expect("it is a question");
        assert_eq!(answer[..2], [0x12, 0x34]);
        assert_eq!(answer[HEADER..question.len()], question[HEADER..]);
        assert_eq!(answer[answer.len() - 4..], [8, 0, 0, 9]);
        assert_eq!(super::answer(&question[..20], Ipv4Addr::LOCALHOST), None);
    }
}
