//! What the agent stands on, looked at from time to time: where no hook is before a rename or a mount, its own eyes are what
//! tells of it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often.
const LOOK: Duration = Duration::from_secs(2);

/// Which file stands under a name, and whose it is. What nobody but the agent may change has its time of change too, which
/// nothing is done to a file without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    mode: u32,
    owner: u32,
    changed: Option<(i64, i64)>,
}

impl Mark {
    fn of(file: &Metadata, is_steady: bool) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            mode: file.mode(),
            owner: file.uid(),
            changed: is_steady.then(|| (file.ctime(), file.ctime_nsec())),
        }
    }
}

/// A file as it was left.
#[derive(Debug)]
struct Left {
    what: &'static str,
    path: PathBuf,
    mark: Mark,
    /// Of one that only grows, how it was.
    grown: Option<Grown>,
}

/// How a file was that only grows. Its writer goes on where it was, so that one that was cut soon has its length again, and
/// zeros where its end was.
#[derive(Debug, Default)]
struct Grown {
    len: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// Bytes of a file's beginning and end that are remembered.
const PIECE: u64 = 64;

impl Grown {
    fn of(path: &Path, len: u64) -> Self {
        Self { len, head: piece(path, 0), tail: piece(path, len.saturating_sub(PIECE)) }
    }

    /// Whether the file is what it was, with more at its end.
    fn is_still(&self, path: &Path, len: u64) -> bool {
        let Self { len: before, head, tail } = self;
        len >= *before
            && piece(path, 0).starts_with(head)
            && piece(path, before.saturating_sub(PIECE)).starts_with(tail)
    }
}

/// Bytes of a file from there on, as far as it goes; none of one that can't be read.
fn piece(path: &Path, from: u64) -> Vec<u8> {
    let read = || {
        let mut file = fs::File::open(path)?;
        file.seek(io::SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(PIECE).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    read().unwrap_or_default()
}

impl Left {
    fn look(&mut self) -> Result<(), String> {
        let Self { what, path, mark, grown } = self;
        let at = path.display();
        let file = match fs::metadata(&*path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(format!("{what} {at} is gone")),
            Err(error) => return Err(format!("{what} {at} can't be looked at: {error}")),
        };
        let now = Mark::of(&file, grown.is_none());
        if (now.device, now.inode) != (mark.device, mark.inode) {
            return Err(format!("another file stands where {what} {at} was"));
        }
        if (now.mode, now.owner) != (mark.mode, mark.owner) {
            return Err(format!("{what} {at} has other rights"));
        }
        if now.changed != mark.changed {
            return Err(format!("{what} {at} was changed"));
        }
        if let Some(grown) = grown {
            if !grown.is_still(path, file.len()) {
                return Err(format!("{what} {at} was cut or written over"));
            }
            *grown = Grown::of(path, file.len());
        }
        Ok(())
    }
}

/// A folder in which nobody but agents makes anything.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Names that are theirs, and those that were told.
    known: BTreeSet<OsString>,
}

impl Folder {
    fn look(&mut self, found: &mut Vec<String>) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if self.known.insert(entry.file_name()) {
                found.push(format!("{} was put where the agent alone has files", entry.path().display()));
            }
        }
    }
}

/// Everything that is looked at.
#[derive(Debug, Default)]
pub(super) struct Stand {
    files: Vec<Left>,
    folder: Option<Folder>,
    next: Option<Instant>,
}

impl Stand {
    /// As it is now: files that nobody changes, with what each is, and the log, which grows. What isn't there isn't looked at.
    pub(super) fn of<'a>(steady: impl IntoIterator<Item = (&'static str, &'a Path)>, log: Option<&Path>) -> Self {
        let steady = steady.into_iter().map(|(what, path)| (what, path, true));
        let all = steady.chain(log.map(|log| ("the log", log, false)));
        let files = all.filter_map(|(what, path, is_steady)| {
            let file = fs::metadata(path).ok().filter(Metadata::is_file)?;
            let grown = (!is_steady).then(|| Grown::of(path, file.len()));
            Some(Left { what, path: path.to_owned(), mark: Mark::of(&file, is_steady), grown })
        });
        Self { files: files.collect(), folder: None, next: None }
    }

    /// And a folder of the agent's alone, with all names that agents use there.
    pub(super) fn with_folder(self, path: &Path, names: &[&str]) -> Self {
        let known = names.iter().map(OsString::from).collect();
        Self { folder: Some(Folder { path: path.to_owned(), known }), ..self }
    }

    /// The agent itself has written these anew.
    pub(super) fn renew(&mut self, paths: &[PathBuf]) {
        for left in self.files.iter_mut().filter(|left| paths.contains(&left.path)) {
            if let Ok(file) = fs::metadata(&left.path) {
                left.mark = Mark::of(&file, left.grown.is_none());
            }
        }
    }

    /// What is found wrong when it is time to look; each once.
    pub(super) fn look_after(&mut self) -> Vec<String> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return Vec::new();
        }
        self.next = Some(now + LOOK);
        self.look()
    }

    /// What is found wrong now; each once.
    pub(super) fn look(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        self.files.retain_mut(|left| left.look().map_err(|what| found.push(what)).is_ok());
        if let Some(folder) = &mut self.folder {
            folder.look(&mut found);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_cut_and_has_grown_again_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let line = |number: u32| format!("{number:0>100}\n");
        fs::write(&path, (0..10).map(line).collect::<String>()).unwrap();
        let mut stand = Stand::of([], Some(&path));
        assert_eq!(stand.look(), Vec::<String>::new());
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        // Its first lines stay, and its writer goes on where it was.
        file.set_len(500).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, line(10).as_bytes(), 1010).unwrap();
        assert_eq!(stand.look().len(), 1);
    }

    #[test]
    fn whatever_is_done_to_a_file_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "text").unwrap();
            path
        };
        let [removed, replaced, written, kept, cut] = ["removed", "replaced", "written", "kept", "cut"].map(at);
        let steady = [&removed, &replaced, &written, &kept].map(|path| ("the file", path.as_path()));
        let mut stand = Stand::of(steady, Some(&cut));
        assert_eq!(stand.look(), Vec::<String>::new());
        fs::remove_file(&removed).unwrap();
        fs::write(folder.path().join("new"), "text").unwrap();
        fs::rename(folder.path().join("new"), &replaced).unwrap();
        fs::set_permissions(&written, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&cut, "").unwrap();
        assert_eq!(stand.look().len(), 4);
        assert_eq!(stand.look(), Vec::<String>::new());
    }

    #[test]
    fn what_is_put_into_a_folder_of_the_agents_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut stand = Stand::default().with_folder(folder.path(), &["lock"]);
        fs::write(folder.path().join("lock"), "").unwrap();
        assert_eq!(stand.look(), Vec::<String>::new());
        fs::create_dir(folder.path().join("stray")).unwrap();
        assert_eq!((stand.look().len(), stand.look().len()), (1, 0));
    }

    #[test]
    fn what_the_agent_wrote_anew_is_nobody_elses_doing() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let replace = |path: &Path| {
            fs::write(folder.path().join("new"), "text").unwrap();
            fs::rename(folder.path().join("new"), path).unwrap();
        };
        for path in [&ours, &theirs] {
            fs::write(path, "").unwrap();
        }
        let mut stand = Stand::of([("the file", ours.as_path()), ("the file", theirs.as_path())], None);
        replace(&ours);
        replace(&theirs);
        stand.renew(std::slice::from_ref(&ours));
        assert_eq!(stand.look(), [format!("another file stands where the file {} was", theirs.display())]);
    }

    #[test]
    fn a_log_may_grow() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "one").unwrap();
        let mut stand = Stand::of([], Some(&log));
        fs::write(&log, "one two").unwrap();
        assert_eq!(stand.look(), Vec::<String>::new());
        fs::write(&log, "one").unwrap();
        assert_eq!(stand.look().len(), 1);
    }

    #[test]
    fn a_log_that_was_cut_and_has_its_length_again_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "one").unwrap();
        let mut stand = Stand::of([], Some(&log));
        fs::write(&log, "\0\0\0two").unwrap();
        assert_eq!(stand.look().len(), 1);
    }
}
