//! Two summaries of one job, of which the second begins where the first ends: of the agent that began it and of the one that goes on.

use super::{MAX_DESCRIBED, Summary, add};

impl Summary {
    /// Findings with what they are about, in their order; left as they are where these are others.
    #[must_use]
    pub fn with_subjects(mut self, subjects: Vec<String>) -> Self {
        if self.findings.len() == subjects.len() {
            self.findings.iter_mut().zip(subjects).for_each(|(found, subject)| found.subject = subject);
        }
        self
    }

    /// The first, followed by the second.
    #[must_use]
    pub fn followed_by(mut self, later: &Self) -> Self {
        self.started = self.started.or_else(|| later.started.clone());
        self.ended = later.ended.clone().or(self.ended);
        self.execs += later.execs;
        for (exe, count) in &later.programs {
            *self.programs.entry(exe.clone()).or_default() += count;
        }
        for (key, reached) in &later.destinations {
            let both = self.destinations.entry(key.clone()).or_default();
            both.count += reached.count;
            reached.programs.iter().for_each(|program| add(&mut both.programs, program));
            reached.addresses.iter().for_each(|address| add(&mut both.addresses, address));
        }
        self.reads.extend(later.reads.iter().cloned());
        self.findings.extend(later.findings.iter().cloned());
        self.gaps.extend(later.gaps.iter().cloned());
        self.reads.truncate(MAX_DESCRIBED);
        self.gaps.truncate(MAX_DESCRIBED);
        self.described.extend(later.described.iter().map(|(seq, text)| (*seq, text.clone())));
        self
    }
}
