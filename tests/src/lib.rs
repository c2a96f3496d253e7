//! What the end-to-end tests share: running a command as a job, reading its log, and places to act in that go away.
//!
//! The tests need root and a kernel. One that can't run here says why in the file that `RUNNER_AGENT_TEST_REPORT` names
//! and ends well; `cargo xtask test` then counts it as skipped. Network acts stay on loopback or in namespaces that the
//! test made, and a test signals only what it started.
#![forbid(unsafe_code)]

pub mod binary;
pub mod cgroup;
pub mod daemon;
pub mod engine;
pub mod helper;
pub mod host;
pub mod internet;
pub mod job;
pub mod log;
pub mod namespace;
pub mod nats;
pub mod pattern;
pub mod reader;
pub mod receiver;
pub mod report;

pub use cgroup::Cgroup;
pub use daemon::{Daemon, Worked};
pub use helper::{Helper, wait_until, wait_until_every};
pub use internet::Internet;
pub use job::{AT_EVERY_CALL, Job, Run};
pub use log::{Line, Log};
pub use namespace::Namespace;
pub use nats::NatsServer;
pub use reader::Reader;
pub use receiver::{Received, Receiver, Reply};
