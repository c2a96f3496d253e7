//! From the policy's secret files to what the open probe looks for.

use std::collections::HashMap;
use std::sync::Arc;

use runner_agent_common::map::FileKey;

use super::self_check;
use crate::kernel::watch::{WatchKeys, file_key};
use crate::policy::Policy;

/// What the kernel has to look for, the self-check's file included.
pub(super) fn watch_keys(policy: &Policy) -> WatchKeys {
    let list = policy.secrets.watch();
    let mut keys = WatchKeys::default();
    keys.name(self_check::CANARY);
    list.names.iter().for_each(|name| keys.name(name));
    list.prefixes.iter().for_each(|prefix| keys.prefix(*prefix));
    list.suffixes.iter().for_each(|suffix| keys.suffix(*suffix));
    list.directories.iter().for_each(|name| keys.directory(name));
    if policy.refuses_reads() {
        list.folders.iter().for_each(|path| keys.folder(path));
    }
    for path in &list.files {
        let secrets = &policy.secrets;
        let class =
            path.to_str().and_then(|path| secrets.classify(path)).and_then(|class| secrets.number_of(&class.id));
        keys.file(path, class);
    }
    keys
}

/// Secret files that exist now, by identity, so that another name doesn't hide them.
pub(super) fn secret_files(policy: &Policy) -> HashMap<FileKey, Arc<str>> {
    let files = policy.secrets.watch().files;
    files.iter().filter_map(|path| Some((file_key(path)?, path.to_string_lossy().into()))).collect()
}
