//! Loads the probes, attaches them, and is the handle on their rings and maps for as long as they run.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use runner_agent_common::egress::{Asker, AskerKey, JobRules};
use runner_agent_common::map::{Counters, FileKey, NameFilter, Task};
use runner_agent_common::record::{ProcessKey, probe};

use super::cgroup::JobCgroup;
use super::egress::{JobEgress, RuleMap};
use super::jobs::Room;
use super::links::{LinkState, Links};
use super::maps::{Maps, map_error, missing, trie};
use super::watch::WatchKeys;
use super::{LoadError, btf::Btf, links, offsets, programs, support};
use crate::decode::peek_at_ns;

/// The kernel side, built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/runner-agent.bpf.o"));

/// SHA-256 of the kernel side in lower-case hex: maps and programs of one hash fit together.
pub fn object_hash() -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(OBJECT).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Records of one ring that are handed over at once.
const MOST_AT_ONCE: usize = 4096;

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The kernel's type information.
    pub btf: std::path::PathBuf,
    /// Size of the ring for what findings stand on, in bytes; a power of two and a multiple of the page size.
    pub critical_ring_bytes: u32,
    /// Size of the ring for the bulk.
    pub bulk_ring_bytes: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { btf: "/sys/kernel/btf/vmlinux".into(), critical_ring_bytes: 2 << 20, bulk_ring_bytes: 4 << 20 }
    }
}

/// The loaded probes.
pub struct Kernel {
    /// The programs; none where they were taken over, and then their links alone keep them.
    ebpf: Option<Ebpf>,
    pub(super) maps: Maps,
    critical: RingBuf<MapData>,
    bulk: RingBuf<MapData>,
    pub(super) rules: Arc<Mutex<RuleMap>>,
    pub(super) askers: Option<HashMap<MapData, AskerKey, Asker>>,
    links: Links,
    blocks: bool,
    /// Where the next job's rules begin in the counters.
    pub(super) counted: u32,
    /// Of the name filter.
    generation: u64,
}

impl Kernel {
    /// Loads every probe, attached to nothing yet; jobs live in cgroups `job_cgroup_level` levels below the root. With a
    /// folder for pins, the maps are pinned there.
    pub fn load(
        options: &LoadOptions,
        job_cgroup_level: u32,
        room: Room,
        pins: Option<&Path>,
    ) -> Result<Self, LoadError> {
        support::require_privileges()?;
        let btf = Btf::read(&options.btf)?;
        let offsets = offsets::find(&btf, job_cgroup_level)?;
        drop(btf);
        let actions = offsets::syscall_actions(room.looks());
        let blocking = u32::from(room.blocks());
        let mut ebpf = EbpfLoader::new()
            // The object carries no relocations against the kernel's types; parsing them again would cost 30 ms.
            .btf(None)
            .override_global("OFFSETS", &offsets, true)
            .override_global("SYSCALL_ACTIONS", &actions, true)
            .override_global("BLOCKING", &blocking, true)
            .map_max_entries("RING_CRITICAL", options.critical_ring_bytes)
            .map_max_entries("RING_BULK", options.bulk_ring_bytes)
            .map_max_entries("EGRESS", room.entries.max(1))
            .map_max_entries("EXES", room.exes.max(1))
            .map_max_entries("RULE_COUNTS", room.rules.max(1))
            .load(OBJECT)
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        programs::load(&mut ebpf, room.blocks())?;
        let maps = Maps::take(&mut ebpf)?;
        if let Some(folder) = pins {
            maps.pin(folder)?;
        }
        Self::with(Some(ebpf), maps, Links::default(), room.blocks())
    }

    /// Takes over what an agent that is gone has pinned: its maps, and the links of its job. Nothing is loaded, and
    /// nothing lets go of a hook for a moment.
    pub fn take_over(folder: &Path) -> Result<Self, LoadError> {
        support::require_privileges()?;
        let maps = Maps::open(folder)?;
        let names = programs::TRACEPOINTS.iter().map(|(name, _)| *name).chain(programs::cgroup_hooks(true));
        let links = Links::open(folder, &names.collect::<Vec<_>>())?;
        Self::with(None, maps, links, true)
    }

    fn with(ebpf: Option<Ebpf>, mut maps: Maps, links: Links, blocks: bool) -> Result<Self, LoadError> {
        let critical = maps.ring("RING_CRITICAL")?;
        let bulk = maps.ring("RING_BULK")?;
        let rules = Arc::new(Mutex::new(trie(maps.split("EGRESS")?)?));
        let askers = HashMap::try_from(maps.split("ASKERS")?).map_err(|error| map_error("ASKERS", "open", &error))?;
        Ok(Self { ebpf, maps, critical, bulk, rules, askers: Some(askers), links, blocks, counted: 0, generation: 0 })
    }

    /// Tells the probes what to watch. Names and files are additive: what is watched stays watched until the agent ends.
    pub fn watch(&mut self, keys: &WatchKeys) -> Result<(), LoadError> {
        self.generation += 1;
        let mut names = self.maps.hash::<u64, u32>("NAMES")?;
        for hash in &keys.names {
            names.insert(hash, 1, 0).map_err(|error| map_error("NAMES", "fill", &error))?;
        }
        let mut files = self.maps.hash::<FileKey, u32>("FILES")?;
        for file in &keys.files {
            files.insert(file, 1, 0).map_err(|error| map_error("FILES", "fill", &error))?;
        }
        let mut filter = self.maps.array::<NameFilter>("NAME_FILTER")?;
        filter.set(0, keys.filter(self.generation << 32), 0).map_err(|error| map_error("NAME_FILTER", "fill", &error))
    }

    /// Makes a cgroup a job: hooks first, so that nothing of the job goes by unseen, then the entry in the map. With a
    /// folder for pins, the hooks stay when the agent goes.
    pub fn add_job(&mut self, cgroup: &JobCgroup, slot: u32, pins: Option<&Path>) -> Result<(), LoadError> {
        let directory = File::open(cgroup.path()).map_err(|source| LoadError::Cgroup {
            action: "open",
            path: cgroup.path().to_owned(),
            source,
        })?;
        let ebpf = self.ebpf.as_mut().ok_or_else(|| missing("programs"))?;
        for name in programs::cgroup_hooks(self.blocks) {
            let link = programs::attach_to_cgroup(ebpf, name, &directory)?;
            match pins {
                Some(folder) => self.links.pin(name, link, folder)?,
                None => self.links.hold(&format!("{slot}"), link),
            }
        }
        let mut jobs = self.maps.hash::<u64, u32>("JOBS")?;
        jobs.insert(cgroup.id(), slot, 0).map_err(|error| map_error("JOBS", "fill", &error))?;
        self.prefer(cgroup)
    }

    /// Spares this job's processes a look-up on every open.
    pub fn prefer(&mut self, cgroup: &JobCgroup) -> Result<(), LoadError> {
        let mut latest = self.maps.array::<u64>("LATEST_JOB")?;
        latest.set(0, cgroup.id(), 0).map_err(|error| map_error("LATEST_JOB", "fill", &error))
    }

    /// The cgroup is no job any more: its hooks, its rules and what it learnt go.
    pub fn remove_job(&mut self, cgroup: &JobCgroup, slot: u32, egress: Option<&JobEgress>) -> Result<(), LoadError> {
        let mut jobs = self.maps.hash::<u64, u32>("JOBS")?;
        jobs.remove(&cgroup.id()).map_err(|error| map_error("JOBS", "clear", &error))?;
        self.links.release(&format!("{slot}"));
        if let Some(egress) = egress {
            egress.clear()?;
            let mut rules = self.maps.hash::<u32, JobRules>("JOB_RULES")?;
            rules.remove(&slot).map_err(|error| map_error("JOB_RULES", "clear", &error))?;
        }
        Ok(())
    }

    /// Processes of a job that are alive, in its cgroup or not.
    pub fn members(&mut self, slot: u32) -> Result<Vec<ProcessKey>, LoadError> {
        let tasks = self.maps.hash::<u32, Task>("TASKS")?;
        let members = tasks.iter().filter_map(Result::ok).filter(|(_, task)| task.job == slot);
        Ok(members.map(|(tgid, task)| ProcessKey { start_ns: task.start_ns, tgid, reserved: 0 }).collect())
    }

    /// Attaches the tracepoints: from here on members of jobs are recorded.
    pub fn attach_tracepoints(&mut self, pins: Option<&Path>) -> Result<(), LoadError> {
        let ebpf = self.ebpf.as_mut().ok_or_else(|| missing("programs"))?;
        for (name, tracepoint) in programs::TRACEPOINTS {
            let link = programs::attach_tracepoint(ebpf, name, tracepoint)?;
            match pins {
                Some(folder) => self.links.pin(name, link, folder)?,
                None => self.links.hold(name, link),
            }
        }
        Ok(())
    }

    /// What the kernel says of the links now.
    pub fn links(&self) -> LinkState {
        links::state()
    }

    /// Whether every pin is where it was put.
    pub fn are_links_pinned(&self, folder: &Path) -> bool {
        self.links.are_pinned(folder)
    }

    /// Hands over what waits on the rings, the critical one first; at most [`MOST_AT_ONCE`] records of each, because a job
    /// can fill a ring faster than it is emptied. Returns until when everything was handed over, if a ring has more.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> Option<u64> {
        let mut complete_until = None;
        for ring in [&mut self.critical, &mut self.bulk] {
            let mut last_ns = 0;
            let mut left = MOST_AT_ONCE;
            while left > 0
                && let Some(item) = ring.next()
            {
                last_ns = peek_at_ns(&item);
                each(&item);
                left -= 1;
            }
            if left == 0 {
                complete_until = Some(complete_until.map_or(last_ns, |until: u64| until.min(last_ns)));
            }
        }
        complete_until
    }

    /// Descriptors that become readable when a ring has filled enough to be worth a wake-up.
    pub fn descriptors(&self) -> std::io::Result<[OwnedFd; 2]> {
        Ok([self.critical.as_fd().try_clone_to_owned()?, self.bulk.as_fd().try_clone_to_owned()?])
    }

    /// Waits until a ring asks for attention, at most so long.
    pub fn wait_readable(&self, at_most: std::time::Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let [critical, bulk] = [self.critical.as_fd(), self.bulk.as_fd()];
        let mut polled =
            [PollFd::from_borrowed_fd(critical, PollFlags::IN), PollFd::from_borrowed_fd(bulk, PollFlags::IN)];
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        // Interrupted or not: the caller drains and asks again.
        let _ = rustix::event::poll(&mut polled, Some(&timeout));
    }

    /// Where each probe's records went, indexed by [`probe`].
    pub fn counters(&mut self) -> Result<[Counters; probe::COUNT], LoadError> {
        let counters: PerCpuArray<_, Counters> = self.maps.per_cpu("COUNTERS")?;
        let mut sums = [Counters::default(); probe::COUNT];
        for (index, sum) in sums.iter_mut().enumerate() {
            let per_cpu = counters.get(&(index as u32), 0).map_err(|error| map_error("COUNTERS", "read", &error))?;
            for counters in per_cpu.iter() {
                sum.seen += counters.seen;
                sum.submitted += counters.submitted;
                sum.ring_full += counters.ring_full;
                sum.oversize += counters.oversize;
                sum.busy += counters.busy;
                sum.map_full += counters.map_full;
            }
        }
        Ok(sums)
    }

    /// Names of the programs and the instructions that the verifier went through for each, where the kernel tells.
    pub fn complexity(&self) -> Vec<(String, Option<u32>)> {
        let programs = self.ebpf.iter().flat_map(Ebpf::programs);
        programs
            .map(|(name, program)| {
                (name.to_owned(), program.info().ok().and_then(|info| info.verified_instruction_count()))
            })
            .collect()
    }
}
