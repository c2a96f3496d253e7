//! Where lines come from: a file, a growing file, or a stream such as standard input.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// How long a stream may be silent before what is held back is shown, nanoseconds.
const SILENCE_NS: i64 = 200_000_000;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Bytes, and perhaps more behind them.
    Bytes,
    /// Nothing now; the next read waits.
    Later,
    /// Nothing for a while.
    Silence,
    /// The file is shorter than what was read of it: somebody wrote a new log over it.
    FromTheStart,
    /// Nothing will come any more.
    Never,
}

/// A log that is being read.
pub(super) struct Source {
    file: File,
    name: PathBuf,
    /// Tells when a followed file changes; streams wait by themselves.
    changes: Option<OwnedFd>,
    is_stream: bool,
    position: u64,
    /// The last read found the end of a followed file: wait before the next.
    is_at_end: bool,
}

impl Source {
    pub(super) fn open(path: &Path, follow: bool) -> anyhow::Result<Self> {
        let (file, name) = if path == Path::new("-") {
            let stdin = io::stdin().as_fd().try_clone_to_owned().context("can't read standard input")?;
            (File::from(stdin), PathBuf::from("standard input"))
        } else {
            let file = File::open(path).with_context(|| format!("can't read the log {}", path.display()))?;
            (file, path.to_owned())
        };
        let kind = file.metadata().with_context(|| format!("can't read the log {}", name.display()))?.file_type();
        if kind.is_dir() {
            anyhow::bail!("{} is a directory; an event log is the file that `run --log FILE` writes", name.display());
        }
        let is_stream = !kind.is_file();
        let changes = if follow && !is_stream {
            Some(watch(&file).with_context(|| format!("can't wait for {} to grow", name.display()))?)
        } else {
            None
        };
        Ok(Self { file, name, changes, is_stream, position: 0, is_at_end: false })
    }

    /// Appends what there is to `bytes`. Waits when the last call said [`More::Later`], and a stream waits too; not for
    /// long while its caller holds something back.
    pub(super) fn read(&mut self, bytes: &mut Vec<u8>, caller_holds: bool) -> anyhow::Result<More> {
        let failed = || format!("can't read the log {}", self.name.display());
        let waits_on = match &self.changes {
            Some(changes) if self.is_at_end => Some(changes.as_fd()),
            None if self.is_stream => Some(self.file.as_fd()),
            _ => None,
        };
        if let (true, Some(waits_on)) = (caller_holds, waits_on)
            && !is_readable_soon(waits_on).with_context(failed)?
        {
            return Ok(More::Silence);
        }
        if let (true, Some(changes)) = (self.is_at_end, &self.changes) {
            wait_for_change(changes.as_fd()).with_context(failed)?;
            let len = self.file.metadata().with_context(failed)?.len();
            if len < self.position {
                self.file.rewind().with_context(failed)?;
                (self.position, self.is_at_end) = (0, false);
                return Ok(More::FromTheStart);
            }
        }
        let start = bytes.len();
        bytes.resize(start + CHUNK, 0);
        let read = loop {
            match self.file.read(&mut bytes[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        bytes.truncate(start + *read.as_ref().unwrap_or(&0));
        let read = read.with_context(failed)?;
        self.position += read as u64;
        self.is_at_end = read == 0;
        Ok(match (read, &self.changes) {
            (0, None) => More::Never,
            (0, Some(_)) => More::Later,
            _ => More::Bytes,
        })
    }
}

/// Asks to be told when the file changes. By its descriptor, so that it is this file and not one that took its name.
fn watch(file: &File) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY)?;
    Ok(changes)
}

/// Waits until the file has changed. What changed while nobody waited is still there to be read.
fn wait_for_change(changes: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(changes, &mut space);
    loop {
        match reader.next() {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The rest of the batch says the same.
    while !reader.is_buffer_empty() {
        reader.next()?;
    }
    Ok(())
}

fn is_readable_soon(stream: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(stream, PollFlags::IN)];
    match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: SILENCE_NS })) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read_all(source: &mut Source) -> (Vec<u8>, More) {
        let mut bytes = Vec::new();
        loop {
            match source.read(&mut bytes, false).unwrap() {
                More::Bytes => {}
                more => return (bytes, more),
            }
        }
    }

    #[test]
    fn a_followed_file_gives_what_is_there_then_what_comes_then_a_new_one() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"first\n").unwrap();
        let mut source = Source::open(file.path(), true).unwrap();
        assert_eq!(read_all(&mut source), (b"first\n".to_vec(), More::Later));
        let mut writer = file.reopen().unwrap();
        writer.seek(io::SeekFrom::End(0)).unwrap();
        writer.write_all(b"second\n").unwrap();
        assert_eq!(read_all(&mut source), (b"second\n".to_vec(), More::Later));
        std::fs::write(file.path(), "new\n").unwrap();
        assert_eq!(read_all(&mut source).1, More::FromTheStart);
        assert_eq!(read_all(&mut source).0, b"new\n");
    }

    #[test]
    fn a_file_that_is_not_followed_ends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(read_all(&mut Source::open(file.path(), false).unwrap()), (Vec::new(), More::Never));
    }

    #[test]
    fn what_is_no_log_is_refused_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let error = |path: &Path| format!("{:#}", Source::open(path, false).err().unwrap());
        assert!(error(directory.path()).contains("is a directory"));
        assert!(error(&directory.path().join("absent")).contains("absent: No such file"));
    }
}
