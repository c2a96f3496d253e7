//! The agent at work on one job: arm, check, start the command, pass records on until it ends, settle the account.

mod account;
mod announcing;
mod arm;
mod at_work;
mod block;
mod child;
mod end;
mod exes;
mod flow;
mod footing;
mod gating;
mod guarding;
mod introducing;
mod keeper;
pub mod launch;
mod platform;
mod resolving;
mod run;
mod sealing;
mod self_check;
mod service;
mod signals;
mod state;
mod station;
mod succession;
mod tending;
mod watched;
mod trial;

pub use block::default_runtime;
pub use flow::LOG;
pub use keeper::{Clerk, KeepOptions, Kept, keep};
pub use run::{Outcome, RunError, RunOptions, run};
pub use sealing::{CHECKPOINT_EVERY, Sealing};
pub use self_check::act as act_as_child;
pub use service::{BeginError, Begun, Elsewhere, Ended, Figures, JobRequest, Past, Service, ServiceOptions, Standing};
pub use trial::{BlockTrial, Trial, try_to_arm, try_to_block};
