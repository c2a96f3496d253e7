//! From the policy's secret files to what the open probe looks for.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use runner_agent_common::map::FileKey;

use super::self_check;
use crate::kernel::watch::{WatchKeys, file_key};
use crate::policy::{Mode, Policy};

/// What the kernel has to look for, the self-check's file included.
pub(super) fn watch_keys(policy: &Policy) -> WatchKeys {
    let list = policy.secrets.watch();
    let mut keys = WatchKeys::default();
    keys.name(self_check::CANARY);
    list.names.iter().for_each(|name| keys.name(name));
    list.prefixes.iter().for_each(|prefix| keys.prefix(*prefix));
    list.suffixes.iter().for_each(|suffix| keys.suffix(*suffix));
    list.directories.iter().for_each(|name| keys.directory(name));
    list.files.iter().for_each(|path| keys.file(path));
    keys
}

/// Secret files that exist now, by identity, so that another name doesn't hide them.
pub(super) fn secret_files(policy: &Policy) -> HashMap<FileKey, Arc<str>> {
    let files = policy.secrets.watch().files;
    files.iter().filter_map(|path| Some((file_key(path)?, path.to_string_lossy().into()))).collect()
}

/// A policy that wants opens refused wants more than this tier has a hook for, and gets no less than it asked.
pub(super) fn refuses_no_read(policy: &Policy) -> io::Result<()> {
    if policy.secrets.on_read == Mode::Audit {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "the policy has `secrets.on-read: { other-readers: block }`, and no hook of this tier can refuse an open; set it to \
         audit, and `carry: { after-secret-read: block }` to hold whoever has read one",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::SecretPolicy;

    #[test]
    fn a_policy_that_wants_opens_refused_is_told_what_would_do() {
        assert!(refuses_no_read(&Policy::default()).is_ok());
        let secrets = SecretPolicy::new(Vec::new(), Mode::Block);
        let error = refuses_no_read(&Policy { secrets, ..Policy::default() }).unwrap_err();
        assert!(error.to_string().contains("on-read") && error.to_string().contains("set it to audit"), "{error}");
    }
}
