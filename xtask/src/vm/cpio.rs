//! Writes the archive that a kernel unpacks as its first file system: cpio in its `newc` form, uncompressed, because
//! unpacking costs an emulated processor more than reading.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Types of file, in the upper bits of a mode (inode(7)).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written. Folders above an entry come by themselves; what is there already is left as it is.
pub struct Archive<W> {
    to: W,
    written: u64,
    inode: u32,
    there: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub fn new(to: W) -> Self {
        Self { to, written: 0, inode: 0, there: BTreeSet::from([PathBuf::from("/")]) }
    }

    /// Whether an entry of that name was written.
    pub fn has(&self, path: &Path) -> bool {
        self.there.contains(path)
    }

    pub fn directory(&mut self, path: &Path) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[])
    }

    pub fn file(&mut self, path: &Path, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | (permissions & 0o7777), (0, 0), content)
    }

    pub fn symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.entry(path, SYMLINK | 0o777, (0, 0), target.as_os_str().as_encoded_bytes())
    }

    /// A character device, by major and minor number.
    pub fn device(&mut self, path: &Path, number: (u32, u32)) -> io::Result<()> {
        self.entry(path, CHARACTER_DEVICE | 0o600, number, &[])
    }

    /// Ends the archive, and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.header(TRAILER.as_bytes(), 0, (0, 0), 0)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(&mut self, path: &Path, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent()
            && !self.there.contains(parent)
        {
            self.directory(parent)?;
        }
        if !self.there.insert(path.to_owned()) {
            return Ok(());
        }
        let len = u32::try_from(content.len()).map_err(|_| io::Error::other("a file of 4 GiB doesn't fit"))?;
        let name = path.strip_prefix("/").unwrap_or(path);
        self.header(name.as_os_str().as_encoded_bytes(), mode, device, len)?;
        self.put(content)?;
        self.pad()
    }

    /// Thirteen numbers of eight hexadecimal digits, then the name with its NUL.
    fn header(&mut self, name: &[u8], mode: u32, (major, minor): (u32, u32), len: u32) -> io::Result<()> {
        self.inode += 1;
        let (links, name_len) = (1, name.len() as u32 + 1);
        self.put(b"070701")?;
        for number in [self.inode, mode, 0, 0, links, 0, len, 0, 0, major, minor, name_len, 0] {
            self.put(format!("{number:08x}").as_bytes())?;
        }
        self.put(name)?;
        self.put(&[0])?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    /// Header with name, and content, each end at a multiple of four.
    fn pad(&mut self) -> io::Result<()> {
        let missing = (4 - self.written % 4) % 4;
        self.put(&[0; 3][..missing as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_brings_its_folders_and_ends_at_a_multiple_of_four() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/a/b"), 0o755, b"hello").unwrap();
        archive.file(Path::new("/a/b"), 0o755, b"again, and left out").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let names: Vec<&str> = text
            .split("070701")
            .skip(1)
            .map(|entry| &entry[104..])
            .map(|rest| rest.split('\0').next().unwrap())
            .collect();
        assert_eq!(names, ["a", "a/b", "TRAILER!!!"]);
        let file = text.split("070701").nth(2).unwrap();
        assert_eq!(&file[8..16], "000081ed", "a regular file, rwxr-xr-x");
        assert_eq!(&file[48..56], "00000005", "of five bytes");
        assert_eq!(&file[104..], "a/b\0\0\0hello\0\0\0", "110 bytes of header, name and NUL, padded; content, padded");
    }

    #[test]
    fn a_symlink_holds_its_target() {
        let mut archive = Archive::new(Vec::new());
        archive.symlink(Path::new("/bin"), Path::new("usr/bin")).unwrap();
        assert!(archive.has(Path::new("/bin")) && !archive.has(Path::new("/lib")));
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        assert!(text.contains("bin\0\0\0usr/bin\0") || text.contains("bin\0usr/bin\0"));
    }
}
