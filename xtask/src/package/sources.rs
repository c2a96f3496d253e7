//! The sources in a folder of their own, for what must not find, or leave, anything else there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::step;

/// Every file that git knows or would take, as it is now.
pub fn copy(to: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(step::root());
    let listed = step::output(&mut git).context("only git says what the sources are")?;
    for name in listed.split_terminator('\0') {
        let (from, to) = (step::root().join(name), to.join(name));
        // A file that was removed and not committed is listed too.
        if !from.is_file() {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(&to)).with_context(|| to.display().to_string())?;
        fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}
