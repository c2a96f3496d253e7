//! A guest's first file system: this program as init, the plan, modules, and the files that the commands use.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::kernels::Kernel;
use super::plan::{self, Plan};
use super::{foreign, modules, unpacked, userland};
use crate::target::Target;

/// What goes in beside what every guest has.
pub struct Contents {
    /// This program, for the guest's processors.
    pub init: PathBuf,
    /// Programs that were built here, under the paths they have here.
    pub built: Vec<PathBuf>,
    /// Other programs and files of this machine.
    pub files: Vec<PathBuf>,
    /// What was unpacked: paths in the guest, below `/`, and here.
    pub unpacked: Vec<(PathBuf, PathBuf)>,
    /// Modules beside those of every guest.
    pub modules: Vec<String>,
    /// Whether it has a disk.
    pub has_disk: bool,
}

/// Writes the archive for one kernel and plan; the plan's modules are filled in.
pub fn write(to: &Path, kernel: &Kernel, target: &'static Target, mut plan: Plan, contents: &Contents) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(to).context("a file for a guest's files")?));
    // The kernel opens its console before anything is mounted.
    archive.device(Path::new("/dev/console"), (5, 1))?;
    archive.device(Path::new("/dev/null"), (1, 3))?;
    archive.file(Path::new("/init"), 0o755, &userland::stripped(&contents.init)?)?;
    for program in &contents.built {
        archive.file(program, 0o755, &userland::stripped(program)?)?;
    }
    if target.is_native() {
        userland::add_libraries(&mut archive, std::slice::from_ref(&contents.init))?;
        userland::add_libraries(&mut archive, &contents.built)?;
        userland::add_common(&mut archive)?;
        userland::add_programs(&mut archive, &contents.files)?;
    } else {
        // What was built is static.
        foreign::add_common(&mut archive, target)?;
        userland::add_files(&mut archive)?;
        for file in &contents.files {
            userland::add(&mut archive, file)?;
        }
    }
    for (path, file) in &contents.unpacked {
        unpacked::add(&mut archive, &Path::new("/").join(path), file)?;
    }
    archive.file(Path::new("/etc/hosts"), 0o644, b"127.0.0.1 localhost\n::1 localhost\n")?;
    archive.file(Path::new("/etc/hostname"), 0o644, b"guest\n")?;
    archive.file(Path::new("/etc/resolv.conf"), 0o644, b"nameserver 127.0.0.1\n")?;
    for folder in ["/root", "/home", "/proc", "/sys", "/sbin", "/tmp", "/run", "/var/lib", "/var/tmp", "/new-root"] {
        archive.directory(Path::new(folder))?;
    }
    let mut wanted = modules::WANTED.to_vec();
    wanted.extend(contents.modules.iter().map(String::as_str));
    if contents.has_disk {
        wanted.extend(modules::DISK);
    }
    for module in modules::with_dependencies(&kernel.modules, &wanted)? {
        let path = format!("/modules/{}.ko", module.name);
        archive.file(Path::new(&path), 0o644, &module.image)?;
        plan.modules.push(path);
    }
    archive.file(Path::new(plan::PLACE), 0o644, &plan.to_json())?;
    archive.finish()?;
    Ok(())
}

/// Regular files among a command's words, which the guest then has too; of programs only those that it can run.
pub fn named_files(words: &[String], target: &Target) -> Vec<PathBuf> {
    words
        .iter()
        .enumerate()
        .filter_map(|(place, word)| match place {
            0 if target.is_native() => userland::find(word),
            _ => Some(PathBuf::from(word)),
        })
        .filter(|path| path.is_absolute() && fs::metadata(path).is_ok_and(|metadata| metadata.is_file()))
        .collect()
}
