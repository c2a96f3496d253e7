use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::cases::MadeUp;
use super::check::check;
use super::shipped::SHIPPED;
use super::*;
use crate::policy::{Mode, Severity};

/// The problems of a file, one a line.
fn told(text: &str) -> String {
    let (_, problems) = check(Path::new("policy.yml"), text.as_bytes());
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn first(result: Result<(crate::policy::Policy, Vec<Problem>), Vec<Problem>>) -> String {
    result.unwrap_err()[0].to_string()
}

#[test]
fn every_problem_of_a_file_is_told_at_once_with_its_place() {
    insta::assert_snapshot!(told(include_str!("tests/many-errors.yml")));
}

#[test]
fn every_rule_that_is_a_bad_idea_is_told_with_its_place() {
    insta::assert_snapshot!(told(include_str!("tests/many-warnings.yml")));
}

#[test]
fn a_deny_rule_of_one_file_that_closes_an_allow_rule_of_another_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let text = "version: 1\nname: p\ninclude: [presets/default]\negress:\n  allow:\n    - { cidr: 127.0.0.1/32, \
                ports: [2375], class: loopback, why: test }\n";
    let file = write(directory.path(), "p.yml", text);
    let (policy, warnings) = load(&[file], &MadeUp::default()).unwrap();
    let told: Vec<String> = warnings.iter().map(|it| format!("{}:{}: {}", it.line, it.column, it.message)).collect();
    assert_eq!(
        told,
        [
            "6:7: allows nothing: default/egress.deny[0] in presets/default:8 denies all of it, and deny wins; take one of \
             the two out, or narrow it"
        ]
    );
    assert_eq!(policy.origin.written["default/egress.deny[1]"].to_string(), "presets/default:9");
    assert_eq!(policy.origin.written["secrets/aws"].file, Path::new("presets/secrets"));
}

#[test]
fn a_gate_is_a_word_for_container_engines_alone() {
    let guard = |guard: &str| told(&format!("version: 1\nname: p\nguard: {{ {guard} }}\n"));
    assert_eq!(guard("docker: gate"), "");
    assert!(guard("sudo: gate").contains("\"gate\" is not one of allow, audit, deny"), "{}", guard("sudo: gate"));
    assert!(
        guard("docker: door").contains("\"door\" is not one of allow, audit, gate, deny"),
        "{}",
        guard("docker: door")
    );
}

#[test]
fn a_file_without_problems_becomes_what_it_says() {
    let text = include_str!("../../../docs/examples/policy.yml");
    let (draft, problems) = check(Path::new("policy.yml"), text.as_bytes());
    assert_eq!(problems, []);
    let draft = draft.unwrap();
    assert_eq!((draft.name.as_str(), draft.mode), ("pr-validation", Mode::Block));
    assert_eq!(draft.detect.severity["lateral-movement"], Severity::Critical);
    let (policy, problems) = load(&[], &MadeUp::default()).unwrap();
    assert_eq!(problems, []);
    assert_eq!(policy.origin.labels, ["presets/default", "presets/secrets"]);
    assert!(policy.secrets.classes.len() > 30);
}

#[test]
fn shipped_policies_have_no_problem_and_keep_their_cases() {
    for shipped in SHIPPED {
        let file = PathBuf::from(format!("policies/{}.cases.yml", shipped.name));
        let cases = cases::read(&file, shipped.cases.as_bytes()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let (policy, problems) = load::load_shipped(shipped.name, &cases.runner).unwrap_or_else(|p| panic!("{p:#?}"));
        // Of a made-up runner that names a private registry or a proxy, a warning says so.
        assert!(problems.iter().all(|problem| problem.message.contains("names ")), "{problems:#?}");
        assert_eq!(policy.name, shipped.name);
        let results = cases::run(&policy, &cases);
        assert!(!results.is_empty());
        let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", shipped.name);
    }
}

#[test]
fn the_catalogue_leaves_an_ordinary_build_alone() {
    let homes = vec!["/home/runner".to_owned(), "/home/other".to_owned()];
    let place = crate::policy::secret::Place { homes, workspaces: Vec::new() };
    let (policy, _) = load::load_shipped("secrets", &MadeUp { place, ..MadeUp::default() }).unwrap();
    let list = policy.secrets.watch();
    for path in [
        "/home/runner/checkout/package.json",
        "/home/runner/checkout/node_modules/a/index.js",
        "/home/runner/checkout/src/main.rs",
        "/home/runner/checkout/Cargo.toml",
        "/home/runner/checkout/include/config.h",
        "/home/runner/checkout/config.json",
        "/home/runner/.cache/pip/http-v2/a/b/c/abc.body",
        "/home/runner/.cargo/registry/src/index/a-1.0.0/src/lib.rs",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/python3/dist-packages/requests/auth.py",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/passwd",
        "/proc/self/maps",
        "/proc/1/cgroup",
        "/home/runner/checkout/src/containers/App/index.tsx",
        "/usr/lib/python3/dist-packages/kubernetes/client/configuration.py",
        "/usr/lib/python3/dist-packages/azure/cli/core/auth.py",
        "/usr/local/go/src/fmt/print.go",
        "/usr/share/git/completion/prompt.sh",
        "/home/runner/checkout/src/cli/user/login.ts",
        "/home/runner/.cargo/bin/rustc",
        "/home/runner/.m2/repository/a/b/1.0/b-1.0.pom",
        "/opt/hostedtoolcache/node/20/lib/node_modules/npm/package.json",
    ] {
        assert!(!list.accepts(path), "{path} is picked by {:?}", list.directories);
    }
}

#[test]
fn policies_combine_and_their_rules_keep_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let rule = |host: &str| format!("egress: {{ allow: [{{ host: {host}, why: test }}] }}\n");
    let one =
        write(directory.path(), "one.yml", &format!("version: 1\nname: one\ninclude: [base]\n{}", rule("a.example")));
    let two = write(
        directory.path(),
        "two.yml",
        &format!("version: 1\nname: two\nmode: block\ninclude: [base]\n{}", rule("b.example")),
    );
    write(directory.path(), "base.yml", &format!("version: 1\nname: base\n{}", rule("c.example")));
    let runner = MadeUp { policy_dir: Some(directory.path().into()), ..MadeUp::default() };
    let (policy, _) = load(&[one.clone(), two.clone()], &runner).unwrap();
    assert_eq!((policy.name.as_str(), policy.mode), ("one+two", Mode::Block));
    let ids: Vec<&str> = policy.egress.allow.iter().map(|rule| &*rule.id).collect();
    assert_eq!(ids, ["one/egress.allow[0]", "base/egress.allow[0]", "two/egress.allow[0]"]);
    assert_eq!(policy.origin.files.len(), 3);
    let (again, _) = load(&[one.clone(), two], &runner).unwrap();
    assert_eq!(policy.origin.sha256, again.origin.sha256);
    assert_eq!(policy.origin.sha256.len(), 64);
    let (twice, _) = load(&[one.clone(), one.clone()], &runner).unwrap();
    assert_eq!((twice.name.as_str(), twice.egress.allow.len()), ("one", 2));
    let (alone, _) = load(&[one], &runner).unwrap();
    assert_eq!(alone.origin.sha256, twice.origin.sha256);
    assert_ne!(policy.origin.sha256, alone.origin.sha256);
}

#[test]
fn includes_lie_beside_the_first_policy_unless_it_is_said_where() {
    let machine = Runtime { policy_dir: None, ..Runtime::from_env() };
    let place = |asked: Option<&str>, files: &[&str]| {
        let files: Vec<PathBuf> = files.iter().map(Into::into).collect();
        machine.including(asked.map(Path::new), &files).policy_dir.unwrap()
    };
    assert_eq!(place(None, &["ci/a.yml", "b.yml"]), Path::new("ci"));
    assert_eq!(place(None, &["a.yml"]), Path::new("."));
    assert_eq!(place(None, &[]), Path::new("."));
    assert_eq!(place(Some("policies"), &["ci/a.yml"]), Path::new("policies"));
}

#[test]
fn includes_that_lead_nowhere_or_in_circles_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let policy = |name: &str, include: &str| {
        write(directory.path(), &format!("{name}.yml"), &format!("version: 1\nname: {name}\ninclude: [{include}]\n"))
    };
    let runner = MadeUp { policy_dir: Some(directory.path().into()), ..MadeUp::default() };
    let a = policy("a", "b");
    policy("b", "a");
    assert!(first(load(&[a], &runner)).contains("leads back to itself"));
    let typo = policy("c", "presets/nmp");
    assert!(first(load(std::slice::from_ref(&typo), &runner)).ends_with("did you mean \"presets/npm\"?"));
    let gone = policy("d", "gone");
    assert!(first(load(std::slice::from_ref(&gone), &runner)).contains("no such file"));
    assert!(first(load(&[gone], &MadeUp::default())).contains("policy directory"));
    let up = policy("e", "../../etc/passwd");
    assert!(first(load(&[up], &runner)).contains("is no include"));
    let missing = directory.path().join("missing.yml");
    assert!(first(load(&[missing, typo], &runner)).contains("no such file"));
}

#[test]
fn a_host_that_a_configuration_names_needs_its_class_and_its_port() {
    let text = "version: 1\nname: p\negress:\n  allow:\n    - { ecosystem: npm, ports: [443], why: test }\n    \
                - { ecosystem: npm, class: private, why: test }\n";
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "p.yml", text);
    let host = |host: &str, port| ecosystem::ConfiguredHost { host: host.into(), port, source: "npmrc".into() };
    let hosts =
        vec![host("10.0.0.5", 4873), host("a.example", 443), host("b.example", 8443), host("*.mirrors.example", 443)];
    let runner = MadeUp { hosts: [(ecosystem::Ecosystem::Npm, hosts)].into(), ..MadeUp::default() };
    let (policy, warnings) = load(&[file], &runner).unwrap();
    let rules: Vec<String> = policy
        .egress
        .allow
        .iter()
        .map(|rule| match &rule.target {
            crate::policy::egress::Target::Host(host) => format!("{} {host} {}", rule.id, rule.class),
            crate::policy::egress::Target::Cidr(network) => format!("{} {network} {}", rule.id, rule.class),
        })
        .collect();
    assert_eq!(
        rules,
        [
            "p/egress.allow[0] a.example public",
            "p/egress.allow[1] 10.0.0.5/32 private",
            "p/egress.allow[1] a.example private",
            "p/egress.allow[1] b.example private",
        ]
    );
    let told: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert!(told.iter().any(|message| message.contains("port 4873 is not among")), "{told:#?}");
    assert!(told.iter().any(|message| message.contains("port 8443 is not among")), "{told:#?}");
    assert!(told.iter().any(|message| message.contains("more than one host")), "{told:#?}");
}

#[test]
fn two_policies_of_one_name_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let a = write(directory.path(), "a.yml", "version: 1\nname: same\n");
    let b = write(directory.path(), "b.yml", "version: 1\nname: same\n");
    assert!(first(load(&[a, b], &MadeUp::default())).contains("is also the name"));
}

#[test]
fn shipped_policies_fit_the_schema() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let example = include_str!("../../../docs/examples/policy.yml");
    for text in SHIPPED.iter().map(|shipped| shipped.policy).chain([example]) {
        let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    for wrong in [
        serde_json::json!({ "version": 1, "name": "x", "egres": {} }),
        serde_json::json!({ "version": 1, "name": "x", "mode": null }),
        serde_json::json!({ "version": 1, "name": "x", "egress": { "allow": [{ "host": "a.example" }] } }),
        serde_json::json!({ "version": 2, "name": "x" }),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn a_service_of_the_platform_is_a_cgroup_and_programs() {
    let of = |entry: &str| {
        let text = format!("version: 1\nname: p\nplatform:\n  - {entry}\n");
        let (draft, problems) = check(Path::new("p.yml"), text.as_bytes());
        let said: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
        (draft.map(|draft| draft.platform).unwrap_or_default(), said.join("; "))
    };
    let (services, said) =
        of(r#"{ cgroup: /a.slice/b.*.service, exe: [/usr/bin/b, /usr/bin/c], why: "is the platform's" }"#);
    assert_eq!((services.len(), services[0].exes.len(), said.as_str()), (1, 2, ""));
    for (entry, wrong) in [
        (r#"{ cgroup: a.slice, exe: /b, why: "is the platform's" }"#, "write its path from the root of the hierarchy"),
        (r#"{ cgroup: /a/../b, exe: /b, why: "is the platform's" }"#, "write its path from the root of the hierarchy"),
        (r#"{ cgroup: "/**", exe: /b, why: "is the platform's" }"#, "write its path from the root of the hierarchy"),
        (r#"{ cgroup: /a, exe: b, why: "is the platform's" }"#, "no absolute path"),
        (r#"{ cgroup: /a, why: "is the platform's" }"#, "has no `exe`"),
        (r#"{ exe: /b, why: "is the platform's" }"#, "has no `cgroup`"),
        (r"{ cgroup: /a, exe: /b }", "has no `why`"),
    ] {
        let (services, said) = of(entry);
        assert!(services.is_empty() && said.contains(wrong), "{entry}: {said}");
    }
}

#[test]
fn schema_and_check_know_the_same_keys_and_words() {
    let schema = schema();
    let keys = |value: &serde_json::Value| -> BTreeSet<String> {
        value["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let of = |known: &[&str]| -> BTreeSet<String> { known.iter().map(|&key| key.to_owned()).collect() };
    assert_eq!(keys(&schema), of(check::POLICY_KEYS));
    for (name, known) in [
        ("AppliesTo", check::APPLIES_TO_KEYS),
        ("Egress", check::EGRESS_KEYS),
        ("Allow", check::ALLOW_KEYS),
        ("Deny", check::DENY_KEYS),
        ("Dns", check::DNS_KEYS),
        ("Secrets", check::SECRETS_KEYS),
        ("SecretFile", check::FILE_KEYS),
        ("OnRead", check::ON_READ_KEYS),
        ("Carry", check::CARRY_KEYS),
        ("Guard", check::GUARD_KEYS),
        ("Service", check::PLATFORM_KEYS),
        ("Detect", check::DETECT_KEYS),
    ] {
        assert_eq!(keys(&schema["$defs"][name]), of(known), "{name}");
    }
    let words = |name: &str| -> Vec<String> {
        let values = schema["$defs"][name]["enum"].as_array().unwrap();
        values.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words("Mode"), Mode::WORDS);
    assert_eq!(words("Severity"), Severity::WORDS);
    assert_eq!(words("Trust"), crate::policy::Trust::WORDS);
    assert_eq!(words("Class"), crate::policy::AddressClass::WORDS);
    assert_eq!(words("Protocol"), crate::policy::egress::ProtocolMatch::WORDS);
    assert_eq!(words("RefuseWith"), crate::policy::egress::RefuseWith::WORDS);
    assert_eq!(words("Ecosystem"), ecosystem::Ecosystem::WORDS);
}

proptest! {
    #[test]
    fn any_bytes_are_checked_without_a_panic_and_every_problem_has_a_place(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (draft, problems) = check(Path::new("p.yml"), &bytes);
        prop_assert!(draft.is_some() || !problems.is_empty());
        prop_assert!(problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
    }

    #[test]
    fn a_damaged_policy_is_checked_without_a_panic(
        index in 0..SHIPPED.len(),
        at in 0_usize..4000,
        cut in 0_usize..12,
        paste in "[-\\[\\]{}:,&*!\"' a-z0-9\n]{0,6}",
    ) {
        let mut bytes = SHIPPED[index].policy.as_bytes().to_vec();
        let from = at.min(bytes.len());
        let to = (from + cut).min(bytes.len());
        bytes.splice(from..to, paste.bytes());
        let (_, problems) = check(Path::new("p.yml"), &bytes);
        prop_assert!(problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
    }
}
