//! What `test sinks` takes: packages that know the forms, and receivers from the distribution.
//!
//! The receivers are unpacked below the target directory and not installed: an installed one would be started as a service,
//! with a port open to everybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::npm::Package;
use super::packages::Packages;
use super::python::Environment;
use super::{Need, dpkg};
use crate::step;

/// Each knows one form: its schema, its types or its grammar.
const VALIDATORS: Environment = Environment {
    name: "validators",
    packages: &[
        ("ocsf-json-schema", "1.2.0"),
        ("jsonschema", "4.26.0"),
        ("opentelemetry-proto", "1.45.2"),
        ("opentelemetry-semantic-conventions", "0.66b2"),
        ("cloudevents", "2.2.0"),
        ("pycef", "1.11"),
        ("chdb", "4.4.0"),
        ("elasticsearch", "9.5.1"),
        ("slack-sdk", "3.48.0"),
        ("cryptography", "50.0.2"),
        ("in-toto-attestation", "0.9.3"),
        ("rfc8785", "0.1.4"),
        ("nats-py", "2.16.0"),
        ("prometheus-client", "0.26.0"),
        ("securesystemslib", "1.6.0"),
        ("standardwebhooks", "1.1.0"),
    ],
};

/// What Debian calls them, with the libraries that rsyslog alone uses.
const PACKAGES: &[&str] =
    &["rsyslog", "libestr0", "libfastjson4", "prometheus-alertmanager", "nats-server", "prometheus"];

/// Who judges figures, below [`folder`].
pub const PROMTOOL: &str = "usr/bin/promtool";

/// What comes with it, is large, and nobody starts.
const NOT_NEEDED: &str = "usr/bin/prometheus";

/// Where the broker lies below [`folder`].
pub const NATS: &str = "usr/sbin/nats-server";

pub(super) const NEEDS: &[Need] = &[
    Need { name: "dpkg", only_for: None, look: dpkg, supply: |packages| packages.install(&["dpkg"]) },
    Need {
        name: "validators of forms",
        only_for: None,
        look: || VALIDATORS.look(),
        supply: |packages| VALIDATORS.supply(packages),
    },
    Need { name: "rsyslog, Alertmanager, a broker and promtool", only_for: None, look, supply },
    Need {
        name: "a verifier of webhooks from npm",
        only_for: Some("one of two verifiers of webhooks"),
        look: || WEBHOOKS.look(),
        supply: |_| WEBHOOKS.supply(),
    },
];

/// What receivers that are written in JavaScript verify with.
const WEBHOOKS: Package = Package { name: "standardwebhooks", version: "1.1.1" };

/// The folder of npm's verifier of webhooks, if it is there.
pub fn webhooks() -> Option<PathBuf> {
    WEBHOOKS.look().ok()?;
    WEBHOOKS.folder().ok()
}

/// The Python that has the validators.
pub fn python() -> Result<PathBuf> {
    VALIDATORS.program("python")
}

/// The folder that the receivers were unpacked into, laid out as a root file system is.
pub fn folder() -> Result<PathBuf> {
    Ok(step::target_dir()?.join("tools/receivers"))
}

fn look() -> Result<String> {
    let folder = folder()?;
    for program in ["usr/sbin/rsyslogd", "usr/bin/prometheus-alertmanager", NATS, PROMTOOL] {
        if !folder.join(program).is_file() {
            bail!("{program} isn't unpacked");
        }
    }
    Ok(PACKAGES.join(", "))
}

fn supply(packages: &mut Packages) -> Result<()> {
    let folder = folder()?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let archives = tempfile::tempdir().context("a folder for packages")?;
    // Lists that are too old name files that are gone.
    if download(archives.path()).is_err() {
        packages.refresh();
        download(archives.path())?;
    }
    for archive in fs::read_dir(archives.path())? {
        step::output(Command::new("dpkg").arg("-x").arg(archive?.path()).arg(&folder))?;
    }
    // Each receiver gets a copy of the folder.
    fs::remove_file(folder.join(NOT_NEEDED)).context(NOT_NEEDED)
}

fn download(into: &Path) -> Result<String> {
    let mut apt = Command::new("apt-get");
    // As ourselves: apt's own user may not write to a folder that is ours alone.
    apt.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(PACKAGES).current_dir(into);
    step::output(apt.stdin(Stdio::null()))
}
