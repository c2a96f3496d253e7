//! Why nothing can be said of a job. Each message says what would be right.

use super::environment::MOST_CHARS;

/// What an environment or a payload holds that no provider writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A value no provider gives.
    #[error("{name} has {chars} characters; what a provider sets has at most {MOST_CHARS}")]
    TooLong {
        /// The variable, or the payload's field as a JSON pointer.
        name: String,
        /// How many it has.
        chars: usize,
    },
    /// Two values under one name: programs differ in which of them they take.
    #[error("{0} stands in the environment twice, with two values; a name stands there once")]
    Repeated(String),
    /// A payload nobody's provider sends.
    #[error("the event's payload has {0} bytes; a provider sends at most {most}", most = super::payload::MOST_BYTES)]
    PayloadTooLarge(usize),
    /// A payload that can't be read in one way.
    #[error("the event's payload is no JSON object: {0}; give the file's bytes as the provider wrote them")]
    Payload(String),
}
