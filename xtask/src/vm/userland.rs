//! The guest's files: programs of this machine with the libraries they are linked to, under the paths they have here.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::cpio::Archive;
use crate::step;

/// What the tests run, by name; one that this machine lacks is left out, and the test that uses it says so.
pub const PROGRAMS: &[&str] = &[
    "base64",
    "basename",
    "bash",
    "cat",
    "chmod",
    "chown",
    "chroot",
    "cp",
    "curl",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "dmesg",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "flock",
    "getent",
    "grep",
    "gzip",
    "head",
    "hostname",
    "id",
    "ip",
    "kill",
    "ln",
    "losetup",
    "ls",
    "lsmod",
    "lsns",
    "mkdir",
    "mkfifo",
    "mkfs.ext4",
    "mknod",
    "mkswap",
    "mktemp",
    "mount",
    "mv",
    "nohup",
    "nproc",
    "nsenter",
    "od",
    "perl",
    "ping",
    "printf",
    "prlimit",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setpriv",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "ss",
    "stat",
    "strace",
    "stty",
    "sudo",
    "swapoff",
    "swapon",
    "sysctl",
    "tail",
    "tar",
    "taskset",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "umount",
    "uname",
    "uniq",
    "unshare",
    "wc",
    "which",
    "xargs",
];

/// Where the dynamic linker looks up libraries.
const LIBRARIES: &str = "/etc/ld.so.cache";

/// Files that programs read to know users and hosts.
const FILES: &[&str] = &[
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/os-release",
    "/usr/share/iproute2/rt_scopes",
    "/etc/iproute2/rt_scopes",
];

/// Adds a file of this machine under its own path, and under each symbolic link that leads to it.
pub fn add<W: Write>(archive: &mut Archive<W>, path: &Path) -> Result<()> {
    let mut so_far = PathBuf::from("/");
    let mut rest = path.components();
    while let Some(component) = rest.next() {
        match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir => {
                so_far.pop();
                continue;
            }
            Component::Normal(name) => so_far.push(name),
        }
        let metadata = fs::symlink_metadata(&so_far).with_context(|| format!("{}", so_far.display()))?;
        if metadata.is_symlink() {
            let target = fs::read_link(&so_far)?;
            archive.symlink(&so_far, &target)?;
            so_far.pop();
            return add(archive, &so_far.join(target).join(rest.as_path()));
        }
        if metadata.is_dir() {
            archive.directory(&so_far)?;
        } else if !archive.has(&so_far) {
            let content = fs::read(&so_far).with_context(|| format!("{}", so_far.display()))?;
            archive.file(&so_far, metadata.permissions().mode(), &content)?;
        }
    }
    Ok(())
}

/// Adds programs and the libraries they are linked to.
pub fn add_programs<W: Write>(archive: &mut Archive<W>, programs: &[PathBuf]) -> Result<()> {
    for program in programs {
        add(archive, program)?;
    }
    add_libraries(archive, programs)
}

/// Adds the libraries alone.
pub fn add_libraries<W: Write>(archive: &mut Archive<W>, programs: &[PathBuf]) -> Result<()> {
    for library in libraries(programs)? {
        add(archive, &library)?;
    }
    Ok(())
}

/// Adds what every guest has.
pub fn add_common<W: Write>(archive: &mut Archive<W>) -> Result<()> {
    let programs: Vec<PathBuf> = PROGRAMS.iter().filter_map(|name| find(name)).collect();
    add_programs(archive, &programs)?;
    let cache = Path::new(LIBRARIES);
    if cache.exists() {
        add(archive, cache)?;
    }
    add_files(archive)
}

/// Adds the text that programs of any architecture read.
pub fn add_files<W: Write>(archive: &mut Archive<W>) -> Result<()> {
    for path in FILES.iter().map(Path::new).filter(|path| path.exists()) {
        add(archive, path)?;
    }
    Ok(())
}

/// A program by its name: where the distribution puts it, because what lies before that on this machine's path may be
/// a script that starts it. A name with a slash is a path.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return std::path::absolute(name).ok().filter(|path| path.is_file());
    }
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// What `ldd` says the programs are linked to, the dynamic linker included; static ones and scripts to nothing.
fn libraries(programs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    // It ends with a failure when one of them is not dynamic, and still prints the others.
    let output =
        Command::new("ldd").args(programs).output().context("ldd is missing, which comes with the C library")?;
    let text = String::from_utf8(output.stdout).map_err(|_| anyhow!("ldd names libraries that are not text"))?;
    Ok(parse_ldd(&text))
}

/// Lines like `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; others name programs.
fn parse_ldd(text: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = text
        .lines()
        .filter(|line| line.starts_with('\t'))
        .filter_map(|line| line.trim().rsplit_once(" (0x"))
        .map(|(line, _)| line.split_once(" => ").map_or(line, |(_, path)| path))
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The bytes of a program that was built here, without the debugging sections: they are most of it, and a guest has to
/// hold them in memory twice while it unpacks them.
pub fn stripped(program: &Path) -> Result<Vec<u8>> {
    let to = tempfile::NamedTempFile::new().context("a file for a stripped program")?;
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(to.path()).arg(program);
    match step::output(&mut strip) {
        Ok(_) => fs::read(to.path()).context("a stripped program"),
        // Without strip it is only larger.
        Err(_) => fs::read(program).with_context(|| format!("{}", program.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_once_and_what_has_no_file_is_left_out() {
        let text = "/usr/bin/bash:\n\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f01)\n\
                    \t/lib64/ld-linux.so.2 (0x00007f02)\n/usr/bin/x:\n\tstatically linked\n/usr/bin/y:\n\
                    \tlibc.so.6 => /lib/libc.so.6 (0x00007f03)\n";
        assert_eq!(parse_ldd(text), [PathBuf::from("/lib/libc.so.6"), "/lib64/ld-linux.so.2".into()]);
    }

    #[test]
    fn a_program_is_found_by_name_and_by_path() {
        assert!(find("sh").is_some_and(|path| path.ends_with("bin/sh")));
        assert_eq!(find("/proc/self/exe"), Some("/proc/self/exe".into()));
        assert_eq!(find("no-program-of-this-name"), None);
    }

    #[test]
    fn a_file_comes_with_the_links_that_lead_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
        let mut archive = Archive::new(Vec::new());
        add(&mut archive, &folder.path().join("link/file")).unwrap();
        assert!(archive.has(&folder.path().join("link")) && archive.has(&real.join("file")));
        assert!(!archive.has(&folder.path().join("link/file")));
    }
}
