//! User side of runner-agent: everything but the command line's entry point.
//!
//! Modules stand in dependency order: each uses only those above it. `tests/module_order.rs` keeps that true.
#![forbid(unsafe_code)]

pub mod policy;
pub mod config;
pub mod cli;
