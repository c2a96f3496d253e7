//! Policy files: read, checked, combined, and resolved for a runner.
//!
//! `raw` makes a tree of the text, `check` makes a draft of the tree or says everything that is wrong, `load` follows
//! includes and makes one [`Policy`](crate::policy::Policy). A policy with an error is never applied in part.

pub mod raw;
pub mod problem;
pub mod ecosystem;
pub mod check;
pub mod schema;
pub mod shipped;
pub mod load;
pub mod cases;
pub mod machine;
pub mod recorded;
pub mod combined;
pub mod sinks;
pub mod daemon;

pub use combined::{Combined, combine};
pub use daemon::DaemonConfig;
pub use ecosystem::{Answers, Runtime, Surroundings};
pub use load::load;
pub use problem::{Level, Problem};
pub use recorded::{Recorded, load_recording};
pub use schema::schema;

#[cfg(test)]
mod tests;
