//! The files that a statement is to be about. The job makes them, so anything may stand at their paths when it has ended.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::receipt::Artifact;
use crate::text::hex;

/// How long the files of one job may take together: hundreds of gigabytes. `truncate` makes one that takes years.
const WITHIN: Duration = Duration::from_mins(10);

/// Files as they are now. One that can't be read is named without a digest: that it was promised and isn't there says something.
pub(super) fn artifacts(subjects: &[PathBuf]) -> Vec<Artifact> {
    let until = Instant::now() + WITHIN;
    let artifact = |path: &PathBuf| {
        let sha256 = digest(path, until).unwrap_or_else(|error| {
            tracing::error!("the receipt is to be about {}, which can't be read: {error}", path.display());
            String::new()
        });
        Artifact { name: path.display().to_string(), sha256 }
    };
    subjects.iter().map(artifact).collect()
}

/// SHA-256 of a regular file, in hex. A link is not followed: it may lead to what the job can't read and the agent can.
fn digest(path: &Path, until: Instant) -> io::Result<String> {
    // Opening a FIFO would wait for its writer.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => io::Error::other("it is a link; name the file that it leads to"),
        _ => error,
    })?;
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    // One more than there is, to see whether it grows: then it would have an end only when its writer pleases.
    let mut file = file.take(there.len().saturating_add(1));
    let (mut whole, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 if length == there.len() => return Ok(hex(&whole.finalize())),
            0 => return Err(io::Error::other("it is still being written")),
            read => {
                whole.update(&buffer[..read]);
                length += read as u64;
            }
        }
        if Instant::now() >= until {
            return Err(io::Error::other(format!("reading takes longer than {} s", WITHIN.as_secs())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// What reading says, or that it doesn't end.
    fn said(path: PathBuf, until: Instant) -> String {
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || sender.send(digest(&path, until).unwrap_or_else(|error| error.to_string())));
        said.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| "it doesn't end".to_owned())
    }

    fn soon() -> Instant {
        Instant::now() + WITHIN
    }

    #[test]
    fn a_file_has_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made");
        let bytes = vec![7; (1 << 16) + 1];
        fs::write(&path, &bytes).unwrap();
        assert_eq!(said(path, soon()), hex(&Sha256::digest(&bytes)));
    }

    #[test]
    fn what_is_no_file_has_none_and_keeps_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("/dev/zero", path("endless")).unwrap();
        fs::write(path("secret"), "hidden from the job").unwrap();
        symlink(path("secret"), path("link")).unwrap();
        assert_eq!(said(path("pipe"), soon()), "it is no regular file");
        assert_eq!(said(folder.path().to_owned(), soon()), "it is no regular file");
        assert_eq!(said("/dev/zero".into(), soon()), "it is no regular file");
        for link in ["endless", "link"] {
            assert_eq!(said(path(link), soon()), "it is a link; name the file that it leads to");
        }
    }

    #[test]
    fn a_file_that_is_longer_than_it_says_has_none() {
        assert_eq!(said("/proc/self/status".into(), soon()), "it is still being written");
    }

    #[test]
    fn a_file_of_nothing_but_length_takes_no_longer_than_there_is_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        File::create(&path).unwrap().set_len(1 << 43).unwrap();
        assert_eq!(said(path, Instant::now()), "reading takes longer than 600 s");
    }
}
