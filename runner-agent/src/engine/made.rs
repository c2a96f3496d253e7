//! What the job has made through the gate: the containers and execs that it may ask for by their whole ids.

use std::collections::HashSet;

use super::route::Makes;

/// Most ids that are remembered of a kind; what is made beyond them can't be asked for.
const MOST: usize = 16_384;

/// Longest id that is taken for one.
const MAX_ID: usize = 128;

/// Ids by kind.
#[derive(Debug, Default)]
pub struct Made {
    containers: HashSet<String>,
    execs: HashSet<String>,
}

impl Made {
    /// Remembers what an engine said it made.
    pub fn add(&mut self, kind: Makes, id: &str) {
        let is_id = !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let ids = self.of_mut(kind);
        if is_id && ids.len() < MOST {
            ids.insert(id.to_owned());
        }
    }

    /// Whether the job made it.
    pub fn has(&self, kind: Makes, id: &str) -> bool {
        match kind {
            Makes::Container => self.containers.contains(id),
            Makes::Exec => self.execs.contains(id),
        }
    }

    fn of_mut(&mut self, kind: Makes) -> &mut HashSet<String> {
        match kind {
            Makes::Container => &mut self.containers,
            Makes::Exec => &mut self.execs,
        }
    }
}
