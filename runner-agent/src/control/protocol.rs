//! What is asked and answered.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Exit code of a client when the daemon could not do what was asked.
pub const NOT_ARMED: u8 = 125;

/// Exit code of a client that asked for something that isn't right.
pub const USAGE: u8 = 2;

/// Bytes of a question at most: it may carry policies.
pub(super) const MOST_BYTES: u64 = 4 << 20;

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Begin a job.
    Start {
        /// `audit` or `block`; the policy's own without it.
        mode: Option<String>,
        /// What narrows the policy.
        policies: Vec<GivenPolicy>,
        /// The worker; found without it.
        worker: Option<u32>,
        /// Whether a job that has begun already is as good.
        join: bool,
    },
    /// A job's result is asked for, and its end announced.
    Stop {
        /// Its id; that of whoever asks without it.
        job: Option<String>,
        /// Whether the result alone is asked for.
        only_tell: bool,
    },
    /// How the daemon is.
    Status,
    /// How its jobs are.
    List,
    /// Its figures.
    Metrics,
}

/// A policy as its text: the daemon opens no file that it is told of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenPolicy {
    /// The file's name, for messages.
    pub name: PathBuf,
    /// What is in it.
    pub text: String,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What was asked for.
    Done(Value),
    /// Why not, and with which code a client ends.
    Refused {
        /// Exit code.
        code: u8,
        /// Why, and what would be right.
        message: String,
    },
    /// The time for asking was over before the question was whole, and nothing came of it.
    Again,
}

impl Answer {
    pub(super) fn refused(code: u8, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }
}

/// Reads a question; the error is for whoever asked.
pub(super) fn parse(bytes: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        format!("that is no question that this daemon knows ({error}); client and daemon must be of one version")
    })
}

pub(super) fn to_bytes(answer: &Answer) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_sent_is_a_question_or_an_error_that_says_what_it_may_be() {
        assert!(matches!(parse(br#"{"ask":"status"}"#), Ok(Request::Status)));
        for wrong in [&b""[..], b"{", b"[]", br#"{"ask":"sudo"}"#, br#"{"ask":"stop","uid":0}"#, b"\xff\xfe"] {
            assert!(parse(wrong).unwrap_err().contains("of one version"));
        }
    }
}
