//! Loads the probes, attaches them, and is the handle on their rings and maps for as long as they run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use runner_agent_common::egress::{Asker, AskerKey};
use runner_agent_common::map::{Counters, FileKey};
use runner_agent_common::offsets::Offsets;
use runner_agent_common::record::probe;
use tracing_loader::Way;

use super::egress::{JobEgress, RuleMap};
use super::hooks::{Functions, HookState};
use super::jobs::{Ranges, Room};
use super::links::{LinkState, Links};
use super::maps::{Maps, map_error, trie};
use super::secret::Secrets;
use super::tier::{Tier, TierChoice};
use super::traced::{self, Traced};
use super::watch::Watched;
use super::{LoadError, btf::Btf, hooks, links, offsets, programs, support, syscalls};

/// The kernel side, built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/runner-agent.bpf.o"));

/// SHA-256 of the kernel side in lower-case hex: maps and programs of one hash fit together. Taken once, because it stands in what
/// each job leaves for a successor.
pub fn object_hash() -> &'static str {
    use sha2::{Digest as _, Sha256};
    static HASH: LazyLock<String> = LazyLock::new(|| crate::text::hex(&Sha256::digest(OBJECT)));
    &HASH
}

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The kernel's type information.
    pub btf: std::path::PathBuf,
    /// Size of the ring for what findings stand on, in bytes; a power of two and a multiple of the page size.
    pub critical_ring_bytes: u32,
    /// Size of the ring for the bulk.
    pub bulk_ring_bytes: u32,
    /// Which tier.
    pub tier: TierChoice,
    /// The only way by which hooks of the tracing tier are to be taken; the best that there is without it.
    pub hooks: Option<Way>,
    /// Slot of the job that the whole runner is held to the policy of; 0 for jobs alone.
    pub runner: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            btf: "/sys/kernel/btf/vmlinux".into(),
            critical_ring_bytes: 2 << 20,
            bulk_ring_bytes: 4 << 20,
            tier: TierChoice::Best,
            hooks: None,
            runner: 0,
        }
    }
}

/// The loaded probes.
pub struct Kernel {
    /// The programs for cgroups; none where they were taken over, and then their links alone keep them.
    pub(super) ebpf: Option<Ebpf>,
    pub(super) maps: Maps,
    pub(super) critical: RingBuf<MapData>,
    pub(super) bulk: RingBuf<MapData>,
    pub(super) rules: Arc<Mutex<RuleMap>>,
    pub(super) askers: Arc<HashMap<MapData, AskerKey, Asker>>,
    pub(super) links: Links,
    traced: Traced,
    /// How long the verifier took for all programs; nothing where they were taken over.
    verified_in: Duration,
    tier: Tier,
    no_tracing: Option<String>,
    pub(super) counters: Ranges,
    /// The rules of each job, by slot.
    pub(super) egress: BTreeMap<u32, JobEgress>,
    pub(super) watched: Watched,
    pub(super) secrets: Secrets,
    /// Files and directories that are guarded, by the slot of the job that they are guarded for.
    pub(super) guarded: BTreeMap<u32, Vec<(FileKey, u32)>>,
    /// The agent's threads that are out of the jobs' reach.
    pub(super) threads: BTreeSet<u32>,
}

/// What is known before a tier is chosen.
struct Loading<'a> {
    options: &'a LoadOptions,
    offsets: Offsets,
    functions: Functions,
    room: Room,
}

impl Loading<'_> {
    fn load(&self, tier: Tier, pins: Option<&Path>) -> Result<Kernel, LoadError> {
        let Self { options, offsets, functions, room } = self;
        let tables = match tier {
            Tier::Tracepoint => syscalls::tables(room.looks(tier), |_| false),
            Tier::Tracing => syscalls::tables(room.looks(tier), hooks::taken(functions)),
        };
        let blocking = u32::from(room.blocks());
        let mut ebpf = EbpfLoader::new()
            // The object carries no relocations against the kernel's types; parsing them again would cost 30 ms.
            .btf(None)
            .override_global("OFFSETS", offsets, true)
            .override_global("SYSCALL_ACTIONS", &tables.actions, true)
            .override_global("GUARD_OPERATIONS", &tables.operations, true)
            .override_global("TOLD_AFTERWARDS", &tables.told_afterwards, true)
            .override_global("BLOCKING", &blocking, true)
            .override_global("RUNNER", &options.runner, true)
            .map_max_entries("RING_CRITICAL", options.critical_ring_bytes)
            .map_max_entries("RING_BULK", options.bulk_ring_bytes)
            .map_max_entries("EGRESS", room.entries.max(1))
            .map_max_entries("EXES", room.exes.max(1))
            .map_max_entries("SECRET_PATHS", room.secret_paths.max(1))
            .map_max_entries("RULE_COUNTS", room.rules.max(1))
            .load(OBJECT)
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        let started = Instant::now();
        let descriptors = traced::descriptors(&ebpf).map_err(|error| map_error("of the object", "share", &error))?;
        let traced = std::thread::scope(|scope| {
            let traced = scope.spawn(|| Traced::load(OBJECT, &descriptors, tier, functions, *room));
            programs::load(&mut ebpf, *room)?;
            traced.join().unwrap_or_else(|_| Err(LoadError::Object("the loader panicked".into())))
        })?;
        let verified_in = started.elapsed();
        let maps = Maps::take(&mut ebpf)?;
        if let Some(folder) = pins {
            maps.pin(folder)?;
        }
        Ok(Kernel { verified_in, ..Kernel::with(Some(ebpf), traced, maps, Links::default(), tier)? })
    }
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
        let _unlimited = support::UnlimitedMemory::lift();
        let btf = Btf::read(&options.btf)?;
        let offsets = offsets::find(&btf, job_cgroup_level)?;
        let functions = Functions::find(&btf, options.hooks);
        drop(btf);
        let loading = Loading { options, offsets, functions, room };
        let refusal = match options.tier {
            TierChoice::Only(Tier::Tracepoint) => return loading.load(Tier::Tracepoint, pins),
            TierChoice::Only(Tier::Tracing) | TierChoice::Best => hooks::refusal(&loading.functions),
        };
        match (refusal, options.tier) {
            (None, _) => loading.load(Tier::Tracing, pins),
            (Some(reason), TierChoice::Only(_)) => Err(LoadError::NoTracing { reason }),
            (Some(reason), TierChoice::Best) => {
                let mut kernel = loading.load(Tier::Tracepoint, pins)?;
                kernel.no_tracing = Some(reason);
                Ok(kernel)
            }
        }
    }

    /// Takes over what an agent that is gone has pinned: its maps, and the links of its jobs, each by slot and by whether it is
    /// blocked. Nothing is loaded, and
    /// nothing lets go of a hook for a moment.
    pub fn take_over(folder: &Path, jobs: &[(u32, bool)]) -> Result<Self, LoadError> {
        support::require_privileges()?;
        let maps = Maps::open(folder)?;
        // Which hooks of the tracing tier there are is what was pinned.
        let hooks = hooks::HOOKS.iter().map(|hook| hook.program).filter(|name| folder.join(name).exists());
        let names: Vec<_> = traced::on_tracepoints().chain(hooks).collect();
        let opened = Links::open_others(folder, &names)?;
        let traced = Traced::taken_over(&opened);
        let mut links = Links::hold_opened(folder, opened);
        for (slot, blocks) in jobs {
            let on_cgroup: Vec<_> = programs::cgroup_hooks(*blocks).collect();
            links = links.and(Links::open(*slot, folder, &on_cgroup)?);
        }
        let tier = if names.contains(&hooks::HOOKS[0].program) { Tier::Tracing } else { Tier::Tracepoint };
        Self::with(None, traced, maps, links, tier)
    }

    fn with(ebpf: Option<Ebpf>, traced: Traced, mut maps: Maps, links: Links, tier: Tier) -> Result<Self, LoadError> {
        let critical = maps.ring("RING_CRITICAL")?;
        let bulk = maps.ring("RING_BULK")?;
        let rules = Arc::new(Mutex::new(trie(maps.split("EGRESS")?)?));
        let askers = HashMap::try_from(maps.split("ASKERS")?).map_err(|error| map_error("ASKERS", "open", &error))?;
        Ok(Self {
            ebpf,
            traced,
            verified_in: Duration::ZERO,
            tier,
            no_tracing: None,
            maps,
            critical,
            bulk,
            rules,
            askers: Arc::new(askers),
            links,
            counters: Ranges::default(),
            egress: BTreeMap::new(),
            watched: Watched::default(),
            secrets: Secrets::default(),
            guarded: BTreeMap::new(),
            threads: BTreeSet::new(),
        })
    }

    /// The tier that is loaded.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Why there is no tracing tier, where it was tried and refused.
    pub fn no_tracing(&self) -> Option<&str> {
        self.no_tracing.as_deref()
    }

    /// The hooks of the tracing tier, and what became of each.
    pub fn hooks(&self) -> &[HookState] {
        self.traced.states()
    }

    /// Whether opens can be refused here.
    pub fn can_refuse_opens(&self) -> bool {
        self.can_refuse(hooks::HOOKS[hooks::FOUNDATION].program)
    }

    /// Whether a hook, by its program's name, can refuse here what it stands before.
    pub fn can_refuse(&self, program: &str) -> bool {
        let hook = self.hooks().iter().find(|state| state.hook.program == program);
        hook.is_some_and(|state| matches!(state.taken, Ok(Way::ModifyReturn | Way::Lsm)))
    }

    /// Attaches what watches the whole machine and asks for jobs first: tracepoints, and hooks of the tracing tier. From here
    /// on members of jobs are recorded.
    pub fn attach(&mut self, pins: Option<&Path>) -> Result<(), LoadError> {
        let Self { traced, links, .. } = self;
        traced.attach(|name, link| links.hold_other(name, link, pins))
    }

    /// Lets go of everything that isn't pinned.
    ///
    /// A hook before a function of the kernel is gone after a grace period, a tenth of a second and more, and the next one's begins
    /// then: who closes the last descriptor waits for seconds. The kernel doesn't make anybody wait for a link that a pin held last,
    /// so links are in `parting` when their descriptors are closed.
    pub fn part(self, parting: Option<&Path>) {
        if let Some(folder) = parting {
            self.links.park(folder);
        }
    }

    /// What the kernel says now of the links that a job in this cgroup depends on; 0 for the topmost, and then of all.
    pub fn links(&self, cgroup: u64) -> LinkState {
        if cgroup == 0 { links::state() } else { links::state().on(cgroup) }
    }

    /// A pin that a job depends on and that is not where it was put.
    pub fn missing_pin(&self, slot: u32) -> Option<&Path> {
        self.links.missing_pin(slot)
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

    /// Runs that the kernel left out, by program; those that watch the whole machine alone, none on a cgroup can be. Whose they were,
    /// nobody knows.
    pub fn skipped_runs(&self) -> BTreeMap<&'static str, u64> {
        self.traced.skipped()
    }

    /// Programs of which runs are left out where the kernel preempts one in its midst.
    pub fn interruptible(&self) -> Vec<&'static str> {
        self.traced.interruptible().collect()
    }

    /// How long loading the programs took, nearly all of it the verifier's.
    pub fn verified_in(&self) -> Duration {
        self.verified_in
    }

    /// Names of the programs that are loaded and the instructions that the verifier went through for each, where the kernel tells.
    pub fn complexity(&self) -> Vec<(String, Option<u32>)> {
        let on_cgroups = self.ebpf.iter().flat_map(Ebpf::programs);
        // The object also has those that are loaded in another way, and what this agent's jobs don't need wasn't loaded: there is
        // nothing to tell of them here.
        let on_cgroups = on_cgroups
            .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?.verified_instruction_count())));
        on_cgroups.chain(self.traced.complexity().map(|(name, verified)| (name.to_owned(), verified))).collect()
    }
}
