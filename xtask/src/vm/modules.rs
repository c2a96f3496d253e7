//! Kernel modules for a guest: which files, in which order. Read out of the modules themselves, because the package
//! leaves `modules.dep` to `depmod` on the machine where it is installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What the tests, the agent, and the guest itself use and these kernels have as modules. One that a kernel has built
/// in, or does not have, is left out.
pub const WANTED: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "overlay",
    "veth",
    "bridge",
    "br_netfilter",
    "tun",
    "macvtap",
    "sctp",
    "vsock",
    "vsock_loopback",
    "loop",
    "binfmt_misc",
];

/// What a guest with a disk needs besides.
pub const DISK: &[&str] = &["virtio_blk", "ext4"];

/// A module as a guest loads it.
pub struct Module {
    pub name: String,
    pub image: Vec<u8>,
}

/// The wanted modules below this folder (`lib/modules/VERSION`) with all they depend on, in the order of loading.
pub fn with_dependencies(folder: &Path, wanted: &[&str]) -> Result<Vec<Module>> {
    let files = files(folder)?;
    let mut loaded = Vec::new();
    for name in wanted {
        close(name, &mut loaded, &mut |name| files.get(name).map(|path| read(path)).transpose())?;
    }
    Ok(loaded)
}

/// Appends a module after what it depends on, unless it is there; what has no file is built in.
fn close(
    name: &str,
    loaded: &mut Vec<Module>,
    image_of: &mut dyn FnMut(&str) -> Result<Option<Vec<u8>>>,
) -> Result<()> {
    if loaded.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(image) = image_of(name)? else { return Ok(()) };
    for dependency in depends(&image) {
        close(&dependency, loaded, image_of)?;
    }
    loaded.push(Module { name: name.to_owned(), image });
    Ok(())
}

/// The `depends=` line of a module's `.modinfo` section: NUL-terminated text that stands nowhere else in this form.
fn depends(image: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = image.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = image[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(normal).collect()
}

/// Module names know no dash; file names do.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Each module's file by the module's name.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.join("kernel")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("modules in {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some((name, _)) = path.file_name().and_then(|name| name.to_str()?.split_once(".ko")) {
                found.insert(normal(name), path);
            }
        }
    }
    Ok(found)
}

/// A module without its compression, which not every kernel can take off by itself.
fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => fs::read(path).with_context(|| format!("{name}")),
        Some("xz") => {
            let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output();
            let output = output.context("xz is missing, which unpacks kernel modules")?;
            if !output.status.success() {
                bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(output.stdout)
        }
        _ => bail!("{name}: modules are expected plain or compressed by xz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(depends: &str) -> Vec<u8> {
        format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0").into_bytes()
    }

    #[test]
    fn a_module_comes_after_what_it_depends_on_and_once() {
        let mut image_of = |name: &str| {
            Ok(match name {
                "bridge" => Some(image("stp,llc")),
                "stp" => Some(image("llc")),
                "llc" => Some(image("")),
                "br_netfilter" => Some(image("bridge")),
                _ => None,
            })
        };
        let mut loaded = Vec::new();
        for name in ["br_netfilter", "bridge", "built_in"] {
            close(name, &mut loaded, &mut image_of).unwrap();
        }
        let names: Vec<&str> = loaded.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["llc", "stp", "bridge", "br_netfilter"]);
    }

    #[test]
    fn names_of_files_and_modules_differ_in_dashes() {
        assert_eq!(depends(&image("virtio-rng,crc16")), ["virtio_rng", "crc16"]);
        assert!(depends(&image("")).is_empty());
        assert!(depends(b"no such section").is_empty());
    }
}
