//! The whole runner as scope: everything on the machine is held to the job's policy, but for the agent, the kernel, and the
//! platform's own services. Which these are is the policy's; here their cgroups and programs are found and kept up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobMatcher};
use runner_agent_common::map::FileKey;
use runner_agent_common::record::ProcessKey;
use runner_agent_common::runner::ServiceKey;

use super::child::OWN_PROGRAM;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::watch::file_key;
use crate::kernel::{Kernel, LoadError};
use crate::policy::Service;

/// How often services are looked for: one that is restarted gets another cgroup under the same name.
const LOOK: Duration = Duration::from_secs(1);

/// How soon again, when programs are started all the time.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A service whose programs are known.
struct Known {
    /// The deepest directory that every match lies in.
    top: PathBuf,
    matcher: GlobMatcher,
    /// The files that lay there when the job was armed: another file under the same name is another program.
    exes: Vec<FileKey>,
}

/// The services that are exempt, as far as they run.
pub(super) struct Platform {
    mount: PathBuf,
    own: PathBuf,
    services: Vec<Known>,
    exempt: BTreeSet<ServiceKey>,
    looked: Instant,
    next: Instant,
    /// Whether a program was started since.
    has_started: bool,
}

impl Platform {
    /// A policy's services. What is missing of them is told, and is exempt once it is there.
    pub(super) fn of(services: &[Service], hierarchy: &Hierarchy) -> Self {
        let Hierarchy { mount, own } = hierarchy.clone();
        let services = services.iter().filter_map(|service| known(service, &mount)).collect();
        Self {
            mount,
            own,
            services,
            exempt: BTreeSet::new(),
            looked: Instant::now(),
            next: Instant::now(),
            has_started: false,
        }
    }

    /// Exempts the agent, the kernel's own sockets and the services, before anything is in scope.
    pub(super) fn arrange(&mut self, kernel: &mut Kernel) -> Result<(), LoadError> {
        kernel.add_own_threads()?;
        let own = id_of(&self.mount.join(&self.own)).zip(file_key(Path::new(OWN_PROGRAM)));
        if let Some((cgroup, exe)) = own {
            kernel.exempt(&[service_key(cgroup, exe)])?;
        }
        let in_root = programs_in(&self.mount);
        if let (true, Some(root)) = (in_root.is_empty(), id_of(&self.mount)) {
            kernel.exempt_packets(&[root])?;
        } else {
            tracing::warn!(
                "{} run in the topmost cgroup, as the kernel's own sockets do: resets and ICMP answers that no rule allows \
                 are dropped; start them as services of their own",
                in_root.join(", ")
            );
        }
        self.find(kernel).map(drop)
    }

    /// Looks which services run and in which cgroups: when it is time, or soon after a program was started. Returns who was
    /// held until now and is a service's.
    pub(super) fn look_after(&mut self, kernel: &mut Kernel) -> Result<Vec<ProcessKey>, LoadError> {
        let now = Instant::now();
        let is_due = now >= self.next || (self.has_started && now >= self.looked + LOOK_AGAIN);
        if is_due { self.find(kernel) } else { Ok(Vec::new()) }
    }

    /// A program was started: it may be a service's.
    pub(super) fn has_started(&mut self) {
        self.has_started = true;
    }

    /// Looks for them now: nobody has looked while there was no job.
    pub(super) fn look_again(&mut self, kernel: &mut Kernel) -> Result<(), LoadError> {
        self.find(kernel).map(drop)
    }

    fn find(&mut self, kernel: &mut Kernel) -> Result<Vec<ProcessKey>, LoadError> {
        self.has_started = false;
        self.looked = Instant::now();
        self.next = self.looked + LOOK;
        let mut directories = BTreeMap::new();
        let mut found = BTreeSet::new();
        for service in &self.services {
            each_below(&service.top, &mut |directory| {
                let name = Path::new("/").join(directory.strip_prefix(&self.mount).unwrap_or(directory));
                if service.matcher.is_match(&name)
                    && let Some(cgroup) = id_of(directory)
                {
                    found.extend(service.exes.iter().map(|exe| service_key(cgroup, *exe)));
                    directories.insert(cgroup, directory.to_owned());
                }
            });
        }
        let cgroups = |keys: &BTreeSet<ServiceKey>| keys.iter().map(|key| key.cgroup).collect::<BTreeSet<u64>>();
        let (before, now) = (cgroups(&self.exempt), cgroups(&found));
        kernel.exempt(&found.difference(&self.exempt).copied().collect::<Vec<_>>())?;
        kernel.exempt_packets(&now.difference(&before).copied().collect::<Vec<_>>())?;
        kernel.end_exemption(
            &self.exempt.difference(&found).copied().collect::<Vec<_>>(),
            &before.difference(&now).copied().collect::<Vec<_>>(),
        )?;
        // Whoever was started there before its cgroup was known has been taken in.
        let mut released = Vec::new();
        for directory in now.difference(&before).filter_map(|cgroup| directories.get(cgroup)) {
            let cgroup = id_of(directory).unwrap_or_default();
            for pid in pids_in(directory) {
                let exe = file_key(Path::new(&format!("/proc/{pid}/exe")));
                if exe.is_some_and(|exe| found.contains(&service_key(cgroup, exe))) {
                    released.extend(kernel.release(pid)?);
                }
            }
        }
        self.exempt = found;
        Ok(released)
    }

    /// Whoever runs now and is held to the policy without being the job's, for people: names and cgroups.
    pub(super) fn held(&self) -> Vec<String> {
        let own = std::process::id();
        let mut held = BTreeSet::new();
        each_below(&self.mount, &mut |directory| {
            let Some(cgroup) = id_of(directory) else { return };
            let name = Path::new("/").join(directory.strip_prefix(&self.mount).unwrap_or(directory));
            for pid in pids_in(directory).filter(|pid| *pid != own) {
                let exe = PathBuf::from(format!("/proc/{pid}/exe"));
                let Ok(program) = fs::read_link(&exe) else { continue };
                let is_exempt = file_key(&exe).is_some_and(|exe| self.exempt.contains(&service_key(cgroup, exe)));
                if !is_exempt {
                    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    held.insert(format!("{program} ({})", name.display()));
                }
            }
        });
        held.into_iter().collect()
    }
}

fn known(service: &Service, mount: &Path) -> Option<Known> {
    let glob = GlobBuilder::new(&service.cgroup).literal_separator(true).build();
    let matcher = glob.map_err(|error| tracing::error!("{}: {error}", service.cgroup)).ok()?.compile_matcher();
    let key = |exe: &PathBuf| {
        let key = file_key(exe);
        if key.is_none() {
            tracing::warn!("no file {}: no process of {} is exempt for it", exe.display(), service.cgroup);
        }
        key
    };
    let exes = service.exes.iter().filter_map(key).collect();
    let is_plain = |part: &&str| !part.contains(['*', '?', '[', '{', '\\']);
    let parts: Vec<&str> = service.cgroup.split('/').filter(|part| !part.is_empty()).collect();
    let plain = parts.iter().copied().take_while(|part| is_plain(part));
    Some(Known { top: mount.join(plain.collect::<PathBuf>()), matcher, exes })
}

const fn service_key(cgroup: u64, exe: FileKey) -> ServiceKey {
    ServiceKey { cgroup, inode: exe.inode, device: exe.device, reserved: 0 }
}

/// A cgroup's id is the inode number of its directory.
fn id_of(directory: &Path) -> Option<u64> {
    fs::metadata(directory).ok().map(|directory| directory.ino())
}

fn pids_in(directory: &Path) -> impl Iterator<Item = u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>().into_iter()
}

/// Names of the programs in a cgroup itself; the kernel's own threads run none.
fn programs_in(directory: &Path) -> Vec<String> {
    let exes = pids_in(directory).filter_map(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
    let names: BTreeSet<String> =
        exes.map(|exe| exe.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
    names.into_iter().collect()
}

/// A cgroup and all below it.
fn each_below(directory: &Path, each: &mut impl FnMut(&Path)) {
    if directory.is_dir() {
        each(directory);
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each_below(&entry.path(), each);
        }
    }
}
