//! What the kernel starts by itself, outside of any job and as root, and what these programs read: whoever can write it has the
//! kernel run what he likes.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use runner_agent_common::guard::{guarded, name_key};
use runner_agent_common::map::{FileKey, hash_name, part};

use crate::kernel::watch::any_key;

/// Programs that stand in the kernel's sources, and not in a setting.
const PROGRAMS: [&str; 6] = [
    "/sbin/request-key",
    "/sbin/bridge-stp",
    "/sbin/nfs_cache_getent",
    "/sbin/nfsdcltrack",
    "/sbin/ocfs2_hb_ctl",
    "/sbin/drbdadm",
];

/// What these and modprobe(8) read, and what every program does.
const READ: [&str; 9] = [
    "/etc/modprobe.conf",
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
    "/etc/request-key.conf",
    "/etc/request-key.d",
    "/etc/ld.so.preload",
];

/// Settings that name a program, and what stands before it.
const NAMED: [(&str, &str); 3] =
    [("/proc/sys/kernel/modprobe", ""), ("/proc/sys/kernel/core_pattern", "|"), ("/sys/kernel/uevent_helper", "")];

/// Symbolic links on one way; the kernel follows as many.
const MOST_LINKS: usize = 40;

/// Files in one folder that are known by identity too. More are known by their folder alone.
const MOST_FILES: usize = 256;

/// All of it, with the bits that guard it; also what isn't there yet, by its name.
pub(super) fn by_kernel() -> Vec<(FileKey, u32)> {
    let mut ways = Ways::default();
    for path in PROGRAMS.into_iter().chain(READ) {
        ways.follow(Path::new(path));
    }
    for (setting, before) in NAMED {
        if let Some(program) = program_in(&fs::read_to_string(setting).unwrap_or_default(), before) {
            ways.follow(Path::new(program));
        }
    }
    ways.found.into_iter().collect()
}

/// The program that a setting names: the first word of a command.
fn program_in<'a>(setting: &'a str, before: &str) -> Option<&'a str> {
    let program = setting.strip_prefix(before)?.split_whitespace().next()?;
    program.starts_with('/').then_some(program)
}

/// Paths and where they lead.
#[derive(Default)]
struct Ways {
    found: HashMap<FileKey, u32>,
    /// Asking for a key reads the table of mounts.
    keys: HashMap<PathBuf, Option<FileKey>>,
}

impl Ways {
    /// Guards what stands at the end of a path, each link that leads there, and each name on the way: what is made under one of them
    /// later would be what the kernel finds.
    fn follow(&mut self, path: &Path) {
        let mut at = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = names(path);
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let Some(folder) = self.key(&at) else { return };
            self.guard(folder, guarded::LEADS);
            self.guard(name_key(folder, hash_name(part::NAME, name.as_bytes())), guarded::STARTED);
            let next = at.join(&name);
            match fs::symlink_metadata(&next) {
                Ok(link) if link.is_symlink() => {
                    // A link lies on the file system of its folder.
                    self.guard(FileKey { inode: link.ino(), ..folder }, guarded::STARTED);
                    links += 1;
                    let Some(target) = fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS) else { return };
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        rest.push_front(name);
                    }
                }
                Ok(_) => at = next,
                Err(_) => return,
            }
        }
        let Some(end) = self.key(&at) else { return };
        let was_known = self.found.get(&end).is_some_and(|bits| bits & guarded::STARTED != 0);
        self.guard(end, guarded::STARTED);
        if !was_known && at.is_dir() {
            // By whatever other name they can be written.
            let entries = fs::read_dir(&at).into_iter().flatten().flatten().map(|entry| entry.path());
            entries.filter(|path| !path.is_dir()).take(MOST_FILES).for_each(|path| self.follow(&path));
        }
    }

    fn guard(&mut self, key: FileKey, bits: u32) {
        *self.found.entry(key).or_default() |= bits;
    }

    fn key(&mut self, path: &Path) -> Option<FileKey> {
        if let Some(known) = self.keys.get(path) {
            return *known;
        }
        let key = any_key(path);
        self.keys.insert(path.to_owned(), key);
        key
    }
}

/// The names of a path, with `..` for a step back.
fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_and_folder_on_the_way_is_guarded_as_is_the_program_at_its_end() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().canonicalize().unwrap().join(path);
        fs::create_dir_all(at("usr/sbin")).unwrap();
        fs::create_dir(at("usr/bin")).unwrap();
        fs::write(at("usr/bin/kmod"), "").unwrap();
        symlink("usr/sbin", at("sbin")).unwrap();
        symlink("../bin/kmod", at("usr/sbin/modprobe")).unwrap();
        let mut ways = Ways::default();
        ways.follow(&at("sbin/modprobe"));
        let bits = |path: &str| ways.found.get(&any_key(&at(path)).unwrap()).copied().unwrap_or_default();
        assert_eq!(bits("usr/bin/kmod"), guarded::STARTED);
        assert_eq!([bits("usr/sbin"), bits("usr/bin"), bits("usr")], [guarded::LEADS; 3]);
        for link in ["sbin", "usr/sbin/modprobe"] {
            let folder = any_key(at(link).parent().unwrap()).unwrap();
            let inode = fs::symlink_metadata(at(link)).unwrap().ino();
            assert_eq!(ways.found.get(&FileKey { inode, ..folder }), Some(&guarded::STARTED), "{link}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_guarded_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let mut ways = Ways::default();
        ways.follow(&root.join("modprobe.d/any.conf"));
        let folder = any_key(&root).unwrap();
        let name = |name: &str| ways.found.get(&name_key(folder, hash_name(part::NAME, name.as_bytes())));
        assert_eq!((name("modprobe.d"), name("any.conf")), (Some(&guarded::STARTED), None));
    }

    #[test]
    fn a_folder_is_guarded_with_what_lies_in_it_and_links_in_a_ring_have_an_end() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().canonicalize().unwrap().join(path);
        fs::create_dir(at("modprobe.d")).unwrap();
        fs::write(at("modprobe.d/one.conf"), "").unwrap();
        symlink("ring", at("modprobe.d/ring")).unwrap();
        symlink("..", at("modprobe.d/above")).unwrap();
        let mut ways = Ways::default();
        ways.follow(&at("modprobe.d"));
        let bits = |path: &str| ways.found.get(&any_key(&at(path)).unwrap()).copied().unwrap_or_default();
        assert_eq!(bits("modprobe.d/one.conf") & guarded::STARTED, guarded::STARTED);
        assert_eq!(bits("modprobe.d") & guarded::STARTED, guarded::STARTED);
        assert_eq!(bits("") & guarded::STARTED, 0, "a folder that a link in it leads to isn't read");
    }

    #[test]
    fn a_setting_names_a_program_only_by_its_path() {
        assert_eq!(program_in("|/usr/share/apport/apport -p%p\n", "|"), Some("/usr/share/apport/apport"));
        assert_eq!(program_in("/sbin/modprobe\n", ""), Some("/sbin/modprobe"));
        assert_eq!([program_in("/var/crash/core\n", "|"), program_in("core\n", ""), program_in("\n", "")], [None; 3]);
    }
}
