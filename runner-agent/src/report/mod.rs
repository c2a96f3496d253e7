//! Reports: what a job did, for people.

pub mod style;
pub mod summary;
