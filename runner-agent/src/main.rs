//! The `runner-agent` command.
fn main() {}
