//! The loads: loops around one operation each, in this process, timed from within.
//!
//! Each runs bare or below the agent and can't tell which. Start and end of the process are not measured, so neither is
//! the agent's own start.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

/// One operation that the agent could make slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    ExecTrue,
    ExecStatic,
    OpenUnwatched,
    OpenWatched,
    Connect,
    UdpSend,
    CargoBuild,
}

impl Kind {
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::ExecTrue => "exec-true",
            Self::ExecStatic => "exec-static",
            Self::OpenUnwatched => "open-unwatched",
            Self::OpenWatched => "open-watched",
            Self::Connect => "connect",
            Self::UdpSend => "udp-send",
            Self::CargoBuild => "cargo-build",
        }
    }

    /// Its name in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::ExecTrue => "exec of /bin/true",
            Self::ExecStatic => "exec of a static program",
            Self::OpenUnwatched => "open and close, unwatched file",
            Self::OpenWatched => "open and close, watched file",
            Self::Connect => "TCP connect, loopback",
            Self::UdpSend => "UDP sendto, loopback",
            Self::CargoBuild => "cargo build",
        }
    }

    /// Operations in one measurement: enough for about a second.
    pub fn count(self) -> u64 {
        match self {
            Self::ExecTrue | Self::ExecStatic => 2_000,
            Self::OpenUnwatched | Self::UdpSend => 200_000,
            Self::OpenWatched => 20_000,
            Self::Connect => 5_000,
            Self::CargoBuild => 1,
        }
    }
}

#[derive(Args)]
pub struct Options {
    #[arg(value_enum)]
    kind: Kind,
    /// How many operations
    count: u64,
    /// The program, file or project to work on
    #[arg(long)]
    path: PathBuf,
    /// Where to write nanoseconds per operation
    #[arg(long)]
    result: PathBuf,
}

pub fn run(options: &Options) -> Result<()> {
    let Options { kind, count, path, result } = options;
    let taken = match kind {
        Kind::ExecTrue | Kind::ExecStatic => exec(path, *count)?,
        Kind::OpenUnwatched | Kind::OpenWatched => open(path, *count)?,
        Kind::Connect => connect(*count)?,
        Kind::UdpSend => udp_send(*count)?,
        Kind::CargoBuild => cargo_build(path, *count)?,
    };
    let each = taken.as_nanos() as f64 / *count as f64;
    fs::write(result, format!("{each}\n")).with_context(|| result.display().to_string())
}

fn exec(program: &Path, count: u64) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        let status = Command::new(program).stdin(Stdio::null()).status().context("starting the program")?;
        if !status.success() {
            bail!("{} ended with {status}", program.display());
        }
    }
    Ok(start.elapsed())
}

fn open(path: &Path, count: u64) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        drop(File::open(path).context("opening the file")?);
    }
    Ok(start.elapsed())
}

fn connect(count: u64) -> Result<Duration> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a listener on loopback")?;
    let address = listener.local_addr().context("the listener's address")?;
    let start = Instant::now();
    for _ in 0..count {
        let stream = TcpStream::connect(address).context("connecting to loopback")?;
        // Taken in turn: a listener that falls behind would make the kernel drop a connection's first packet, and that
        // connection wait a second for the next try.
        drop(listener.accept().context("taking the connection")?);
        drop(stream);
    }
    Ok(start.elapsed())
}

fn udp_send(count: u64) -> Result<Duration> {
    // Nobody reads: the kernel drops what does not fit, at the same price with and without the agent.
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a receiver on loopback")?;
    let address = receiver.local_addr().context("the receiver's address")?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a sender on loopback")?;
    let start = Instant::now();
    for _ in 0..count {
        sender.send_to(&[0; 32], address).context("sending to loopback")?;
    }
    Ok(start.elapsed())
}

/// Each time from nothing, without the network.
fn cargo_build(project: &Path, count: u64) -> Result<Duration> {
    let cargo = env::var_os("CARGO").context("CARGO is not set")?;
    let mut taken = Duration::ZERO;
    for _ in 0..count {
        let target = tempfile::tempdir().context("a target directory")?;
        let mut command = Command::new(&cargo);
        command.args(["build", "--offline", "--quiet", "--target-dir"]).arg(target.path()).current_dir(project);
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).status().context("starting cargo")?;
        taken += start.elapsed();
        if !status.success() {
            bail!("cargo build ended with {status}");
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kinds_word_is_what_the_command_line_reads() {
        for kind in Kind::all() {
            assert_eq!(Kind::from_str(kind.word(), false), Ok(*kind));
        }
    }

    #[test]
    fn a_load_writes_a_time_per_operation() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        let result = folder.path().join("result");
        fs::write(&file, "x").expect("written");
        run(&Options { kind: Kind::OpenUnwatched, count: 10, path: file, result: result.clone() }).expect("it runs");
        let each: f64 = fs::read_to_string(result).expect("a result").trim().parse().expect("a number");
        assert!(each > 0.0);
    }
}
