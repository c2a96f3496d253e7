//! The platform's own services: what a job's policy doesn't hold for where the whole runner is in scope.

use std::path::PathBuf;
use std::sync::Arc;

/// One service, or several of one kind. A process is one of it when it is in the cgroup **and** was started from one of the
/// files: whoever starts another program there, or that program elsewhere, is held to the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The cgroup's path from the root of the hierarchy, `/system.slice/ssh.service`; a glob whose `*` doesn't cross a `/`.
    pub cgroup: String,
    /// Absolute paths of its programs.
    pub exes: Vec<PathBuf>,
    /// Why it is exempt.
    pub why: Arc<str>,
}
