//! The kernels that guests boot: Debian's cloud kernels, fetched by package name from the archive that this machine is
//! configured with, unpacked into a cache outside the repository and never installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::step;

/// One kernel that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// What it is called on the command line and in tables.
    pub name: &'static str,
    /// The suite of Debian that carries it.
    suite: &'static str,
    /// How its version starts; the newest moves.
    version: &'static str,
}

/// All of them, oldest first: what long-term runners have, and what they will have.
pub const ALL: &[Series] = &[
    Series { name: "5.10", suite: "bullseye", version: "5.10." },
    Series { name: "6.1", suite: "bookworm", version: "6.1." },
    Series { name: "6.12", suite: "trixie", version: "6.12." },
    Series { name: "newest", suite: "sid", version: "" },
];

/// Names the cache's folder.
const CACHE: &str = "RUNNER_AGENT_KERNELS";
/// Names Debian's archive on machines that have another distribution.
const ARCHIVE: &str = "RUNNER_AGENT_DEBIAN_ARCHIVE";
/// The package that stands for each suite's newest kernel.
const LATEST: &str = "linux-image-cloud-amd64";
/// Debian's keys, where the package `debian-archive-keyring` puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel that lies unpacked.
#[derive(Clone)]
pub struct Kernel {
    /// Its full version.
    pub release: String,
    pub image: PathBuf,
    /// `lib/modules/RELEASE`.
    pub modules: PathBuf,
}

/// The series of that name.
pub fn series(name: &str) -> Result<Series> {
    let known = || ALL.iter().map(|series| series.name).collect::<Vec<_>>().join(", ");
    ALL.iter()
        .find(|series| series.name == name)
        .copied()
        .with_context(|| format!("no kernel {name}; there are {}", known()))
}

/// The kernel of that series: what the cache has, unless that is nothing or `refresh` asks for the newest.
pub fn get(series: Series, refresh: bool) -> Result<Kernel> {
    let folder = cache()?.join(series.name);
    let root = folder.join("root");
    if refresh || find(&root).is_err() {
        fetch(series, &folder).with_context(|| format!("fetching kernel {}", series.name))?;
    }
    find(&root)
}

fn cache() -> Result<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = "runner-agent/kernels";
    let path = named(CACHE)
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join(own)))
        .or_else(|| named("HOME").map(|home| home.join(".cache").join(own)))
        .with_context(|| format!("no folder for kernels: neither {CACHE} nor HOME is set"))?;
    Ok(std::path::absolute(path)?)
}

/// Looks through what was unpacked. Older packages have the kernel in `boot`, newer ones beside the modules.
fn find(root: &Path) -> Result<Kernel> {
    let below = ["lib/modules", "usr/lib/modules"].map(|place| root.join(place));
    let folders = below.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let modules = folders.map(|entry| entry.path()).find(|path| path.join("kernel").is_dir());
    let modules = modules.with_context(|| format!("no kernel modules in {}", root.display()))?;
    let release = modules.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let places =
        [root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz"), modules.join("vmlinuz.unsigned")];
    let image = places.into_iter().find(|path| path.is_file());
    let image = image.with_context(|| format!("no kernel image in {}", root.display()))?;
    Ok(Kernel { release, image, modules })
}

/// Lists, packages, and the unpacked tree, which is swapped in only when it is whole.
fn fetch(series: Series, folder: &Path) -> Result<()> {
    eprintln!("── fetching the newest kernel {} by package name", series.name);
    for name in ["lists/partial", "archives/partial", "packages"] {
        fs::create_dir_all(folder.join(name)).context("the kernels' cache")?;
    }
    let apt = Apt { folder };
    fs::write(folder.join("sources.list"), source(&archive()?, series.suite, Path::new(KEYRING).is_file()))?;
    step::output(apt.command("apt-get").arg("update"))?;
    let latest = depends(&step::output(apt.command("apt-cache").args(["depends", LATEST]))?, "linux-image-");
    let [image] = latest.as_slice() else { bail!("{LATEST} stands for {latest:?}, and not for one package") };
    if !image.trim_start_matches("linux-image-").starts_with(series.version) {
        bail!("{} has {image}, which is no {}", series.suite, series.version);
    }
    let packages = parts(image, &step::output(apt.command("apt-cache").args(["depends", image]))?);
    let new = folder.join("new");
    for stale in [&new, &folder.join("packages")] {
        let _ = fs::remove_dir_all(stale);
        fs::create_dir_all(stale)?;
    }
    let mut download = apt.command("apt-get");
    step::output(download.arg("download").args(&packages).current_dir(folder.join("packages")))?;
    for package in fs::read_dir(folder.join("packages"))? {
        step::output(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&new))?;
    }
    find(&new)?;
    let root = folder.join("root");
    let _ = fs::remove_dir_all(&root);
    fs::rename(&new, &root).context("the unpacked kernel")?;
    // Unpacked, they are needed no more; the lists are large and would be stale.
    for done in ["packages", "archives", "lists"] {
        let _ = fs::remove_dir_all(folder.join(done));
    }
    Ok(())
}

/// apt with lists, sources and cache of its own, so that the machine's package state stays as it is.
struct Apt<'a> {
    folder: &'a Path,
}

impl Apt<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.folder.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("")),
            "APT::Architecture=amd64".to_owned(),
            // Without this, root's downloads are made by a user that can't write to root's cache.
            "APT::Sandbox::User=root".to_owned(),
            // Nothing but the package lists is needed.
            "Acquire::Languages=none".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.arg("-q").stdin(Stdio::null()).env("LC_ALL", "C");
        command
    }
}

/// Where this machine takes Debian's packages from; a mirror of its own stays one.
fn archive() -> Result<String> {
    if let Ok(archive) = env::var(ARCHIVE) {
        return Ok(archive);
    }
    let format = "$(ORIGIN)|$(LABEL)|$(SITE)";
    let text =
        step::output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    archive_in(&text).with_context(|| format!("this machine has no Debian archive configured; {ARCHIVE} names one"))
}

/// The first whose origin and label are Debian's own: that of the security team has another label.
fn archive_in(targets: &str) -> Result<String> {
    targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian|Debian|"))
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("no package list is Debian's"))
}

fn source(archive: &str, suite: &str, with_keyring: bool) -> String {
    let options = if with_keyring { format!("[signed-by={KEYRING}] ") } else { String::new() };
    format!("deb {options}{archive} {suite} main\n")
}

/// Packages of that kind which `apt-cache depends` names as dependencies.
fn depends(text: &str, kind: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.filter(|name| name.starts_with(kind)).map(str::to_owned).collect()
}

/// What holds the kernel and its modules: the image's package, or those that it depends on where they were split off.
fn parts(image: &str, depends_of_image: &str) -> Vec<String> {
    let mut parts = depends(depends_of_image, "linux-binary-");
    parts.extend(depends(depends_of_image, "linux-modules-"));
    if parts.is_empty() {
        parts.push(image.to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_what_the_suites_own_package_stands_for() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  Depends: linux-image-7.2.13-cloud\n";
        assert_eq!(depends(text, "linux-image-"), ["linux-image-7.2.13-cloud"]);
    }

    #[test]
    fn a_kernel_is_one_package_or_two() {
        assert_eq!(
            parts("linux-image-6.1", "linux-image-6.1\n  Depends: kmod\n |Depends: dracut\n"),
            ["linux-image-6.1"]
        );
        let split =
            "linux-image-7.2\n  PreDepends: linux-base\n  Depends: linux-binary-7.2\n  Depends: linux-modules-7.2\n";
        assert_eq!(parts("linux-image-7.2", split), ["linux-binary-7.2", "linux-modules-7.2"]);
    }

    #[test]
    fn the_archive_is_debians_own_and_not_its_security_teams() {
        let targets =
            "Debian|Debian-Security|http://mirror.example/security\nDebian|Debian|http://mirror.example/main\n";
        assert_eq!(archive_in(targets).unwrap(), "http://mirror.example/main");
        assert!(archive_in("Other|Debian|http://mirror.example/other\n").is_err());
        assert_eq!(source("http://mirror.example/main", "sid", false), "deb http://mirror.example/main sid main\n");
    }

    #[test]
    fn kernels_go_by_short_names() {
        assert_eq!(series("6.1").unwrap().suite, "bookworm");
        assert!(series("6.2").is_err());
    }
}
