//! Where notices go: each sink has a bounded queue in front of it and a thread behind it, so that a slow one costs
//! notices and never records.

pub mod wire;
pub mod json_lines;
pub mod outbox;
pub mod terminal;

pub use outbox::{Inlet, Outbox, PRIORITY, SinkLoss};
