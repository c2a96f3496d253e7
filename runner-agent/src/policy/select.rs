//! Which of several policies a job gets: the most specific of those that are for it.

use std::fmt::Write as _;

use super::{Policy, Subject};

/// The policy of a job.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Why this one, and why none of the others, as a fragment for people.
    pub because: String,
}

/// Why no policy can be named. Each message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No policy is for the job.
    #[error("no policy is for this job ({0}); give one without `applies-to` for whatever the others leave")]
    None(String),
    /// Several are, and none is more specific than the others.
    #[error("{first} and {second} are both for this job and set {conditions} each; give one of them a condition more")]
    Tie {
        /// The one whose file's name comes first.
        first: String,
        /// The one after it.
        second: String,
        /// How many conditions both have: `2 conditions`.
        conditions: String,
    },
}

/// Chooses a job's policy: of those whose conditions it meets, the one with the most conditions. A policy without conditions
/// is for every job, and so comes last.
///
/// Two that have equally many are an error, not a matter of order: which of two policies holds is not to depend on a file's
/// name.
pub fn select<'a>(policies: &'a [Policy], job: &Subject) -> Result<Selection<'a>, SelectError> {
    let mut fitting: Vec<&Policy> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for policy in policies {
        match policy.applies_to.unmet(job) {
            None => fitting.push(policy),
            Some(key) => others.push(format!("{} by `{key}`", named(policy))),
        }
    }
    others.sort();
    fitting.sort_by_key(|policy| (usize::MAX - policy.applies_to.conditions(), named(policy)));
    match fitting[..] {
        [] if others.is_empty() => Err(SelectError::None("there is none at all".to_owned())),
        [] => Err(SelectError::None(format!("not {}", others.join(", not ")))),
        [first, second, ..] if first.applies_to.conditions() == second.applies_to.conditions() => {
            Err(SelectError::Tie {
                first: named(first),
                second: named(second),
                conditions: counted(first.applies_to.conditions()),
            })
        }
        [policy, ref rest @ ..] => {
            let mut because = format!("the job meets its {}", counted(policy.applies_to.conditions()));
            if policy.applies_to.conditions() == 0 {
                "it is for every job".clone_into(&mut because);
            }
            for other in rest {
                let _ = write!(because, "; {} has fewer", named(other));
            }
            for other in others {
                let _ = write!(because, "; not {other}");
            }
            Ok(Selection { policy, because })
        }
    }
}

/// A policy by its name and its file.
fn named(policy: &Policy) -> String {
    match (policy.origin.files.first(), policy.origin.labels.first()) {
        (Some(file), _) => format!("{} ({})", file.display(), policy.name),
        (None, Some(label)) => label.clone(),
        (None, None) => policy.name.clone(),
    }
}

fn counted(conditions: usize) -> String {
    match conditions {
        0 => "no condition".to_owned(),
        1 => "1 condition".to_owned(),
        more => format!("{more} conditions"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{AppliesTo, Origin, Trust};

    fn job() -> Subject<'static> {
        Subject {
            trust: Trust::Trusted,
            is_claim: false,
            provider: "github",
            repository: Some("acme/app"),
            workflow: vec!["CI", ".github/workflows/ci.yml", "ci.yml"],
            job: Some("build"),
            git_ref: Some("refs/heads/release/1"),
            event: Some("push"),
        }
    }

    fn policy(name: &str, applies_to: AppliesTo) -> Policy {
        let origin = Origin { files: vec![format!("{name}.yml").into()], ..Origin::default() };
        Policy { name: name.to_owned(), applies_to, origin, ..Policy::default() }
    }

    fn one(glob: &str) -> Vec<String> {
        vec![glob.to_owned()]
    }

    #[test]
    fn a_star_stays_within_one_component_and_two_do_not() {
        let table = [
            ("refs/heads/*", false),
            ("refs/heads/**", true),
            ("refs/heads/release/*", true),
            ("refs/heads/{main,release/1}", true),
            ("refs/heads/release", false),
            ("REFS/heads/release/1", false),
            ("[", false),
        ];
        for (glob, expected) in table {
            let applies_to = AppliesTo { git_ref: one(glob), ..AppliesTo::default() };
            assert_eq!(applies_to.unmet(&job()).is_none(), expected, "{glob}");
        }
    }

    #[test]
    fn every_condition_must_be_met_and_one_that_is_not_told_is_not() {
        let set = |change: fn(&mut AppliesTo)| {
            let mut applies_to = AppliesTo::default();
            change(&mut applies_to);
            applies_to
        };
        let mut nothing = job();
        nothing.workflow.clear();
        (nothing.repository, nothing.job, nothing.git_ref, nothing.event) = (None, None, None, None);
        let table = [
            ("repository", set(|applies| applies.repository = one("acme/*"))),
            ("workflow", set(|applies| applies.workflow = one("*.yml"))),
            ("job", set(|applies| applies.job = vec!["test".to_owned(), "b*".to_owned()])),
            ("ref", set(|applies| applies.git_ref = one("refs/heads/**"))),
            ("event", set(|applies| applies.event = one("push"))),
        ];
        for (key, applies_to) in table {
            assert_eq!(applies_to.unmet(&job()), None, "{key}");
            assert_eq!(applies_to.unmet(&nothing), Some(key));
            assert_eq!(applies_to.conditions(), 1);
        }
        assert_eq!(set(|applies| applies.provider = one("gitlab")).unmet(&job()), Some("provider"));
        assert_eq!(set(|applies| applies.trust = vec![Trust::Release]).unmet(&job()), Some("trust"));
    }

    #[test]
    fn the_most_specific_policy_wins_whatever_the_order() {
        let general = policy("general", AppliesTo::default());
        let trusted = policy("trusted", AppliesTo { trust: vec![Trust::Trusted], ..AppliesTo::default() });
        let build =
            policy("build", AppliesTo { trust: vec![Trust::Trusted], job: one("build"), ..AppliesTo::default() });
        let other = policy("other", AppliesTo { event: one("schedule"), job: one("build"), ..AppliesTo::default() });
        for policies in [
            [general.clone(), trusted.clone(), build.clone(), other.clone()],
            [other.clone(), build.clone(), trusted.clone(), general.clone()],
        ] {
            let selection = select(&policies, &job()).unwrap();
            assert_eq!(selection.policy.name, "build");
            assert_eq!(
                selection.because,
                "the job meets its 2 conditions; trusted.yml (trusted) has fewer; general.yml (general) has fewer; \
                 not other.yml (other) by `event`"
            );
        }
        let untrusted = Subject { trust: Trust::Untrusted, ..job() };
        let policies = [general, trusted, build];
        let selection = select(&policies, &untrusted).unwrap();
        assert_eq!(selection.policy.name, "general");
        assert!(selection.because.starts_with("it is for every job; not build.yml (build) by `trust`"));
    }

    #[test]
    fn a_tie_is_an_error_that_names_both_in_the_order_of_their_files() {
        let by_job = policy("b", AppliesTo { job: one("build"), ..AppliesTo::default() });
        let by_event = policy("a", AppliesTo { event: one("push"), ..AppliesTo::default() });
        let policies = [by_job, by_event, policy("general", AppliesTo::default())];
        assert_eq!(
            select(&policies, &job()).unwrap_err().to_string(),
            "a.yml (a) and b.yml (b) are both for this job and set 1 condition each; give one of them a condition more"
        );
        let twice = [policy("a", AppliesTo::default()), policy("a", AppliesTo::default())];
        assert!(matches!(select(&twice, &job()), Err(SelectError::Tie { .. })));
    }

    #[test]
    fn a_job_that_no_policy_is_for_is_told_why() {
        let policies = [policy("a", AppliesTo { event: one("schedule"), ..AppliesTo::default() })];
        assert_eq!(
            select(&policies, &job()).unwrap_err().to_string(),
            "no policy is for this job (not a.yml (a) by `event`); give one without `applies-to` for whatever the others \
             leave"
        );
        assert!(matches!(select(&[], &job()), Err(SelectError::None(_))));
    }

    #[test]
    fn an_untrusted_job_chooses_no_policy_by_the_names_that_its_author_gave() {
        let deploy = AppliesTo { workflow: one("deploy.yml"), job: one("deploy"), ..AppliesTo::default() };
        let claims = Subject { workflow: vec!["deploy.yml"], job: Some("deploy"), ..job() };
        assert_eq!(deploy.unmet(&claims), None);
        let claims = Subject { trust: Trust::Untrusted, ..claims };
        assert_eq!(deploy.unmet(&claims), Some("workflow"));
        let for_all = AppliesTo { trust: vec![Trust::Untrusted, Trust::Trusted], ..deploy };
        assert_eq!(for_all.unmet(&claims), None);
    }

    #[test]
    fn where_everything_is_a_claim_no_policy_is_chosen_by_it_unless_it_says_for_which_tiers() {
        let applies = AppliesTo { repository: one("acme/app"), ..AppliesTo::default() };
        let claims = Subject { trust: Trust::Untrusted, is_claim: true, ..job() };
        assert_eq!(applies.unmet(&claims), Some("repository"));
        assert_eq!(applies.unmet(&Subject { is_claim: false, ..claims.clone() }), None);
        assert_eq!(AppliesTo { trust: vec![Trust::Untrusted], ..applies }.unmet(&claims), None);
        let event = AppliesTo { event: one("push"), ..AppliesTo::default() };
        assert_eq!(event.unmet(&claims), Some("event"));
        assert_eq!(AppliesTo { provider: one("github"), ..AppliesTo::default() }.unmet(&claims), None);
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_for_the_job_and_no_other_that_is_has_as_many_conditions(
            shapes in prop::collection::vec((0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize), 0..6),
            reversed: bool,
        ) {
            let globs = |choice: usize, yes: &str| match choice {
                0 => Vec::new(),
                1 => one(yes),
                _ => one("no"),
            };
            let mut policies: Vec<Policy> = shapes.iter().enumerate().map(|(index, shape)| {
                policy(&format!("p{index}"), AppliesTo {
                    repository: globs(shape.0, "acme/*"),
                    job: globs(shape.1, "build"),
                    event: globs(shape.2, "push"),
                    git_ref: globs(shape.3, "refs/heads/**"),
                    ..AppliesTo::default()
                })
            }).collect();
            let before = select(&policies, &job()).map(|selection| selection.policy.name.clone());
            if reversed { policies.reverse(); }
            let chosen = select(&policies, &job());
            prop_assert_eq!(chosen.clone().map(|selection| selection.policy.name.clone()), before);
            let fitting: Vec<&Policy> = policies.iter().filter(|policy| policy.applies_to.unmet(&job()).is_none()).collect();
            let most = fitting.iter().map(|policy| policy.applies_to.conditions()).max();
            let best = fitting.iter().filter(|policy| Some(policy.applies_to.conditions()) == most).count();
            match chosen {
                Ok(selection) => {
                    prop_assert_eq!(best, 1);
                    prop_assert_eq!(Some(selection.policy.applies_to.conditions()), most);
                    prop_assert!(selection.policy.applies_to.unmet(&job()).is_none());
                }
                Err(SelectError::None(_)) => prop_assert_eq!(best, 0),
                Err(SelectError::Tie { .. }) => prop_assert!(best > 1),
            }
        }
    }
}
