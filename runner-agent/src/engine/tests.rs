//! Verdicts as a table, and the gate before an engine that records what it saw.

#[path = "../../../tests/src/engine.rs"]
mod fake;
mod live;
mod verdicts;
