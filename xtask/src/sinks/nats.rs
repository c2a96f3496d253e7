//! NATS: a broker with a stream for the job, and the tests of our own receiver against brokers that are killed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::daemon::{Daemon, Place, free_port};
use super::endpoint::python;
use super::{Bodies, Row, outside};
use crate::{build, setup, step};

/// Names the server's program, for the tests.
pub const PROGRAM: &str = "RUNNER_AGENT_NATS_SERVER";

/// The test with a row of its own.
pub const CLUSTER: &str = "of_100_000_notices";

/// The broker that `setup --sinks` unpacked.
pub fn program() -> Result<std::path::PathBuf> {
    Ok(setup::receivers::folder()?.join(setup::receivers::NATS))
}

/// Three brokers that keep a stream together, and the one that leads killed: the test of it counts what it reads back.
pub fn rows(_: &Bodies) -> Result<Vec<Row>> {
    eprintln!("── NATS JetStream, three servers");
    let folder = tempfile::tempdir().context("a folder for what is counted")?;
    let mut cargo = build::tests();
    cargo.args(["--quiet", "--test", "sinks", CLUSTER]);
    cargo.env(PROGRAM, program()?).env(outside::RECORD, folder.path()).env("RUST_BACKTRACE", "0");
    let ran = step::run("100,000 publishes, and a server killed", &mut cargo);
    let counted = fs::read_to_string(folder.path().join("nats")).unwrap_or_default();
    let mut numbers = counted.split_whitespace().map_while(|number| number.parse().ok());
    let (sent, received) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Ok(vec![Row {
        receiver: "NATS JetStream, 1 of 3 killed",
        sent,
        received,
        validator: "nats-server: stream with three replicas read back, each id once, each body compared",
        problems: ran.err().map(|error| format!("{error:#}")).into_iter().collect(),
    }])
}

/// One broker with a stream.
pub struct Broker {
    _place: Place,
    _daemon: Daemon,
    pub url: String,
}

impl Broker {
    pub fn start() -> Result<Self> {
        let place = Place::new()?;
        let address = free_port()?;
        let text = format!("listen: \"{address}\"\njetstream {{ store_dir: \"{}\" }}\n", place.path("store").display());
        let configuration = place.write("nats.conf", &text)?;
        let mut daemon = place.start(setup::receivers::NATS, &[Path::new("-c"), &configuration])?;
        drop(daemon.connect(address)?);
        let url = format!("nats://{address}");
        python("stream", &url)?;
        Ok(Self { _place: place, _daemon: daemon, url })
    }

    /// What is in the stream, one object a line, by the broker's own client.
    pub fn messages(&self) -> Result<String> {
        python("messages", &self.url)
    }
}
