use super::*;
use proptest::prelude::*;

fn place() -> Arc<Place> {
    Arc::new(Place {
        homes: vec!["/home/other".into(), "/home/runner".into()],
        workspaces: vec!["/home/runner/checkout".into()],
    })
}

fn class(id: &str, patterns: &[&str], readers: &[&str]) -> SecretClass {
    let spec = SecretSpec {
        id: id.into(),
        title: id.into(),
        severity: Severity::High,
        patterns: patterns.iter().map(|&text| text.to_owned()).collect(),
        readers: readers.iter().map(|text| ReaderPattern::parse(text).unwrap()).collect(),
        why: "test".into(),
    };
    SecretClass::new(spec, &place()).unwrap()
}

fn may_read(class: &SecretClass, exe: &str, argv: &[&str]) -> bool {
    let argv: Vec<String> = argv.iter().map(|&text| text.to_owned()).collect();
    class.may_read(&Reader { exe, argv: &argv, pid: 7, path: "/home/runner/.npmrc" })
}

#[test]
fn home_stands_for_every_home_directory_and_the_first_class_wins() {
    let policy = SecretPolicy::new(
        vec![class("own", &["~/.aws/credentials"], &["deploy"]), class("aws", &["~/.aws/**"], &["aws"])],
        Mode::Audit,
    );
    let id = |path: &str| policy.classify(path).map(|class| class.id.to_string());
    assert_eq!(id("/home/other/.aws/credentials").as_deref(), Some("own"));
    assert_eq!(id("/home/runner/.aws/config").as_deref(), Some("aws"));
    assert_eq!(id("/home/runner/.aws/sso/cache/a.json").as_deref(), Some("aws"));
    assert_eq!(id("/home/stranger/.aws/config"), None);
    // Deeper than the kernel looks.
    assert_eq!(id("/home/runner/.aws/a/b/c/d"), None);
}

#[test]
fn a_program_owns_by_its_name_unless_it_is_the_jobs_own() {
    let class = class("aws", &["~/.aws/credentials"], &["aws", "docker-credential-*"]);
    assert!(may_read(&class, "/usr/local/bin/aws", &["aws"]));
    assert!(may_read(&class, "/usr/bin/docker-credential-pass", &[]));
    for exe in [
        "/usr/bin/cat",
        "/tmp/aws",
        "/var/tmp/x/aws",
        "/dev/shm/aws",
        "/home/runner/checkout/bin/aws",
        "/usr/bin/../../tmp/aws",
        "/usr/bin/aws (deleted)",
        "/memfd:aws (deleted)",
        "aws",
        "",
    ] {
        assert!(!may_read(&class, exe, &["aws"]), "{exe}");
    }
}

#[test]
fn an_interpreter_is_no_reader_by_its_version_or_by_a_pattern_either() {
    for text in ["python", "python3.11", "php8.2", "node-18", "python*", "*sh", "{aws,perl}"] {
        assert!(matches!(ReaderPattern::parse(text), Err(ReaderPatternError::Interpreter(..))), "{text}");
    }
    for text in ["aws", "docker-credential-*", "python3.11:pip", "nodemon"] {
        assert!(ReaderPattern::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn an_interpreter_owns_only_with_its_script() {
    let class = class("npm", &["~/.npmrc"], &["node:npm-cli.js", "python:pip", "java:org.example.Main"]);
    let node = "/usr/bin/node";
    assert!(may_read(&class, node, &["node", "/usr/lib/npm/bin/npm-cli.js", "install"]));
    assert!(may_read(&class, node, &["node", "--no-warnings", "/usr/lib/npm/bin/npm-cli.js"]));
    assert!(may_read(&class, "/usr/bin/python3.11", &["python3", "-m", "pip", "install"]));
    assert!(may_read(&class, "/usr/bin/python3.11", &["python3", "-W", "ignore", "/usr/bin/pip"]));
    assert!(may_read(&class, "/opt/jdk/bin/java", &["java", "-cp", "/opt/a.jar", "org.example.Main"]));
    for argv in [
        &["node"][..],
        &["node", "postinstall.js"],
        &["node", "npm-cli.js"],
        &["node", "/home/runner/checkout/npm-cli.js"],
        &["node", "/tmp/npm-cli.js"],
        &["node", "-e", "1", "/usr/lib/npm/bin/npm-cli.js"],
        &["node", "-r", "/tmp/x.js", "/usr/lib/npm/bin/npm-cli.js"],
        &["node", "-pe", "/x/;require('fs')//npm-cli.js"],
        &["node", "--require=/tmp/x.js", "/usr/lib/npm/bin/npm-cli.js"],
    ] {
        assert!(!may_read(&class, node, argv), "{argv:?}");
    }
    assert!(!may_read(&class, "/tmp/node", &["node", "/usr/lib/npm/bin/npm-cli.js"]));
    assert!(!may_read(&class, "/opt/jdk/bin/java", &["java", "-javaagent:/tmp/x.jar", "org.example.Main"]));
}

#[test]
fn a_process_may_read_its_own_environment_and_nobody_elses() {
    let class = class("environ", &["/proc/*/environ"], &["self"]);
    let read = |path| class.may_read(&Reader { exe: "/tmp/anything", argv: &[], pid: 42, path });
    assert!(read("/proc/42/environ"));
    assert!(!read("/proc/43/environ"));
    assert!(!read("/proc/421/environ"));
}

#[test]
fn each_pattern_is_watched_by_its_most_selective_key() {
    let list = |patterns: &[&str]| SecretPolicy::new(vec![class("c", patterns, &[])], Mode::Audit).watch();
    assert!(list(&["~/.npmrc"]).names.contains(".npmrc"));
    assert!(list(&["~/.docker/config.json"]).directories.contains(".docker"));
    let folders = list(&["~/.docker/config.json", "~/.npmrc", "~/.ssh/id_*"]).folders;
    let docker = ["/home/other/.docker", "/home/runner/.docker"].map(std::path::PathBuf::from);
    assert_eq!(folders, docker.into(), "what is found by its own name needs no folder");
    assert!(list(&["~/.ssh/id_*"]).directories.contains(".ssh"));
    assert!(list(&["**/id_*"]).prefixes.contains(b"id_"));
    assert!(list(&["**/*.pfx"]).suffixes.contains(b"pfx"));
    assert!(list(&["/proc/*/environ"]).names.contains("environ"));
    let two = list(&["~/.azure/{accessTokens,azureProfile}.json"]);
    assert!(two.names.contains("accessTokens.json") && two.names.contains("azureProfile.json"));
    assert_eq!(
        list(&["~/.npmrc", "/etc/*.key"]).files,
        ["/home/other/.npmrc", "/home/runner/.npmrc"].map(std::path::PathBuf::from).into()
    );
}

#[test]
fn a_pattern_that_cannot_be_watched_says_so() {
    let error = |text| check_pattern(text).unwrap_err().to_string();
    for text in ["**/*", "~/*", "~/**", "/*", "**/*a", "~/?b*"] {
        assert!(error(text).contains("can't be watched"), "{text}: {}", error(text));
    }
    assert!(error("secrets.yml").contains("is relative"));
    assert!(error("/a/../b").contains("\"..\""));
    assert!(error("/a/{b,{c}}").contains("nested"));
    assert!(error("/etc/[a/key").contains("no path pattern"));
    let braces = "{a,b,c,d,e,f,g,h}";
    assert!(error(&format!("/x/{braces}{braces}{braces}")).contains("more than 256"));
}

#[test]
fn a_reader_that_would_be_anybody_is_refused() {
    let error = |text| ReaderPattern::parse(text).unwrap_err().to_string();
    assert!(error("node").contains("\"node:npm-cli.js\""));
    assert!(error("*").contains("every program"));
    assert!(error("node:*").contains("every program"));
    assert!(error("/usr/bin/aws").contains("basename"));
    assert!(error("").contains("basename"));
}

fn pattern_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-z._]{1,6}",
        1 => Just("*".to_owned()),
        1 => Just("**".to_owned()),
        1 => "[a-z]{0,4}\\*[a-z.]{0,4}",
        1 => "[a-z]{1,3}\\?[a-z]{0,3}",
        1 => "\\{[a-z]{1,3},[a-z*]{1,3}\\}[a-z]{0,2}",
        1 => "\\[[a-c]{2}\\][a-z]{0,4}",
    ];
    let root = prop::sample::select(vec!["/", "~/", "**/"]);
    (root, prop::collection::vec(part, 1..5)).prop_map(|(root, parts)| format!("{root}{}", parts.join("/")))
}

/// A path that has a good chance to match: the pattern with something in place of its wildcards.
fn like(pattern: &str, fill: &str, deep: &str) -> String {
    let text = pattern.replacen("~/", "/home/runner/", 1).replace("**", deep).replace(['*', '?'], fill);
    let text = text.replace("[aa]", "a").replace("[ab]", "a").replace("[ba]", "a");
    let mut done = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, tail) = after.split_once('}').unwrap_or((after, ""));
        done.push_str(before);
        done.push_str(inside.split(',').next_back().unwrap_or_default());
        rest = tail;
    }
    done.push_str(rest);
    if done.starts_with('/') { done } else { format!("/{done}") }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_kernel_picks_every_path_that_is_secret(
        texts in prop::collection::vec(pattern_text(), 1..4),
        fill in "[a-c]{1}",
        deep in "[a-c]{1,2}(/[a-c]{1}){0,3}",
        other in "(/[a-c._]{1,4}){1,6}",
    ) {
        let good: Vec<&str> = texts.iter().map(String::as_str).filter(|text| check_pattern(text).is_ok()).collect();
        let policy = SecretPolicy::new(vec![class("c", &good, &[])], Mode::Audit);
        let list = policy.watch();
        for path in good.iter().map(|text| like(text, &fill, &deep)).chain([other]) {
            if policy.classify(&path).is_some() {
                prop_assert!(list.accepts(&path), "{path} of {good:?} is not picked by {list:?}");
            }
        }
    }

    #[test]
    fn reading_patterns_and_readers_never_panics(text in "\\PC{0,30}") {
        let _ = check_pattern(&text);
        let _ = ReaderPattern::parse(&text);
    }
}
