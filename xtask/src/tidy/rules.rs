//! The rules as tables. An exception is a path with the reason why it is one; one without a reason can't be written.

/// A folder that the project keeps something in, and nowhere else.
pub struct Room {
    /// What a broken rule is told: what would be right.
    pub rule: &'static str,
    /// Names (whole words) that only the room may use.
    pub needles: &'static [&'static str],
    /// Where the rule holds.
    pub scope: &'static str,
    /// The room itself: path prefixes.
    pub home: &'static [&'static str],
    /// Path prefix and reason.
    pub except: &'static [(&'static str, &'static str)],
}

/// Invariant 9 of ARCHITECTURE.md.
pub const ROOMS: &[Room] = &[
    Room {
        rule: "only `kernel` names aya",
        needles: &["aya::", "aya_obj::", "use aya", "extern crate aya"],
        scope: "runner-agent/src/",
        home: &["runner-agent/src/kernel/", "runner-agent/src/kernel.rs"],
        except: &[],
    },
    Room {
        rule: "only `sink::wire` serializes: say it there, and let others hold plain types",
        needles: &[
            "Serialize",
            "serde_json::to_string",
            "serde_json::to_writer",
            "serde_json::to_vec",
            "serde_json::to_value",
        ],
        scope: "runner-agent/src/",
        home: &["runner-agent/src/sink/wire/", "runner-agent/src/sink/wire.rs"],
        except: &[
            (
                "runner-agent/src/doctor/",
                "`doctor --json` is a result of its own, with a schema of its own, and no notice",
            ),
            ("runner-agent/src/cli/doctor.rs", "writes that result"),
            ("runner-agent/src/cli/policy.rs", "`policy check --format json` is a result of its own and no notice"),
            (
                "runner-agent/src/explain/",
                "`policy explain --format json` is a result of its own, with a schema of its own, and no notice",
            ),
            ("runner-agent/src/cli/policy/explain.rs", "writes that result"),
            (
                "runner-agent/src/cli/policy/import.rs",
                "`policy import --format json` is a result of its own and no notice",
            ),
            (
                "runner-agent/src/agent/succession.rs",
                "what an agent leaves for its successor is between the two, and no notice",
            ),
            ("runner-agent/src/agent/handover.rs", "so is what it hands over itself"),
            ("runner-agent/src/identity/", "is a part of that"),
            ("runner-agent/src/ledger.rs", "is a part of that"),
            ("runner-agent/src/policy/trust.rs", "is a part of that"),
            ("runner-agent/src/config/recorded.rs", "is a part of that"),
            ("runner-agent/src/config/combined.rs", "is a part of that"),
            ("runner-agent/src/control/", "what client and daemon say to each other is between the two, and no notice"),
            ("runner-agent/src/config/problem.rs", "is a part of what `policy check --format json` prints"),
            ("runner-agent/src/config/cases.rs", "is a part of what `policy check --format json` prints"),
        ],
    },
    Room {
        rule: "only `config::raw` deserializes: say it there, and let `config::check` make plain types of it",
        needles: &["Deserialize", "serde_saphyr::from_", "serde_json::from_", "toml::from_", "DeserializeOwned"],
        scope: "runner-agent/src/",
        home: &["runner-agent/src/config/raw/", "runner-agent/src/config/raw.rs"],
        except: &[
            (
                "runner-agent/src/sink/wire",
                "reads a log back: reader and writer of one format stand together, or they drift apart",
            ),
            ("runner-agent/src/config/ecosystem/cargo.rs", "reads a file that cargo wrote, which is no policy"),
            ("runner-agent/src/agent/succession.rs", "reads what an agent before left for its successor"),
            ("runner-agent/src/agent/handover.rs", "reads what an agent before hands over itself"),
            ("runner-agent/src/identity/mod.rs", "is a part of that"),
            ("runner-agent/src/identity/origin.rs", "is a part of that"),
            ("runner-agent/src/ledger.rs", "is a part of that"),
            ("runner-agent/src/policy/trust.rs", "is a part of that"),
            ("runner-agent/src/config/recorded.rs", "is a part of that"),
            ("runner-agent/src/config/combined.rs", "is a part of that"),
            ("runner-agent/src/control/", "reads what client and daemon say to each other"),
            (
                "runner-agent/src/json.rs",
                "reads what a job asks a container engine for and what a provider says of a job's event, which are no policies",
            ),
        ],
    },
];

/// Where a [`Word`] is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All Rust code.
    Code,
    /// Test crates, `tests/` folders and unit tests.
    Tests,
}

/// A word that stays out.
pub struct Word {
    pub needle: &'static str,
    pub scope: Scope,
    pub instead: &'static str,
    /// Path prefix and reason.
    pub except: &'static [(&'static str, &'static str)],
}

/// Why this file and those of the same rules may hold what they forbid.
const NAMES_IT: (&str, &str) = ("xtask/src/tidy/", "names the words to look for them");

/// Clippy knows some of these too, but only in the crates and targets it is run for.
pub const WORDS: &[Word] = &[
    Word { needle: "todo!", scope: Scope::Code, instead: "write it, or leave it out", except: &[NAMES_IT] },
    Word { needle: "unimplemented!", scope: Scope::Code, instead: "write it, or leave it out", except: &[NAMES_IT] },
    Word { needle: "dbg!", scope: Scope::Code, instead: "use tracing", except: &[NAMES_IT] },
    Word {
        needle: "#[ignore",
        scope: Scope::Code,
        instead: "a test that can't run here appends its reason to RUNNER_AGENT_TEST_REPORT",
        except: &[NAMES_IT],
    },
    Word {
        needle: "thread::sleep",
        scope: Scope::Tests,
        instead: "wait for the thing itself (a line, a file, an exit), with a deadline",
        except: &[NAMES_IT],
    },
];

/// Names of home folders that belong to nobody: documentation and fixtures may use them.
pub const MADE_UP_HOMES: &[&str] = &["runner", "user", "me", "ci", "build", "alice", "bob", "dev", "someone", "other"];

/// Files whose text is not ours, and folders that name system paths for a reason.
pub const PLACES_EXCEPT: &[(&str, &str)] = &[
    ("Cargo.lock", "written by cargo"),
    ("fuzz/Cargo.lock", "written by cargo"),
    ("xtask/src/tidy/", "names the patterns to look for them"),
    ("policies/", "a policy may name root's home: secret files lie there on a runner that builds as root"),
    ("runner-agent/src/policy/secret/", "the same, in the code that expands `~`"),
];

/// A host name with one of these labels is taken for a package registry's. Registries are the runner's own
/// configuration and are asked for at run time, so that private mirrors work.
pub const REGISTRY_LABELS: &[&str] = &[
    "registry",
    "registries",
    "crates",
    "pypi",
    "npmjs",
    "pythonhosted",
    "debian",
    "ubuntu",
    "rubygems",
    "golang",
    "maven",
    "nuget",
    "packagist",
    "yarnpkg",
    "mirrors",
    "rustup",
];

/// The last labels that make a dotted word a host name, and not a path of some program's own.
pub const PUBLIC_SUFFIXES: &[&str] = &["io", "org", "com", "net", "dev", "cn"];

/// Second-level names that are reserved for examples (RFC 2606).
pub const EXAMPLE_DOMAINS: &[&str] = &["example.com", "example.org", "example.net"];
