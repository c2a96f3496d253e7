//! Where notices go: each sink has a bounded queue in front of it and a thread behind it, so that a slow one costs
//! notices and never records.

pub mod wire;
pub mod sign;
pub mod subject;
pub mod settings;
pub mod backoff;
pub mod spool;
pub mod receiver;
pub mod courier;
pub mod outbox;
pub mod json_lines;
pub mod terminal;
pub mod deliveries;

pub use deliveries::{Deliveries, Drained};
pub use outbox::{Outbox, SinkLoss};

/// Nice value of the threads that empty the rings and write: before the job, behind the system's own.
pub const PRIORITY: i32 = -10;
