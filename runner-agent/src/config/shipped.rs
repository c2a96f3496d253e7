//! The policies that come with the binary.

/// A policy in the binary.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name; `presets/NAME` includes it.
    pub name: &'static str,
    /// The file.
    pub policy: &'static str,
    /// Its cases.
    pub cases: &'static str,
}

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        /// All of them, in the order of their names.
        pub const SHIPPED: &[Shipped] = &[$(Shipped {
            name: $name,
            policy: include_str!(concat!("../../../policies/", $name, ".yml")),
            cases: include_str!(concat!("../../../policies/", $name, ".cases.yml")),
        }),+];
    };
}

shipped!(
    "apt",
    "build",
    "cargo",
    "default",
    "floor",
    "github-actions",
    "npm",
    "pip",
    "pr-validation",
    "release",
    "secrets",
);

/// What `run` uses when no policy is given.
pub const DEFAULT: &str = "default";

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{cases, load::load_shipped};
    use crate::policy::narrow::narrow;
    use crate::policy::{Mode, Policy, Subject, Trust, select};

    /// One policy for each tier.
    const BY_TRUST: [(&str, Trust); 3] =
        [("pr-validation", Trust::Untrusted), ("build", Trust::Trusted), ("release", Trust::Release)];

    /// As they are on the runner that the floor's cases make up.
    fn on_one_runner(name: &str) -> Policy {
        let floor = find("floor").unwrap();
        let cases = cases::read(&PathBuf::from("floor.cases.yml"), floor.cases.as_bytes()).unwrap();
        load_shipped(name, &cases.runner).unwrap().0
    }

    #[test]
    fn each_policy_for_a_tier_lies_within_the_floor_and_loses_nothing_there() {
        let floor = on_one_runner("floor");
        assert_eq!(floor.mode, Mode::Block);
        for (name, _) in BY_TRUST {
            let policy = on_one_runner(name);
            let narrowed = narrow(&floor, policy.clone()).unwrap_or_else(|widenings| panic!("{name}: {widenings:#?}"));
            assert_eq!(narrowed.kept, Vec::<String>::new(), "{name}");
            assert_eq!(narrowed.policy.egress.allow.len(), policy.egress.allow.len(), "{name}");
            assert_eq!(narrowed.policy.egress.deny, floor.egress.deny, "{name}");
            assert_eq!((narrowed.policy.mode, narrowed.policy.carry), (Mode::Block, policy.carry), "{name}");
        }
    }

    #[test]
    fn every_tier_has_one_policy_and_no_job_is_left_over() {
        let policies = BY_TRUST.map(|(name, _)| on_one_runner(name));
        for (name, trust) in BY_TRUST {
            // What is least known of a job.
            let job = Subject {
                trust,
                is_claim: true,
                provider: "unknown",
                repository: None,
                workflow: Vec::new(),
                job: None,
                git_ref: None,
                event: None,
            };
            assert_eq!(select(&policies, &job).unwrap().policy.name, name);
        }
    }
}
