//! The forms in which notices leave: one notice becomes one item of bytes, and items that go together become one body.
//!
//! Items are bytes so that they can wait in a spool, over a restart too, and be sent again as they were.

use std::sync::Arc;

use super::Encoder;
use crate::identity::JobIdentity;
use crate::notice::Notice;
use crate::policy::{Mode, Trust, words};

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The event log's own lines (`docs/event-log.md`), with an empty `prev`.
    Native,
}

words!(Format, "native", {
    Format::Native => "native",
});

/// What is the same for every notice of a job.
#[derive(Clone, Debug)]
pub struct About {
    /// Clock and view of the agent.
    pub encoder: Encoder,
    /// The job's id.
    pub job: Arc<str>,
    /// Name of the machine.
    pub host: String,
    /// Which job it is, where a provider says so.
    pub identity: Option<JobIdentity>,
    /// How far its code is trusted, where that was asked.
    pub trust: Option<Trust>,
    /// Name of its policy.
    pub policy: String,
    /// SHA-256 of the policy's files.
    pub policy_sha256: String,
    /// What happens to what the policy doesn't allow.
    pub mode: Mode,
}

impl About {
    /// What tells a notice from every other, whenever and however often it is sent.
    pub fn id(&self, notice: &Notice) -> String {
        format!("{}-{}", self.job, notice.seq)
    }
}

impl Format {
    /// Appends a notice as one item. False, and nothing is appended, when the form has no place for it.
    pub fn encode(self, notice: &Notice, about: &About, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Native => about.encoder.encode(notice, "", out),
        }
        true
    }

    /// One body of several items, in their order.
    pub fn body(self, items: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Native => items.iter().flat_map(|item| item.iter().copied().chain([b'\n'])).collect(),
        }
    }

    /// The body's media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Native => "application/x-ndjson",
        }
    }

    /// How many items a body may have at most.
    pub fn most_items(self) -> usize {
        match self {
            Self::Native => usize::MAX,
        }
    }
}
