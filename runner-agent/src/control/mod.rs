//! Control: what runner hooks and the Action ask the daemon, over a Unix socket. One question a connection, one JSON object each
//! way.
//!
//! Who asks is what the kernel says of the peer, and which job it is is read from that process's own environment: nothing that
//! an answer rests on can be written into a question.

mod answer;
mod ask;
mod desk;
mod jobs;
mod kept;
mod listen;
mod metrics;
mod peer;
mod policies;
mod protocol;
mod serve;

pub use answer::SCHEMA;
pub use ask::{AskError, ask};
pub use kept::answer_for_keeper;
pub use listen::Handed;
pub use policies::Policies;
pub use protocol::{GivenPolicy, NOT_ARMED, Request, USAGE};
pub use serve::{Place, ServeError, serve};
