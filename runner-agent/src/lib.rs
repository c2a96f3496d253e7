//! User side of runner-agent: everything but the command line's entry point.
//!
//! Modules stand in dependency order: each uses only those above it. `cargo xtask tidy` keeps that true.
#![forbid(unsafe_code)]

pub mod text;
pub mod json;
pub mod policy;
pub mod identity;
pub mod event;
pub mod decode;
pub mod order;
pub mod record_file;
pub mod process;
pub mod redact;
pub mod names;
pub mod job;
pub mod detect;
pub mod ledger;
pub mod notice;
pub mod pipeline;
pub mod rules;
pub mod kernel;
pub mod resolver;
pub mod engine;
pub mod report;
pub mod receipt;
pub mod sink;
pub mod verify;
pub mod config;
pub mod import;
pub mod explain;
pub mod agent;
pub mod control;
pub mod doctor;
pub mod cli;
