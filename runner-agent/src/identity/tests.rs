//! Identities and tiers from recorded environments: `recorded/NAME.env`, and `NAME.json` for the event's payload.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/identity/recorded").join(name)
}

fn environment(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(recorded(&format!("{name}.env"))).unwrap();
    text.lines().fold(Vec::new(), |mut bytes, line| {
        bytes.extend(line.as_bytes());
        bytes.push(0);
        bytes
    })
}

fn payload(name: &str) -> Option<Vec<u8>> {
    std::fs::read(recorded(&format!("{name}.json"))).ok()
}

fn identity(name: &str) -> JobIdentity {
    identify(&Environment::parse(&environment(name)), payload(name).as_deref()).unwrap()
}

/// A recorded environment with variables put in front of it, which come last for whoever takes the last.
fn identity_with(name: &str, more: &[(&str, &str)]) -> JobIdentity {
    let text = environment(name);
    let entries = text.split(|&byte| byte == 0).filter_map(|entry| {
        let (name, value) = str::from_utf8(entry).unwrap().split_once('=')?;
        let value = more.iter().find(|(other, _)| *other == name).map_or(value, |(_, value)| value);
        Some((name.into(), value.into()))
    });
    let more = more.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let environment = Environment::from_pairs(entries.chain(more));
    identify(&environment, payload(name).as_deref()).unwrap()
}

/// Everybody believed, so that the rest of the rules is seen to act.
fn credulous() -> TrustRules {
    let believe = Provider::WORDS.iter().map(|word| word.parse().unwrap()).collect();
    TrustRules { believe, ..TrustRules::default() }
}

/// Every case with its tier where the provider is believed, and where in addition a repository's own changes are trusted.
const TIERS: &[(&str, Trust, Trust)] = {
    use Trust::{Release, Trusted, Untrusted};
    &[
        ("github-push-main", Trusted, Trusted),
        ("github-push-feature", Untrusted, Untrusted),
        ("github-pull-request-internal", Untrusted, Trusted),
        ("github-pull-request-fork", Untrusted, Untrusted),
        ("github-pull-request-fork-deleted", Untrusted, Untrusted),
        ("github-pull-request-no-payload", Untrusted, Untrusted),
        ("github-pull-request-target", Untrusted, Untrusted),
        ("github-issue-comment", Untrusted, Untrusted),
        ("github-workflow-run-main", Trusted, Trusted),
        ("github-workflow-run-fork", Untrusted, Untrusted),
        ("github-workflow-run-comment", Untrusted, Untrusted),
        ("github-tag", Release, Release),
        ("github-release", Release, Release),
        ("github-deployment", Release, Release),
        ("github-deployment-of-commit", Untrusted, Untrusted),
        ("github-schedule", Trusted, Trusted),
        ("github-dispatch-feature", Untrusted, Untrusted),
        ("github-merge-queue", Untrusted, Trusted),
        ("github-repository-dispatch", Untrusted, Untrusted),
        ("github-arc", Trusted, Trusted),
        ("github-self-hosted-hook", Trusted, Trusted),
        ("gitlab-shell-push-main", Trusted, Trusted),
        ("gitlab-shell-tag", Release, Release),
        ("gitlab-shell-merge-request", Untrusted, Trusted),
        ("gitlab-shell-merge-request-fork", Untrusted, Untrusted),
        ("gitlab-shell-merge-request-in-fork", Untrusted, Untrusted),
        ("gitlab-custom-push-main", Trusted, Trusted),
        ("buildkite-push-main", Trusted, Trusted),
        ("buildkite-pull-request", Untrusted, Trusted),
        ("buildkite-pull-request-fork", Untrusted, Untrusted),
        ("buildkite-tag", Release, Release),
        ("buildkite-triggered", Untrusted, Untrusted),
        ("jenkins-branch-main", Trusted, Trusted),
        ("jenkins-change", Untrusted, Trusted),
        ("jenkins-change-fork", Untrusted, Untrusted),
        ("jenkins-tag", Release, Release),
        ("circleci-branch-main", Trusted, Trusted),
        ("circleci-fork", Untrusted, Untrusted),
        ("circleci-tag", Release, Release),
        ("plain", Untrusted, Untrusted),
        ("unknown", Untrusted, Untrusted),
        ("two-at-once", Untrusted, Untrusted),
    ]
};

#[test]
fn every_recorded_job_has_the_tier_of_the_table_and_no_recording_is_left_out() {
    for (name, believed, internal) in TIERS {
        let identity = identity(name);
        assert_eq!(trust(&identity, &credulous()).0, *believed, "{name}: {:?}", trust(&identity, &credulous()));
        let rules = TrustRules { internal_pull_requests: true, ..credulous() };
        assert_eq!(trust(&identity, &rules).0, *internal, "{name}: {:?}", trust(&identity, &rules));
    }
    let mut files: Vec<String> = std::fs::read_dir(recorded(""))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    files.dedup();
    let mut named: Vec<&str> = TIERS.iter().map(|(name, ..)| *name).collect();
    named.sort_unstable();
    assert_eq!(files, named);
}

#[test]
fn recorded_identities() {
    for (name, ..) in TIERS {
        let identity = identity(name);
        let (tier, reason) = trust(&identity, &credulous());
        let mut text = format!("{tier}: {reason}\n\n");
        // What isn't told is left out: a field that comes or goes shows as a line.
        for line in format!("{identity:#?}").lines().filter(|line| !line.ends_with(": None,")) {
            let _ = writeln!(text, "{line}");
        }
        insta::assert_snapshot!(*name, text);
    }
}

#[test]
fn by_default_only_github_is_believed() {
    for (name, believed, _) in TIERS {
        let (tier, reason) = trust(&identity(name), &TrustRules::default());
        let expected = if name.starts_with("github-") { *believed } else { Trust::Untrusted };
        assert_eq!(tier, expected, "{name}: {reason}");
    }
    let (_, reason) = trust(&identity("gitlab-shell-push-main"), &TrustRules::default());
    assert_eq!(reason, "what gitlab tells of a job can be set by the job's own file, and is not believed");
}

#[test]
fn an_outsider_gets_no_trust_by_any_configuration() {
    let everything = TrustRules {
        protected: vec!["**".to_owned()],
        provider_protects: true,
        internal_pull_requests: true,
        plain: true,
        release: ReleaseRules {
            tags: vec!["**".to_owned()],
            environments: vec!["**".to_owned()],
            events: vec!["**".to_owned()],
        },
        ..credulous()
    };
    for name in [
        "github-pull-request-fork",
        "github-pull-request-fork-deleted",
        "github-pull-request-no-payload",
        "github-pull-request-target",
        "github-issue-comment",
        "github-workflow-run-fork",
        "github-workflow-run-comment",
        "github-repository-dispatch",
        "gitlab-shell-merge-request-fork",
        "gitlab-shell-merge-request-in-fork",
        "buildkite-pull-request-fork",
        "buildkite-triggered",
        "jenkins-change-fork",
        "circleci-fork",
        "unknown",
        "two-at-once",
    ] {
        assert_eq!(trust(&identity(name), &everything).0, Trust::Untrusted, "{name}");
    }
    assert_eq!(
        trust(&identity("github-pull-request-internal"), &everything).0,
        Trust::Trusted,
        "a change never releases"
    );
    assert_eq!(trust(&identity("plain"), &everything).0, Trust::Trusted);
}

#[test]
fn a_ref_that_the_provider_protects_counts_where_it_is_configured() {
    let job = identity_with("gitlab-shell-push-main", &[("CI_COMMIT_BRANCH", "release/1")]);
    assert_eq!(trust(&job, &credulous()).0, Trust::Untrusted);
    let rules = TrustRules { provider_protects: true, ..credulous() };
    assert_eq!(trust(&job, &rules).0, Trust::Trusted);
    let job = identity_with("github-push-feature", &[]);
    assert_eq!(trust(&job, &rules).0, Trust::Untrusted);
    let globs = TrustRules { protected: vec!["release/*".to_owned()], ..credulous() };
    let on = |branch: &str| trust(&identity_with("github-push-main", &[("GITHUB_REF", branch)]), &globs).0;
    assert_eq!(on("refs/heads/release/1"), Trust::Trusted);
    assert_eq!(on("refs/heads/release/1/x"), Trust::Untrusted);
    assert_eq!(on("refs/heads/main"), Trust::Untrusted);
}

#[test]
fn a_deployment_releases_only_where_its_environment_is_configured() {
    let rules = TrustRules { release: ReleaseRules::default(), ..TrustRules::default() };
    assert_eq!(trust(&identity("github-deployment"), &rules).0, Trust::Trusted);
    assert_eq!(trust(&identity("github-tag"), &rules).0, Trust::Untrusted, "a tag may be at any commit");
    let job = identity_with("gitlab-shell-push-main", &[("CI_ENVIRONMENT_NAME", "production")]);
    assert_eq!(trust(&job, &credulous()), (Trust::Release, "a deployment to production".to_owned()));
    let job = identity_with("gitlab-shell-merge-request", &[("CI_ENVIRONMENT_NAME", "production")]);
    let rules = TrustRules { internal_pull_requests: true, ..credulous() };
    assert_eq!(trust(&job, &rules).0, Trust::Trusted);
}

#[test]
fn a_payload_about_another_repository_says_nothing_of_the_job() {
    let job = identity_with("github-pull-request-internal", &[("GITHUB_REPOSITORY_ID", "9")]);
    let rules = TrustRules { internal_pull_requests: true, ..TrustRules::default() };
    let (tier, reason) = trust(&job, &rules);
    assert_eq!(tier, Trust::Untrusted);
    assert_eq!(reason, "pull_request: the event payload is about acme/app, not the job's repository");
}

#[test]
fn emptying_a_variable_takes_no_mark_off_a_job() {
    let job = identity_with("two-at-once", &[("GITLAB_CI", ""), ("CI_JOB_ID", "")]);
    assert_eq!(job.provider, Provider::Unknown);
    let job = identity_with(
        "gitlab-shell-merge-request-fork",
        &[("CI_MERGE_REQUEST_IID", ""), ("CI_PIPELINE_SOURCE", "push")],
    );
    assert!(matches!(job.source, Source::Fork(_)), "{job:?}");
    let job = identity_with("circleci-fork", &[("CIRCLE_PR_REPONAME", ""), ("CIRCLE_BRANCH", "main")]);
    assert!(matches!(job.source, Source::Fork(_)), "{job:?}");
}

#[test]
fn a_repeated_or_endless_variable_is_told_by_its_name() {
    let mut bytes = environment("github-push-main");
    bytes.extend(b"GITHUB_REF=refs/heads/other\0");
    let error = identify(&Environment::parse(&bytes), None).unwrap_err().to_string();
    assert_eq!(error, "GITHUB_REF stands in the environment twice, with two values; a name stands there once");
    let mut bytes = b"GITHUB_ACTIONS=true\0GITHUB_JOB=".to_vec();
    bytes.extend(vec![b'x'; 128 << 10]);
    let error = identify(&Environment::parse(&bytes), None).unwrap_err().to_string();
    assert!(error.starts_with("GITHUB_JOB has 131072 characters"), "{error}");
    let broken = identify(&Environment::parse(&environment("github-push-main")), Some(b"{")).unwrap_err();
    assert!(matches!(broken, IdentityError::Payload(_)));
}

#[test]
fn workers_are_named_for_every_provider_that_has_some() {
    assert_eq!(Provider::Github.worker_names(), ["Runner.Worker"]);
    assert_eq!(Provider::Plain.worker_names(), [""; 0]);
    for adapter in ADAPTERS {
        assert!(!adapter.provider.worker_names().is_empty(), "{}", adapter.provider);
    }
}

#[test]
fn a_workflow_can_be_named_by_name_path_or_file() {
    let identity = identity("github-tag");
    let subject = identity.subject(Trust::Release, &TrustRules::default());
    assert_eq!(subject.workflow, ["Release", ".github/workflows/release.yml", "release.yml"]);
    assert_eq!((subject.provider, subject.git_ref), ("github", Some("refs/tags/v1.2.0")));
    assert!(!subject.is_claim);
    assert!(self::identity("gitlab-shell-tag").subject(Trust::Untrusted, &TrustRules::default()).is_claim);
}

proptest! {
    #[test]
    fn whatever_a_variable_holds_there_is_an_identity_or_an_error_and_nothing_steers_a_terminal(
        case in prop::sample::select(TIERS),
        name in 0..60_usize,
        value in prop::collection::vec(any::<u8>(), 0..60),
        payload in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
    ) {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = environment(case.0).split(|&byte| byte == 0).filter_map(|entry| {
            let at = entry.iter().position(|&byte| byte == b'=')?;
            Some((entry[..at].to_vec(), entry[at + 1..].to_vec()))
        }).collect();
        let at = name % entries.len();
        entries[at].1 = value;
        if let Ok(identity) = identify(&Environment::from_pairs(entries), payload.as_deref()) {
            let (_, reason) = trust(&identity, &credulous());
            prop_assert!(!reason.contains(char::is_control), "{}", reason);
            let JobIdentity { repository, workflow, job, git_ref, head_ref, actor, url, session, .. } = identity;
            for text in [repository, workflow, job, git_ref, head_ref, actor, url, session].into_iter().flatten() {
                prop_assert!(!text.contains(char::is_control), "{}", text);
            }
        }
    }

    #[test]
    fn no_pull_request_of_another_repository_is_trusted(id in 1..20_u32, name in "[a-c]/[a-c]", event in "pull_request(_target)?") {
        let json = format!(
            r#"{{"repository":{{"id":7,"full_name":"a/b"}},"pull_request":{{"head":{{"repo":{{"id":{id},"full_name":"{name}"}}}}}}}}"#
        );
        let text = format!(
            "GITHUB_ACTIONS=true\0GITHUB_REPOSITORY=a/b\0GITHUB_REPOSITORY_ID=7\0GITHUB_EVENT_NAME={event}\0\
             GITHUB_REF=refs/heads/main\0"
        );
        let identity = identify(&Environment::parse(text.as_bytes()), Some(json.as_bytes())).unwrap();
        let rules = TrustRules { internal_pull_requests: true, ..TrustRules::default() };
        let internal = id == 7 && name == "a/b" && event == "pull_request";
        prop_assert_eq!(trust(&identity, &rules).0 == Trust::Trusted, internal);
    }
}
