//! A file to which items are appended: for a collector that follows files.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
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
        // Rotated: the next item begins another.
        if !self.path.exists() {
            self.file = None;
        }
        match self.append(&parcel.body) {
            Ok(()) => Attempt::Delivered,
            Err(error) => {
                self.file = None;
                Attempt::Failed { why: error.to_string(), wait: None }
            }
        }
    }

    fn append(&mut self, body: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            place => {
                let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
                let mut options = OpenOptions::new();
                let opened = options.append(true).create(true).mode(0o600).custom_flags(no_follow).open(&self.path)?;
                place.insert(opened)
            }
        };
        // One write: another agent may append to it too.
        if body.ends_with(b"\n") { file.write_all(body) } else { file.write_all(&[body, b"\n"].concat()) }
    }
}
