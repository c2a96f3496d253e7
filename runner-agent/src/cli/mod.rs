//! The command line, one file per subcommand.

pub mod policy;

/// Exit code for a command line or a policy that is not right.
pub const USAGE: u8 = 2;
