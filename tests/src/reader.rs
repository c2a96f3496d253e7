//! A program that policies of tests name as the owner of secrets. Programs of temporary folders own nothing, so it lies where the
//! machine's programs lie; that is a guest's.

use std::fs;
use std::path::{Path, PathBuf};

/// A copy of a program under another name. It is gone with the value.
pub struct Reader(pub PathBuf);

impl Reader {
    /// Puts it on the path, under a name that is this test's own.
    pub fn of(program: &str, test: &str) -> Self {
        Self::at(program, &Path::new("/usr/local/bin").join(format!("e2e-reader-{test}")))
    }

    /// Puts it somewhere.
    pub fn at(program: &str, path: &Path) -> Self {
        fs::create_dir_all(path.parent().expect("a program lies in a folder")).expect("a folder for programs");
        crate::binary::copy(program, path);
        Self(path.to_owned())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).expect("the name is text")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
