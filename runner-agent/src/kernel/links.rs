//! The links of probes to their hooks: held, pinned, and looked after.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};

use super::LoadError;

/// One link.
#[derive(Debug)]
#[expect(dead_code, reason = "a link lets go of its hook when it is dropped, so it is kept and never looked at")]
enum Held {
    Open(FdLink),
    Pinned(PinnedLink),
}

/// Links by name. They let go of their hooks when dropped, unless they are pinned.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<(String, Held)>);

/// What the kernel says of an agent's links: for each the cgroup that it hangs on, 0 for none. Two are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState(BTreeMap<u64, u64>);

impl LinkState {
    /// How many links of this state are no longer as they were.
    pub fn missing_in(&self, now: &Self) -> usize {
        self.0.iter().filter(|(link, cgroup)| now.0.get(link) != Some(cgroup)).count()
    }

    /// How many links there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Links {
    /// Holds a link.
    pub(super) fn hold(&mut self, name: &str, link: FdLink) {
        self.0.push((name.to_owned(), Held::Open(link)));
    }

    /// Holds a link, pinned in a folder under its name.
    pub(super) fn pin(&mut self, name: &str, link: FdLink, folder: &Path) -> Result<(), LoadError> {
        let path = folder.join(name);
        let pinned = link.pin(&path).map_err(|error| LoadError::Pins {
            action: "pin the link",
            path,
            source: std::io::Error::other(error.to_string()),
        })?;
        self.0.push((name.to_owned(), Held::Pinned(pinned)));
        Ok(())
    }

    /// Takes over the links that are pinned in a folder under these names.
    pub(super) fn open(folder: &Path, names: &[&str]) -> Result<Self, LoadError> {
        let opened = names.iter().map(|name| {
            let path = folder.join(name);
            let link = PinnedLink::from_pin(&path).map_err(|error| LoadError::Pins {
                action: "open the pinned link",
                path,
                source: std::io::Error::other(error.to_string()),
            })?;
            Ok(((*name).to_owned(), Held::Pinned(link)))
        });
        opened.collect::<Result<_, _>>().map(Self)
    }

    /// Lets go of those with this name.
    pub(super) fn release(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Whether each pinned link can still be found where it was pinned.
    pub(super) fn are_pinned(&self, folder: &Path) -> bool {
        self.0.iter().all(|(name, held)| match held {
            Held::Open(_) => true,
            Held::Pinned(_) => folder.join(name).exists(),
        })
    }
}

/// The state of all links that this process holds. A link that was detached behind the agent's back is still open, and
/// hangs on nothing.
pub fn state() -> LinkState {
    let Ok(entries) = fs::read_dir("/proc/self/fdinfo") else { return LinkState::default() };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    LinkState(
        texts
            .filter_map(|text| Some((field(&text, "link_id")?, field(&text, "cgroup_id").unwrap_or_default())))
            .collect(),
    )
}
