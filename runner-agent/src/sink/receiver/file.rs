//! A file to which items are appended: for a collector that follows files.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Attempt, Parcel};

/// A file, opened with the first item and again when it was taken away.
pub struct Appended {
    path: PathBuf,
    file: Option<File>,
}

impl Appended {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    pub(super) fn send(&mut self, parcel: &Parcel) -> Attempt {
        match self.append(&parcel.body) {
            Ok(()) => Attempt::Delivered,
            Err(error) => {
                self.file = None;
                Attempt::Failed { why: error.to_string(), wait: None }
            }
        }
    }

    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|file| !is_at(file, &self.path)) {
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            place => place.insert(open(&self.path)?),
        };
        // One write: another agent may append to it too.
        if body.ends_with(b"\n") { put(file, body) } else { put(file, &[body, b"\n"].concat()) }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_follow).open(path)
}

/// Whether a file is still what its path names: who rotates it has moved it away, and may have made another in its place at once.
fn is_at(file: &File, path: &Path) -> bool {
    let of = |there: std::fs::Metadata| (there.dev(), there.ino());
    file.metadata().is_ok_and(|open| path.symlink_metadata().is_ok_and(|named| of(open) == of(named)))
}

/// Appends all of it, or at least leaves no half line in front of the next try.
fn put(file: &mut File, body: &[u8]) -> io::Result<()> {
    let (mut left, mut pieces) = (body, 0);
    while !left.is_empty() {
        match file.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => (left, pieces) = (&left[more..], pieces + 1),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // Between two pieces there may be another agent's.
                match pieces {
                    0 => {}
                    1 => take_back(file, (body.len() - left.len()) as u64)?,
                    _ => file.write_all(b"\n")?,
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Takes back what was written last: the beginning of a line that a full disk cut. Where another agent has appended since, the cut line
/// is ended instead.
fn take_back(file: &mut File, written: u64) -> io::Result<()> {
    let end = file.stream_position()?;
    if file.metadata()?.len() == end { file.set_len(end - written) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parcel(body: &str) -> Parcel {
        Parcel { id: String::new(), body: body.into(), encoding: None, items: Vec::new(), ids: Vec::new() }
    }

    #[test]
    fn a_file_that_was_rotated_gets_nothing_more_whether_there_is_another_already_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut sink = Appended::new(&path("log"));
        let mut send = |body| assert_eq!(sink.send(&parcel(body)), Attempt::Delivered);
        send("1");
        fs::rename(path("log"), path("log.1")).unwrap();
        send("2");
        // As logrotate does with `create`.
        fs::rename(path("log"), path("log.2")).unwrap();
        fs::write(path("log"), "").unwrap();
        send("3");
        send("4\n");
        let texts = ["log.1", "log.2", "log"].map(|name| fs::read_to_string(path(name)).unwrap());
        assert_eq!(texts, ["1\n", "2\n", "3\n4\n"]);
    }

    #[test]
    fn a_line_that_was_cut_is_taken_back_or_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = open(&path).unwrap();
        file.write_all(b"whole\n{cut").unwrap();
        take_back(&mut file, 4).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
        file.write_all(b"{cut").unwrap();
        open(&path).unwrap().write_all(b"another's\n").unwrap();
        take_back(&mut file, 4).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n{cutanother's\n\n");
    }
}
