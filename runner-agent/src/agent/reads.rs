//! Reads of secret files that are refused: what the kernel side must know of a job's secrets and their readers, before it is a job.

use std::collections::HashMap;
use std::path::Path;

use runner_agent_common::guard::{CLASSES, SecretPath, entry_hash, secret_path};
use runner_agent_common::map::FileKey;

use super::exes::search_path;
use super::run::{RunError, io_error};
use crate::kernel::Kernel;
use crate::kernel::watch::{any_key, file_key};
use crate::policy::{DirectoryEntry, ExactKey, Policy};

/// Arranges it; fails where this kernel can refuse no open, or can't tell so many classes apart.
pub(super) fn refuse(kernel: &mut Kernel, slot: u32, policy: &Policy) -> Result<(), RunError> {
    if !kernel.can_refuse_opens() {
        return Err(io_error("refuse reads of secret files")(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!(
                "the policy has `secrets.on-read: {{ other-readers: block }}`, and this kernel has no hook that can refuse \
                 an open ({}); set it to audit, and `carry: {{ after-secret-read: block }}` to hold whoever has read one",
                kernel.no_tracing().unwrap_or("the tracepoint tier was asked for")
            ),
        )));
    }
    if policy.secrets.classes.len() > CLASSES {
        return Err(io_error("refuse reads of secret files")(std::io::Error::other(format!(
            "the policy has {} entries of secret files, and at most {CLASSES} can be told apart in the kernel; join \
             entries with the same readers",
            policy.secrets.classes.len()
        ))));
    }
    let exact = policy.secrets.exact();
    let keys = exact.keys.iter().copied().chain(entries(&exact.entries));
    let paths: Vec<(SecretPath, usize)> = keys.map(|key| (key.of_job(slot), key.class)).collect();
    kernel.set_readers(slot, &paths, &readers(policy))?;
    for (file, class) in present(policy, &exact.directories) {
        kernel.know(slot, file, Some(class))?;
    }
    Ok(())
}

/// Names in directories that are there now, and may be called otherwise or mounted elsewhere when a file is made in them.
fn entries(entries: &[DirectoryEntry]) -> impl Iterator<Item = ExactKey> {
    let mut known = HashMap::new();
    entries.iter().filter_map(move |entry| {
        let directory = Path::new(&entry.directory);
        let found = known.entry(directory).or_insert_with(|| any_key(directory).filter(|_| directory.is_dir()));
        let FileKey { inode, device, .. } = (*found)?;
        let hash = entry_hash(inode, device, entry.name);
        Some(ExactKey { hash, kind: secret_path::ENTRY, class: entry.class })
    })
}

/// Files that lie where a pattern with wildcards means something.
fn present(policy: &Policy, directories: &[String]) -> Vec<(FileKey, usize)> {
    const MOST: usize = 4096;
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten();
    let secrets = &policy.secrets;
    let known = entries.take(MOST).filter_map(|entry| {
        let path = entry.path();
        let class = secrets.number_of(&secrets.classify(path.to_str()?)?.id)?;
        Some((file_key(&path)?, class))
    });
    known.collect()
}

/// Programs on the PATH that own secrets by what they are, with the classes.
fn readers(policy: &Policy) -> Vec<(FileKey, u64)> {
    let mut found = Vec::new();
    for entry in search_path().iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten() {
        // What runs is the file at the end of all links, and that is what is judged.
        let Ok(path) = entry.path().canonicalize() else { continue };
        let Some(text) = path.to_str() else { continue };
        let classes = policy.secrets.readable_by(text, &[text.to_owned()]);
        if classes != 0
            && let Some(file) = file_key(&path)
        {
            found.push((file, classes));
        }
    }
    found
}
