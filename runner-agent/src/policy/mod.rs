//! What a job may do: a pure model of a policy, without I/O, clock or syntax.
//!
//! `config` builds these values from files; the kernel side and the detectors are driven by them. Every rule has an id
//! that names the line a person would edit (`npm/egress.allow[0]`) and a `why`.

pub mod host;
pub mod suffix;
pub mod encrypted_dns;
pub mod egress;
pub mod secret;
pub mod trust;
pub mod guard;
pub mod platform;
pub mod select;
pub mod narrow;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use egress::{AddressClass, Destination, EgressPolicy, EgressRule, Protocol, Ruling, Verdict};
pub use guard::{Access, EngineAccess, GuardPolicy};
pub use host::HostPattern;
pub use narrow::{Narrowed, Widening, narrow};
pub use platform::Service;
pub use secret::{DirectoryEntry, ExactKey, ExactPaths, Reader, SecretClass, SecretPolicy, WatchList};
pub use select::{SelectError, Selection, select};
pub use trust::{AppliesTo, Subject, Trust};

/// The detectors a policy may disable or re-grade, by their stable ids. `config::check` refuses any other name.
pub const DETECTORS: &[&str] = &[
    "egress-denied",
    "secret-read",
    "secret-exfiltration",
    "metadata-access",
    "lateral-movement",
    "dns-tunnel",
    "raw-socket",
    "io-uring",
    "cgroup-escape",
    "foreign-environ",
    "agent-tampering",
    "kernel-tampering",
    "network-change",
    "process-access",
    "new-namespace",
    "privilege",
    "engine-socket",
    "engine-request",
    "service-manager",
];

/// What happens to what no rule allows. Ordered: the later is the stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// It happens and is recorded.
    #[default]
    Audit,
    /// It is refused and recorded.
    Block,
}

/// How bad a finding is. Ordered from harmless to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing, nothing to do.
    Info,
    /// Unusual; a look when there is time.
    Low,
    /// Should be explained.
    Medium,
    /// Probably an attack or a real leak.
    High,
    /// Secrets are gone, or the runner is no longer the runner's.
    Critical,
}

/// A word that none of the variants has; the message lists the words that would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not one of {expected}")]
pub struct UnknownWordError {
    /// The word as written.
    pub found: String,
    /// The words that would be right, as a phrase.
    pub expected: &'static str,
}

/// Gives an enum its words in both directions, so that messages, files and the wire spell them alike.
macro_rules! words {
    ($type:ty, $expected:literal, { $($variant:path => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word for this value, in files and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $($variant => $word),+ }
            }
            /// Every word, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl std::str::FromStr for $type {
            type Err = $crate::policy::UnknownWordError;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok($variant),)+
                    other => Err($crate::policy::UnknownWordError { found: other.to_owned(), expected: $expected }),
                }
            }
        }
    };
}
pub(crate) use words;

words!(Mode, "audit, block", { Mode::Audit => "audit", Mode::Block => "block" });
words!(Severity, "info, low, medium, high, critical", {
    Severity::Info => "info",
    Severity::Low => "low",
    Severity::Medium => "medium",
    Severity::High => "high",
    Severity::Critical => "critical",
});

/// What egress of a process that read a secret file needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarryPolicy {
    /// `block`: a rule without `may-carry-secrets` no longer covers it; `audit`: it does, and a finding says so.
    pub after_secret_read: Mode,
}

/// Which detectors speak, and how loud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectPolicy {
    /// Ids of detectors that stay silent; each is one of [`DETECTORS`].
    pub disable: BTreeSet<String>,
    /// Severity by detector id, where it differs from the detector's own.
    pub severity: BTreeMap<String, Severity>,
}

/// Where the effective policy came from: what the log and the receipt say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The files it was read from, in the order they were given or included.
    pub files: Vec<PathBuf>,
    /// Shipped policies among them, by name (`presets/npm`); they have no file on this machine.
    pub labels: Vec<String>,
    /// SHA-256 in lower-case hex over the bytes of every file and shipped policy, in that order, each preceded by its
    /// name and length, so that two sets of files with the same concatenation differ.
    pub sha256: String,
    /// Where each rule and each class of secret files is written, by its id. Rules that no file has (`proxy`) are not here.
    pub written: BTreeMap<Arc<str>, Written>,
}

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    /// The file as given, or the name of a shipped policy.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One effective policy of one job.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The name given in the file; names of merged policies are joined by `+`.
    pub name: String,
    /// Whether what no rule allows is refused or only recorded.
    pub mode: Mode,
    /// Which jobs it is for.
    pub applies_to: AppliesTo,
    /// Where the job may connect.
    pub egress: EgressPolicy,
    /// Which files are secret, and whose.
    pub secrets: SecretPolicy,
    /// What egress needs after a secret was read.
    pub carry: CarryPolicy,
    /// What the job may do to the runner.
    pub guard: GuardPolicy,
    /// Services of the platform that it doesn't hold for, where the whole runner is in scope.
    pub platform: Vec<Service>,
    /// Detectors.
    pub detect: DetectPolicy,
    /// Where all this came from.
    pub origin: Origin,
}

impl Policy {
    /// Whether the kernel side refuses reads of secret files by others than their owners.
    pub fn refuses_reads(&self) -> bool {
        self.mode == Mode::Block && self.secrets.on_read == Mode::Block
    }

    /// Combines two policies into one: rules concatenate (those of `self` first, so that they are named first), modes
    /// become the stricter of the two, and a detector is silent only if both wanted it silent.
    ///
    /// `origin.sha256` is left to the caller, who has the bytes.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        if self.name.is_empty() {
            self.name = other.name;
        } else if !other.name.is_empty() {
            self.name = format!("{}+{}", self.name, other.name);
        }
        self.mode = self.mode.max(other.mode);
        if self.applies_to == AppliesTo::default() {
            self.applies_to = other.applies_to;
        }
        self.egress = self.egress.merge(other.egress);
        self.secrets = self.secrets.merge(other.secrets);
        self.carry.after_secret_read = self.carry.after_secret_read.max(other.carry.after_secret_read);
        self.guard = self.guard.merge(other.guard);
        self.platform.extend(other.platform);
        self.detect = self.detect.merge(other.detect);
        self.origin.files.extend(other.origin.files);
        self.origin.labels.extend(other.origin.labels);
        self.origin.written.extend(other.origin.written);
        self
    }
}

impl DetectPolicy {
    /// A detector stays silent only if both sides want that; the higher of two severities wins. So no second policy
    /// can quieten the first.
    fn merge(mut self, other: Self) -> Self {
        self.disable = self.disable.intersection(&other.disable).cloned().collect();
        for (id, severity) in other.severity {
            let known = self.severity.entry(id).or_insert(severity);
            *known = (*known).max(severity);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_as_written() {
        for word in Severity::WORDS {
            assert_eq!(word.parse::<Severity>().unwrap().to_string(), *word);
        }
        let error = "loud".parse::<Severity>().unwrap_err().to_string();
        assert_eq!(error, "\"loud\" is not one of info, low, medium, high, critical");
        assert!(Severity::Critical > Severity::High);
    }

    #[test]
    fn merging_takes_the_stricter_mode_and_never_silences_a_detector_that_one_side_wants() {
        let audit = Policy {
            name: "a".into(),
            detect: DetectPolicy {
                disable: ["raw-socket".to_owned(), "io-uring".to_owned()].into(),
                severity: [("secret-read".to_owned(), Severity::High)].into(),
            },
            ..Policy::default()
        };
        let block = Policy {
            name: "b".into(),
            mode: Mode::Block,
            detect: DetectPolicy {
                disable: ["io-uring".to_owned()].into(),
                severity: [("secret-read".to_owned(), Severity::Low)].into(),
            },
            ..Policy::default()
        };
        let merged = audit.merge(block);
        assert_eq!(merged.name, "a+b");
        assert_eq!(merged.mode, Mode::Block);
        assert_eq!(merged.detect.disable, ["io-uring".to_owned()].into());
        assert_eq!(merged.detect.severity["secret-read"], Severity::High);
    }
}
