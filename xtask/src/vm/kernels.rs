//! The kernels that guests boot: Debian's, fetched by package name and unpacked into the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::archive::{Apt, cache};
use crate::step;
use crate::target::Target;

/// One kernel that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// What it is called on the command line and in tables.
    pub name: &'static str,
    /// The suite of Debian that carries it.
    suite: &'static str,
    /// How its version starts; the newest moves.
    version: &'static str,
    /// What stands between `linux-image-` and the architecture in the name of its package.
    flavour: &'static str,
}

/// All of them, oldest first: what long-term runners have, and what they will have.
pub const ALL: &[Series] = &[
    Series { name: "5.10", suite: "bullseye", version: "5.10.", flavour: CLOUD },
    Series { name: "6.1", suite: "bookworm", version: "6.1.", flavour: CLOUD },
    Series { name: "6.12", suite: "trixie", version: "6.12.", flavour: CLOUD },
    Series { name: "newest", suite: "sid", version: "", flavour: CLOUD },
];

/// Without what no virtual machine has: small, and soon fetched.
const CLOUD: &str = "cloud-";

/// Those for what the cloud kernels are built without (x32), if they are named.
const OTHERS: &[Series] = &[Series { name: "6.12-generic", suite: "trixie", version: "6.12.", flavour: "" }];

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
    let all = || ALL.iter().chain(OTHERS);
    let known = || all().map(|series| series.name).collect::<Vec<_>>().join(", ");
    all()
        .find(|series| series.name == name)
        .copied()
        .with_context(|| format!("no kernel {name}; there are {}", known()))
}

/// The kernel of that series for an architecture: what the cache has, unless that is nothing or `refresh` asks for the newest.
pub fn get(series: Series, target: &'static Target, refresh: bool) -> Result<Kernel> {
    let name = name(series, target);
    let folder = cache()?.join(name.replace(' ', "-"));
    let root = folder.join("root");
    if refresh || find(&root).is_err() {
        fetch(series, target, &folder).with_context(|| format!("fetching kernel {name}"))?;
    }
    find(&root)
}

/// What it is called: of another architecture with that.
pub fn name(series: Series, target: &Target) -> String {
    if target.is_native() { series.name.to_owned() } else { format!("{} {}", series.name, target.debian) }
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

/// The packages of the series' newest kernel, unpacked.
fn fetch(series: Series, target: &'static Target, folder: &Path) -> Result<()> {
    // The package that stands for each suite's newest kernel.
    let latest = format!("linux-image-{}{}", series.flavour, target.debian);
    let apt = Apt::of(folder, series.suite, target)?;
    let stands_for = depends(&step::output(apt.command("apt-cache").args(["depends", &latest]))?, "linux-image-");
    let [image] = stands_for.as_slice() else { bail!("{latest} stands for {stands_for:?}, and not for one package") };
    if !image.trim_start_matches("linux-image-").starts_with(series.version) {
        bail!("{} has {image}, which is no {}", series.suite, series.version);
    }
    let packages = parts(image, &step::output(apt.command("apt-cache").args(["depends", image]))?);
    apt.unpack(&packages, |root| find(root).map(drop))
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
    fn kernels_go_by_short_names() {
        assert_eq!(series("6.1").unwrap().suite, "bookworm");
        assert_eq!(series("6.12-generic").unwrap().flavour, "");
        assert!(series("6.2").is_err());
    }
}
