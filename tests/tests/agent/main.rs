//! The agent against this kernel: each test runs real commands as jobs and reads what the log says of them.
//!
//! One binary because tests of one program build and link once; what needs the machine to itself stands in
//! `completeness`.

mod block_faults;
mod containers;
mod disks;
mod ending;
mod engine;
mod evidence;
mod exec;
mod files;
mod golden;
mod input;
mod loss;
mod names;
mod net;
mod network;
mod not_armed;
mod reads;
mod secrets;
mod services;

use end_to_end::{Job, binary};

/// The helper that acts inside jobs.
const ACT: &str = env!("CARGO_BIN_EXE_act");

/// A job that runs this command.
fn job(command: &[&str]) -> Job {
    Job::new(binary::agent(ACT), command)
}

/// A job that does one trick.
fn act(trick: &[&str]) -> Job {
    job(&[&[ACT], trick].concat())
}

/// A job that runs a script; `$ACT` is the helper.
fn shell(script: &str) -> Job {
    job(&["bash", "-c", script]).variable("ACT", ACT)
}
