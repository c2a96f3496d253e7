//! What is wrong with a file, where, and what would be right.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::raw::At;

/// Whether a problem keeps the policy from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The policy can't be used, in whole or in part.
    Error,
    /// It can; somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file as given, or the name of a shipped policy (`presets/npm`).
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The key: `egress.allow[3].host`; empty for the file as a whole.
    pub path: String,
    /// A lower-case fragment that says what would be right.
    pub message: String,
    /// Whether the policy can be used nevertheless.
    pub severity: Level,
}

impl Problem {
    /// An error.
    pub fn error(file: impl Into<PathBuf>, at: At, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: at.line,
            column: at.column,
            path: path.into(),
            message: message.into(),
            severity: Level::Error,
        }
    }

    /// A warning.
    pub fn warning(file: impl Into<PathBuf>, at: At, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Level::Warning, ..Self::error(file, at, path, message) }
    }

    /// Whether the policy can't be used.
    pub fn is_error(&self) -> bool {
        self.severity == Level::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if self.severity == Level::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
