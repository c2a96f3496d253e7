//! The package in a guest: laid out, its service started, its hooks around a job; without systemd and with it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::whole::Whole;
use super::{one_command, test_run};
use crate::step;

/// What the scripts use besides what every guest has.
const PROGRAMS: &[&str] = &["/usr/bin/dpkg-deb", "/usr/bin/mountpoint"];

/// Debian's systemd, and of its units what a service with our settings and its start wait for.
const SYSTEMD: &str = "/lib/systemd/systemd";
const SYSTEMD_PROGRAMS: &[&str] =
    &["/bin/systemctl", "/bin/journalctl", "/lib/systemd/systemd-journald", "/lib/systemd/systemd-shutdown"];

/// What installs, and what the package's scripts ask; these are in Perl, whose modules come too.
const DPKG_PROGRAMS: &[&str] = &[
    "/usr/bin/dpkg",
    "/usr/bin/dpkg-query",
    "/usr/bin/dpkg-split",
    "/usr/bin/diff",
    "/usr/bin/deb-systemd-helper",
    "/usr/bin/deb-systemd-invoke",
    "/usr/bin/install",
    "/sbin/ldconfig",
    "/sbin/start-stop-daemon",
];
const UNITS: &[&str] = &[
    "basic.target",
    "emergency.target",
    "local-fs-pre.target",
    "local-fs.target",
    "multi-user.target",
    "network-pre.target",
    "network.target",
    "paths.target",
    "rescue.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "timers.target",
    "umount.target",
];

/// `tests/guest/installed.sh`: the service started as a machine without systemd starts it.
pub fn installed(package: &Path) -> Whole {
    const NAME: &str = "guest: the package laid out, its hooks around a job";
    let package = package.to_owned();
    Whole::new(NAME, "cargo xtask test", move |say| run("installed.sh", &package, &[], say).map(|()| None))
}

/// `tests/guest/systemd.sh`: the service as a unit.
pub fn under_systemd(package: &Path) -> Whole {
    const NAME: &str = "guest: the package under systemd, installed, restarted in a job, upgraded, removed";
    let package = package.to_owned();
    Whole::new(NAME, "cargo xtask vm --systemd PACKAGE", move |say| {
        if !Path::new(SYSTEMD).is_file() {
            return Ok(Some(format!("{SYSTEMD} is not on this machine; Debian's package is systemd")));
        }
        run("systemd.sh", &package, &words_for_systemd()?, say).map(|()| None)
    })
}

fn words_for_systemd() -> Result<Vec<String>> {
    let init = ["--init", SYSTEMD, "--init=--unit=multi-user.target"];
    let mut words: Vec<String> = init.map(str::to_owned).into();
    let units = UNITS.iter().map(|name| format!("/lib/systemd/system/{name}"));
    let programs = SYSTEMD_PROGRAMS.iter().chain(DPKG_PROGRAMS).map(|name| (*name).to_owned());
    for file in programs.chain(units).chain(modules_of_perl()?) {
        words.extend(["--file".to_owned(), file]);
    }
    Ok(words)
}

/// The modules of Debian's smallest Perl, as dpkg knows them.
fn modules_of_perl() -> Result<Vec<String>> {
    let listed = step::output(Command::new("dpkg-query").args(["--listfiles", "perl-base"]))?;
    let is_module = |line: &&str| line.contains("/perl-base/") && Path::new(line).is_file();
    Ok(listed.lines().filter(is_module).map(str::to_owned).collect())
}

fn run(script: &str, package: &Path, more: &[String], say: &mut dyn Write) -> Result<()> {
    let recorded = step::root().join("runner-agent/src/identity/recorded");
    let script = step::root().join("tests/guest").join(script);
    let arguments = [
        package.to_owned(),
        recorded.join("github-pull-request-fork.env"),
        recorded.join("github-pull-request-fork.json"),
    ];
    let text = |path: &Path| path.to_str().map(str::to_owned).context("paths of the build are text");
    let mut words = vec!["6.12".to_owned()];
    words.extend(more.iter().cloned());
    let programs: Vec<PathBuf> = PROGRAMS.iter().map(PathBuf::from).collect();
    for file in arguments.iter().chain([&script]).chain(&programs) {
        words.extend(["--file".to_owned(), text(file)?]);
    }
    words.extend(["--".to_owned(), "bash".to_owned(), text(&script)?]);
    words.extend(arguments.iter().map(|argument| text(argument)).collect::<Result<Vec<_>>>()?);
    one_command(&test_run::options(words)?, say)
}
