//! Where the evidence has holes, or was reached for.

use super::{MAX_DESCRIBED, Summary};
use crate::notice::Loss;

/// What the agent says of itself that leaves holes in what it can say of the job.
const GAPS: &[&str] = &["disarmed", "repaired", "tampered", "taken-over", "went-on"];

impl Summary {
    pub(super) fn lost(&mut self, loss: &Loss) {
        self.gap(format!("{} of {} lost: {}", loss.count, loss.place, loss.reason));
    }

    pub(super) fn changed(&mut self, state: &str, detail: &str) {
        if GAPS.contains(&state) {
            self.gap(format!("{state}: {detail}"));
        }
    }

    fn gap(&mut self, what: String) {
        if self.gaps.len() < MAX_DESCRIBED {
            self.gaps.push(what);
        }
    }
}
