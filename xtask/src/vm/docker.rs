//! Jobs before a real container engine: Debian's docker, unpacked and never installed, in a guest of its own.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::archive::{Apt, cache};
use super::whole::Whole;
use super::{one_command, test_run, unpacked};
use crate::step;
use crate::target::Target;

const NAME: &str = "guest: jobs before Debian's docker, through the gate and in the runner's scope";

/// Where the packages are from: the suite whose libraries the machines that guests are made of have at least.
const SUITE: &str = "bookworm";

/// The engine, what it starts, what these are linked to, and the one program of which its images are made.
const PACKAGES: &[&str] = &[
    "docker.io",
    "containerd",
    "runc",
    "iptables",
    "busybox-static",
    "libcap2",
    "libdevmapper1.02.1",
    "libgcrypt20",
    "libgpg-error0",
    "libip4tc2",
    "libip6tc2",
    "liblz4-1",
    "liblzma5",
    "libpcre2-8-0",
    "libseccomp2",
    "libselinux1",
    "libsystemd0",
    "libudev1",
    "libxtables12",
    "libzstd1",
];

/// Of the packages' programs those that run; others are as large.
const PROGRAMS: &[&str] = &[
    "busybox",
    "containerd",
    "containerd-shim-runc-v2",
    "docker",
    "docker-proxy",
    "dockerd",
    "ip6tables-legacy",
    "iptables-legacy",
    "runc",
    "xtables-legacy-multi",
];

/// What the engine asks of the kernel for its bridges.
const MODULES: &[&str] =
    &["dummy", "iptable_filter", "iptable_nat", "xt_MASQUERADE", "xt_addrtype", "xt_conntrack", "xt_nat", "xt_tcpudp"];

/// Without AppArmor, whose profiles an engine would want to load with programs that the guest doesn't have.
const LSM: &str = "landlock,lockdown,yama";

/// `tests/guest/docker.sh`.
pub fn before_docker() -> Whole {
    Whole::new(NAME, "cargo xtask vm --docker", |say| {
        Ok(match root() {
            Ok(root) => hold(&root, say).map(|()| None)?,
            Err(why) => Some(format!("{why:#}")),
        })
    })
}

fn hold(root: &Path, say: &mut dyn Write) -> Result<()> {
    let script = step::root().join("tests/guest/docker.sh");
    let script = script.to_str().context("paths of the build are text")?;
    let mut words: Vec<String> = ["6.12", "--memory", "3072", "--lsm", LSM].map(str::to_owned).into();
    for module in MODULES {
        words.extend(["--module", module].map(str::to_owned));
    }
    words.extend(["--", "bash", script].map(str::to_owned));
    let mut options = test_run::options(words)?;
    options.unpacked = unpacked::files(root)?;
    options.unpacked.retain(|(path, _)| is_wanted(path));
    one_command(&options, say)
}

/// What the packages hold, fetched when it isn't there.
fn root() -> Result<PathBuf> {
    let folder = cache()?.join("docker");
    let root = folder.join("root");
    if !root.is_dir() {
        let packages: Vec<String> = PACKAGES.iter().map(|&name| name.to_owned()).collect();
        let has_all = |root: &Path| {
            let files = unpacked::files(root)?;
            let has = |name: &&&str| files.iter().any(|(path, _)| is_wanted(path) && path.ends_with(name));
            match PROGRAMS.iter().find(|name| !has(name)) {
                Some(name) => bail!("{name} is in none of the packages"),
                None => Ok(()),
            }
        };
        let apt = Apt::of(&folder, SUITE, Target::native())?;
        apt.unpack(&packages, has_all).context("fetching Debian's docker")?;
    }
    Ok(root)
}

/// A program that runs, or a library; the extensions of iptables are libraries too.
fn is_wanted(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
    (is_below(&["usr/bin", "usr/sbin"]) && PROGRAMS.contains(&name)) || (is_below(&["usr/lib"]) && name.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_libraries_are_taken_and_what_only_lies_beside_them_is_not() {
        for path in [
            "usr/sbin/dockerd",
            "usr/lib/x86_64-linux-gnu/libxtables.so.12",
            "usr/lib/x86_64-linux-gnu/xtables/libxt_nat.so",
        ] {
            assert!(is_wanted(Path::new(path)), "{path}");
        }
        for path in ["usr/bin/ctr", "usr/lib/systemd/system/docker.service", "usr/share/doc/runc/copyright"] {
            assert!(!is_wanted(Path::new(path)), "{path}");
        }
    }
}
