//! The links of probes to their hooks: held, pinned, and looked after.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};

use super::LoadError;

/// A link's descriptor.
#[derive(Debug)]
#[expect(dead_code, reason = "a link lets go of its hook when it is dropped, so it is kept and not looked at")]
enum Held {
    Open(FdLink),
    Pinned(PinnedLink),
    /// Of a program that aya didn't load.
    Other(OwnedFd),
}

/// One link.
#[derive(Debug)]
struct Link {
    /// Slot of the job whose cgroup it is on; 0 for what watches the whole machine.
    slot: u32,
    /// The pin that must be there, if there is one.
    pin: Option<PathBuf>,
    held: Held,
}

/// Links. They let go of their hooks when dropped, unless they are pinned.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

/// What the kernel says of an agent's links: for each the cgroup that it hangs on, 0 for none. Two are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState(BTreeMap<u64, u64>);

impl LinkState {
    /// Those on no cgroup or on this one: what a job depends on.
    #[must_use]
    pub fn on(self, cgroup: u64) -> Self {
        Self(self.0.into_iter().filter(|(_, on)| *on == 0 || *on == cgroup).collect())
    }

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
    /// Holds a link, pinned under its name if there is a folder for it. `slot` is that of the job whose cgroup it is on, or 0.
    pub(super) fn hold(&mut self, slot: u32, name: &str, link: FdLink, folder: Option<&Path>) -> Result<(), LoadError> {
        let pin = folder.map(|folder| folder.join(pin_name(slot, name)));
        let held = match &pin {
            Some(path) => Held::Pinned(link.pin(path).map_err(|error| cannot_pin(path)(other(&error)))?),
            None => Held::Open(link),
        };
        self.0.push(Link { slot, pin, held });
        Ok(())
    }

    /// The same for a link of a program that aya didn't load. It watches the whole machine.
    pub(super) fn hold_other(&mut self, name: &str, link: OwnedFd, folder: Option<&Path>) -> Result<(), LoadError> {
        let pin = folder.map(|folder| folder.join(name));
        if let Some(path) = &pin {
            tracing_loader::pin(link.as_fd(), path).map_err(cannot_pin(path))?;
        }
        self.0.push(Link { slot: 0, pin, held: Held::Other(link) });
        Ok(())
    }

    /// Pins those that can't be taken from their hooks at once and aren't pinned, so that the pin holds them last.
    pub(super) fn park(&self, folder: &Path) {
        let mut parked = 0;
        for (index, link) in self.0.iter().enumerate() {
            if let (None, Held::Other(held)) = (&link.pin, &link.held) {
                match tracing_loader::pin(held.as_fd(), &folder.join(index.to_string())) {
                    Ok(()) => parked += 1,
                    Err(error) => tracing::debug!("a link can't be pinned before it goes: {error}"),
                }
            }
        }
        tracing::debug!("{parked} links are let go at once");
    }

    /// Takes over the links that are pinned in a folder under these names.
    pub(super) fn open(slot: u32, folder: &Path, names: &[&str]) -> Result<Self, LoadError> {
        let opened = names.iter().map(|name| {
            let path = folder.join(pin_name(slot, name));
            let link = PinnedLink::from_pin(&path).map_err(|error| cannot_open(&path)(other(&error)))?;
            Ok(Link { slot, pin: Some(path), held: Held::Pinned(link) })
        });
        opened.collect::<Result<_, _>>().map(Self)
    }

    /// The same for links of programs that aya didn't load, which watch the whole machine; each with its name.
    pub(super) fn open_others(
        folder: &Path,
        names: &[&'static str],
    ) -> Result<Vec<(&'static str, OwnedFd)>, LoadError> {
        let opened = names.iter().map(|&name| {
            let path = folder.join(name);
            let link = tracing_loader::open_pin(&path).map_err(cannot_open(&path))?;
            Ok((name, link))
        });
        opened.collect()
    }

    /// Holds links that were opened where they are pinned, in this folder.
    pub(super) fn hold_opened(folder: &Path, links: Vec<(&'static str, OwnedFd)>) -> Self {
        let hold = |(name, link)| Link { slot: 0, pin: Some(folder.join(name)), held: Held::Other(link) };
        Self(links.into_iter().map(hold).collect())
    }

    /// With those of another.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Takes a job's from their hooks, and their pins away.
    pub(super) fn release(&mut self, slot: u32) -> Result<(), LoadError> {
        let gone: Vec<Link> = self.0.extract_if(.., |link| link.slot == slot).collect();
        for path in gone.into_iter().filter_map(|link| link.pin) {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LoadError::Pins { action: "remove the pin", path, source });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// A pin that is not where it was put, of those of a job and of those that watch the whole machine.
    pub(super) fn missing_pin(&self, slot: u32) -> Option<&Path> {
        let links = self.0.iter().filter(|link| link.slot == 0 || link.slot == slot);
        links.filter_map(|link| link.pin.as_deref()).find(|pin| !pin.exists())
    }
}

/// Links of several jobs are pinned in one folder.
fn pin_name(slot: u32, name: &str) -> String {
    if slot == 0 { name.to_owned() } else { format!("{name}-{slot}") }
}

fn cannot_pin(path: &Path) -> impl FnOnce(std::io::Error) -> LoadError {
    let path = path.to_owned();
    move |source| LoadError::Pins { action: "pin the link", path, source }
}

fn cannot_open(path: &Path) -> impl FnOnce(std::io::Error) -> LoadError {
    let path = path.to_owned();
    move |source| LoadError::Pins { action: "open the pinned link", path, source }
}

fn other(error: &dyn std::fmt::Display) -> std::io::Error {
    std::io::Error::other(error.to_string())
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
