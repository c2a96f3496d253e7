//! Secrets of sinks: from files that only their owner can read, or from systemd's credentials.

use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::check::walk::Cursor;

/// Keys of a secret.
const KEYS: &[&str] = &["file", "credential"];

/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Most that is read; a key has a hundredth of it.
const MOST: u64 = 64 << 10;

/// The text of `{ file: PATH }` or `{ credential: NAME }`.
pub(super) fn secret(cursor: &Cursor) -> Option<String> {
    let fields = cursor.fields(KEYS)?;
    let path = match (fields.get("file"), fields.get("credential")) {
        (Some(file), None) => {
            let path = path(&file)?;
            if let Err(error) = is_private(&path) {
                file.error(error);
                return None;
            }
            path
        }
        (None, Some(credential)) => {
            let name = credential.text()?;
            if name.contains('/') || name.starts_with('.') {
                credential.error(format!("{name:?} is no name of a credential; write the one of `LoadCredential=`"));
                return None;
            }
            let Some(folder) = std::env::var_os(CREDENTIALS) else {
                credential.error(format!(
                    "{CREDENTIALS} is not set; systemd sets it for a service with `LoadCredential={name}:…`, elsewhere write \
                     `file: PATH`"
                ));
                return None;
            };
            Path::new(&folder).join(name)
        }
        _ => {
            cursor.error("says not where the secret is; write `{ file: PATH }` or `{ credential: NAME }`");
            return None;
        }
    };
    match read(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            cursor.error(format!("{}: {error}", path.display()));
            None
        }
    }
}

/// An absolute path.
pub(super) fn path(cursor: &Cursor) -> Option<PathBuf> {
    let text = cursor.text()?;
    if !text.starts_with('/') {
        cursor.error(format!("{text:?} is no absolute path; write it whole, as in \"/etc/runner-agent/soc.key\""));
        return None;
    }
    Some(text.into())
}

/// Whether nobody but root or who runs the agent can read or change a file.
fn is_private(path: &Path) -> Result<(), String> {
    let file = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !file.is_file() {
        return Err(format!("{} is no regular file; write the secret to a file and name that", path.display()));
    }
    let own = rustix::process::geteuid().as_raw();
    if file.uid() != 0 && file.uid() != own {
        return Err(format!("{} belongs to user {}; it must be root's: chown root {0}", path.display(), file.uid()));
    }
    if file.mode() & 0o077 != 0 {
        let mode = file.mode() & 0o777;
        return Err(format!(
            "{} can be read by others (mode {mode:04o}); it must be 0600: chmod 600 {0}",
            path.display()
        ));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let not_waiting = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(not_waiting).open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err("is empty; write the secret into it".to_owned()) } else { Ok(text.to_owned()) }
}
