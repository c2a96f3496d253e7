use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::program::{Answer, ask};
use super::*;

/// A runner in a directory of its own, without programs and variables.
struct Fixture {
    directory: tempfile::TempDir,
    runtime: Runtime,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        let runtime = Runtime {
            vars: std::collections::BTreeMap::new(),
            home: root.join("home/me"),
            path: vec![root.join("bin")],
            root: root.clone(),
            policy_dir: None,
            workspaces: Vec::new(),
            // Only the test of the limit wants it short; others must not fail on a busy machine.
            timeout: Duration::from_secs(20),
        };
        Self { directory, runtime }
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A program of this name that runs a shell script. The shell is named by its path, as the fixture's PATH has none.
    fn program(&self, name: &str, script: &str) {
        let path = self.directory.path().join("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        end_to_end::binary::write(&path, format!("#!/bin/sh\n{script}\n").as_bytes());
    }

    fn set(&mut self, key: &str, value: &str) {
        self.runtime.vars.insert(key.into(), value.into());
    }

    fn hosts(&self, ecosystem: Ecosystem) -> Vec<String> {
        let resolved = self.runtime.hosts(ecosystem);
        assert_eq!(resolved.warnings, Vec::<String>::new());
        named(&resolved)
    }
}

fn named(resolved: &Resolved) -> Vec<String> {
    resolved.hosts.iter().map(|host| format!("{}:{}", host.host, host.port)).collect()
}

/// Without root, and with root as long as the temporary directory is root's own and sticky, the fixture's programs run.
fn warned(fixture: &Fixture, ecosystem: Ecosystem, part: &str) {
    let resolved = fixture.runtime.hosts(ecosystem);
    assert!(resolved.warnings.iter().any(|warning| warning.contains(part)), "{:?}", resolved.warnings);
}

#[test]
fn an_address_gives_host_and_port_and_never_a_password() {
    let url = |text| parse_url(text);
    assert_eq!(url("https://Registry.Example/path"), Some(("registry.example".into(), 443)));
    assert_eq!(url("http://user:secret@mirror.example:8081/x"), Some(("mirror.example".into(), 8081)));
    assert_eq!(url("sparse+https://index.example/"), Some(("index.example".into(), 443)));
    assert_eq!(url("http://[2001:db8::1]:8080/"), Some(("2001:db8::1".into(), 8080)));
    for bad in ["", "registry.example", "file:///etc/passwd", "https://", "https://a:x/", "https://a:0/"] {
        assert_eq!(url(bad), None, "{bad}");
    }
    let mut resolved = Resolved::default();
    resolved.add("gopher://me:hunter2@old.example", "test");
    assert!(!resolved.warnings[0].contains("hunter2"), "{}", resolved.warnings[0]);
}

#[test]
fn npm_is_read_from_its_files_and_asked_for_its_default() {
    let mut fixture = Fixture::new();
    fixture.set("TOKEN_HOST", "scoped.example");
    fixture.file("home/me/.npmrc", "; comment\n@team:registry = \"https://${TOKEN_HOST}/npm/\"\n//x/:_authToken=abc\n");
    warned(&fixture, Ecosystem::Npm, "npm is not installed");
    fixture.program("npm", "[ \"$*\" = 'config get registry' ] && echo https://default.example/");
    assert_eq!(fixture.hosts(Ecosystem::Npm), ["scoped.example:443", "default.example:443"]);
    fixture.file("etc/npmrc", "registry=http://mirror.example:4873/\n");
    assert_eq!(fixture.hosts(Ecosystem::Npm), ["scoped.example:443", "mirror.example:4873"]);
}

#[test]
fn pip_is_read_from_its_files_and_asked_for_its_defaults() {
    let mut fixture = Fixture::new();
    fixture.set("PIP_EXTRA_INDEX_URL", "https://one.example/simple https://me:pw@two.example/simple");
    warned(&fixture, Ecosystem::Pip, "there is no python3");
    fixture
        .program("python3", "[ \"$1 $2\" = '-I -c' ] && printf 'https://index.example/\\nhttps://files.example/\\n'");
    assert_eq!(
        fixture.hosts(Ecosystem::Pip),
        ["one.example:443", "two.example:443", "index.example:443", "files.example:443"]
    );
    fixture.file(
        "home/me/.config/pip/pip.conf",
        "[global]\ntimeout = 60\nindex-url = https://own.example/simple\nextra-index-url =\n    https://three.example/\n\n    https://four.example/\n[install]\nno-compile = yes\n",
    );
    assert_eq!(
        fixture.hosts(Ecosystem::Pip),
        ["one.example:443", "two.example:443", "own.example:443", "three.example:443", "four.example:443"]
    );
}

#[test]
fn cargo_is_read_from_its_configuration_and_from_what_it_has_fetched() {
    let mut fixture = Fixture::new();
    warned(&fixture, Ecosystem::Cargo, "has fetched nothing");
    fixture.file("home/me/.cargo/registry/index/index.example-1949cf8c6b5b557f/.cache/x", "");
    warned(&fixture, Ecosystem::Cargo, "where its downloads are");
    fixture.file(
        "home/me/.cargo/registry/index/index.example-1949cf8c6b5b557f/config.json",
        r#"{"dl":"https://static.example/x"}"#,
    );
    assert_eq!(fixture.hosts(Ecosystem::Cargo), ["index.example:443", "static.example:443"]);
    fixture.file(
        "home/me/.cargo/config.toml",
        "[registries.team]\nindex = \"sparse+https://team.example/index/\"\n[source.mirror]\nregistry = \"https://mirror.example:8443/i\"\n",
    );
    fixture.set("CARGO_REGISTRIES_OTHER_INDEX", "sparse+https://other.example/");
    assert_eq!(
        fixture.hosts(Ecosystem::Cargo),
        ["mirror.example:8443", "team.example:443", "other.example:443", "index.example:443", "static.example:443"]
    );
    fixture.file("home/me/.cargo/config.toml", "[registries\n");
    warned(&fixture, Ecosystem::Cargo, "is no TOML");
}

#[test]
fn apt_is_read_from_both_forms_of_sources_mirror_lists_and_proxies() {
    let fixture = Fixture::new();
    warned(&fixture, Ecosystem::Apt, "no package source");
    fixture.file(
        "etc/apt/sources.list",
        "# deb http://comment.example/ x\ndeb [arch=amd64 signed-by=/k] http://one.example/debian stable main # end\ndeb-src https://two.example/ x y\ndeb cdrom:[Disc]/ x\n",
    );
    fixture.file("etc/apt/sources.list.d/a.list", "deb mirror+file:/etc/apt/mirrors.txt stable main\n");
    fixture.file("etc/apt/mirrors.txt", "http://azure.example/ubuntu/\tpriority:1\nhttps://archive.example/ubuntu/\n");
    fixture.file(
        "etc/apt/sources.list.d/b.sources",
        "Types: deb\nURIs: http://three.example/\n  http://four.example:8080/\nSuites: x\n\nEnabled: no\nURIs: http://off.example/\n",
    );
    fixture.file(
        "etc/apt/apt.conf.d/80proxy",
        "// Acquire::http::Proxy \"http://no.example/\";\nAcquire::http::Proxy \"http://proxy.example:3128/\";\n",
    );
    assert_eq!(
        fixture.hosts(Ecosystem::Apt),
        [
            "one.example:80",
            "two.example:443",
            "azure.example:80",
            "archive.example:443",
            "three.example:80",
            "four.example:8080",
            "proxy.example:3128"
        ]
    );
}

#[test]
fn github_hands_out_its_own_addresses_and_nobody_elses() {
    let mut fixture = Fixture::new();
    fixture.set("GITHUB_SERVER_URL", "https://git.corp.example");
    fixture.set("ACTIONS_RESULTS_URL", "https://results.actions.githubusercontent.com/");
    fixture.set("GITHUB_API_URL", "https://api.git.corp.example/v3");
    let names = ["git.corp.example:443", "api.git.corp.example:443", "results.actions.githubusercontent.com:443"];
    assert_eq!(fixture.hosts(Ecosystem::Github), names);
    fixture.set("ACTIONS_CACHE_URL", "https://evil.example/");
    fixture.set("ACTIONS_RUNTIME_URL", "https://evilgithub.com/");
    let resolved = fixture.runtime.hosts(Ecosystem::Github);
    assert_eq!(named(&resolved), names);
    assert_eq!(resolved.warnings.len(), 2);
}

#[test]
fn proxies_and_resolvers_are_those_of_the_environment() {
    let mut fixture = Fixture::new();
    fixture.set("HTTPS_PROXY", "http://me:pw@proxy.example:3128");
    fixture.set("http_proxy", "proxy.example:3128");
    fixture.set("ALL_PROXY", "socks5h://socks.example");
    assert_eq!(named(&fixture.runtime.proxies()), ["proxy.example:3128", "socks.example:1080"]);
    fixture.file(
        "etc/resolv.conf",
        "# x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver 192.0.2.53\noptions edns0\n",
    );
    let resolvers: Vec<String> = fixture.runtime.resolvers().iter().map(ToString::to_string).collect();
    assert_eq!(resolvers, ["192.0.2.53", "fe80::1"]);
}

#[test]
fn home_directories_are_those_of_the_accounts_that_people_and_jobs_have() {
    let fixture = Fixture::new();
    fixture.file(
        "etc/passwd",
        "root:x:0:0::/admin:/bin/sh\ndaemon:x:1:1::/usr/sbin:/x\nrunner:x:1001:1001::/home/runner/:/bin/sh\n\
         nobody:x:65534:65534::/nonexistent:/x\nbroken:x\n",
    );
    let own = fixture.runtime.home.to_string_lossy().into_owned();
    assert_eq!(fixture.runtime.place().homes, [own.as_str(), "/github/home", "/admin", "/home/runner"]);
}

#[test]
fn a_program_is_stopped_when_it_takes_too_long_and_its_failure_is_told() {
    let mut fixture = Fixture::new();
    fixture.runtime.timeout = Duration::from_millis(300);
    // A grandchild that keeps the pipe open must not hold the agent up either.
    fixture.program("npm", "/bin/sleep 60");
    let started = Instant::now();
    let Answer::Failed(why) = ask(&fixture.runtime, "npm", &["config"], &[]) else { panic!("it cannot answer") };
    assert!(why.contains("did not answer within"), "{why}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    fixture.runtime.timeout = Duration::from_secs(20);
    fixture.program("npm", "echo half; exit 3");
    assert!(matches!(ask(&fixture.runtime, "npm", &[], &[]), Answer::Failed(why) if why.contains('3')));
    assert_eq!(ask(&fixture.runtime, "pip", &[], &[]), Answer::Missing);
}

#[test]
fn a_program_gets_no_variable_that_could_make_it_load_code() {
    let mut fixture = Fixture::new();
    fixture.set("NODE_OPTIONS", "--require=/evil.js");
    fixture.set("NPM_CONFIG_USERCONFIG", "/home/me/npmrc");
    fixture.program("npm", "echo \"[$NODE_OPTIONS] [$NPM_CONFIG_USERCONFIG] $PWD\"");
    let answer = ask(&fixture.runtime, "npm", &[], &["NPM_CONFIG_USERCONFIG"]);
    assert_eq!(answer, Answer::Text("[] [/home/me/npmrc] /\n".into()));
}

#[test]
fn root_runs_no_program_that_others_can_change() {
    let fixture = Fixture::new();
    fixture.program("npm", "echo https://evil.example/");
    let bin = fixture.directory.path().join("bin");
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o777)).unwrap();
    let answer = ask(&fixture.runtime, "npm", &[], &[]);
    let root = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0;
    assert_eq!(matches!(answer, Answer::Failed(_)), root, "{answer:?}");
}
