//! Several policies as one job has them: the machine's floor, the policy that was chosen, and what narrows it; and what each was made
//! of, for a successor.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::recorded::Recorded;
use crate::policy::{Policy, narrow};

/// What a job's policy was made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Combined {
    /// The policy that holds whatever else does.
    pub floor: Option<Recorded>,
    /// The policy of the job.
    pub policy: Recorded,
    /// What the job itself brought.
    pub given: Option<Recorded>,
}

impl Combined {
    /// One policy, which nothing stands under and nothing narrows.
    pub fn alone(policy: Recorded) -> Self {
        Self { policy, ..Self::default() }
    }

    /// The same policy again.
    pub fn load(&self) -> Result<Policy, String> {
        let load = |recorded: &Recorded| {
            recorded.load().map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        };
        let floor = self.floor.as_ref().map(load).transpose()?;
        let given = self.given.as_ref().map(load).transpose()?;
        combine(floor, load(&self.policy)?, given).map(|(policy, _)| policy).map_err(|widenings| widenings.join("; "))
    }
}

/// One policy of these: each may only narrow the one before. Returns it with what it kept of those before although a later one
/// said otherwise; or everything by which one would widen another, for people.
pub fn combine(
    floor: Option<Policy>,
    policy: Policy,
    given: Option<Policy>,
) -> Result<(Policy, Vec<String>), Vec<String>> {
    let mut kept = Vec::new();
    let mut combined: Option<Policy> = None;
    for next in [floor, Some(policy), given].into_iter().flatten() {
        combined = Some(match combined {
            None => next,
            Some(before) => {
                let sha256 = hash_of(&before.origin.sha256, &next.origin.sha256);
                let name = next.name.clone();
                let narrowed = narrow(&before, next).map_err(|widenings| {
                    let told = |widening: &crate::policy::Widening| {
                        format!("{name} may only narrow {}: {widening}", before.name)
                    };
                    widenings.iter().map(told).collect::<Vec<_>>()
                })?;
                kept.extend(narrowed.kept);
                let mut policy = narrowed.policy;
                policy.origin.sha256 = sha256;
                policy
            }
        });
    }
    Ok((combined.unwrap_or_default(), kept))
}

/// SHA-256 in lower-case hex over two such hashes, one after the other.
fn hash_of(first: &str, second: &str) -> String {
    let digest = Sha256::new().chain_update(first).chain_update(second).finalize();
    crate::text::hex(&digest)
}
