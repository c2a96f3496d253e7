//! Where the evidence has holes, or was reached for.

use super::{MAX_DESCRIBED, Summary};

/// What the agent says of itself that leaves holes in what it can say of the job.
const GAPS: &[&str] = &["disarmed", "handed-over", "repaired", "tampered", "taken-over", "went-on"];

impl Summary {
    /// Records or notices were lost.
    pub fn lost(&mut self, count: u64, place: &str, reason: &str) {
        self.gap(format!("{count} of {place} lost: {reason}"));
    }

    /// The agent said something of itself.
    pub fn changed(&mut self, state: &str, detail: &str) {
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
