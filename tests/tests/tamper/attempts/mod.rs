//! The attempts, by what they are at.

mod agent;
mod audited;
mod footing;
mod kernel;
mod runner;
mod uring;
mod x32;

use crate::attempt::Attempt;

/// All of them, in the order of the table.
pub const GROUPS: &[&[Attempt]] = &[
    agent::ATTEMPTS,
    footing::ATTEMPTS,
    uring::ATTEMPTS,
    x32::ATTEMPTS,
    kernel::ATTEMPTS,
    runner::ATTEMPTS,
    audited::ATTEMPTS,
];
