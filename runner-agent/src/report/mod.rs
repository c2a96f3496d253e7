//! Reports: what a job did, for people.

mod account;
pub mod style;
pub mod summary;
