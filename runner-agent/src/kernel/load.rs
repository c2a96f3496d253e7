//! Loads the probes, attaches them, and is the handle on their rings and maps for as long as they run.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{CgroupAttachMode, CgroupSkb, Program, RawTracePoint};
use aya::{Ebpf, EbpfLoader};
use runner_agent_common::map::{Counters, FileKey, NameFilter, Task};
use runner_agent_common::record::{ProcessKey, probe};

use super::cgroup::JobCgroup;
use super::watch::WatchKeys;
use super::{LoadError, btf::Btf, offsets, support};
use crate::decode::peek_at_ns;

/// The kernel side, built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/runner-agent.bpf.o"));

/// Tracepoint programs and their tracepoints.
const TRACEPOINTS: [(&str, &str); 5] = [
    ("process_fork", "sched_process_fork"),
    ("process_exec", "sched_process_exec"),
    ("process_exit", "sched_process_exit"),
    ("cgroup_attach", "cgroup_attach_task"),
    ("sys_exit", "sys_exit"),
];

/// Programs on the job's cgroup.
const CGROUP_HOOKS: [&str; 7] =
    ["connect4", "connect6", "sendmsg4", "sendmsg6", "sock_create", "packet_out", "packet_in"];

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
    ebpf: Ebpf,
    critical: RingBuf<MapData>,
    bulk: RingBuf<MapData>,
    counters: PerCpuArray<MapData, Counters>,
    /// Of the name filter.
    generation: u64,
}

impl Kernel {
    /// Loads every probe, attached to nothing yet; jobs live in cgroups `job_cgroup_level` levels below the root.
    pub fn load(options: &LoadOptions, job_cgroup_level: u32) -> Result<Self, LoadError> {
        support::require_privileges()?;
        let btf = Btf::read(&options.btf)?;
        let offsets = offsets::find(&btf, job_cgroup_level)?;
        drop(btf);
        let actions = offsets::syscall_actions();
        let mut ebpf = EbpfLoader::new()
            // The object carries no relocations against the kernel's types; parsing them again would cost 30 ms.
            .btf(None)
            .override_global("OFFSETS", &offsets, true)
            .override_global("SYSCALL_ACTIONS", &actions, true)
            .map_max_entries("RING_CRITICAL", options.critical_ring_bytes)
            .map_max_entries("RING_BULK", options.bulk_ring_bytes)
            .load(OBJECT)
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        load_programs(&mut ebpf)?;
        let critical = ring(&mut ebpf, "RING_CRITICAL")?;
        let bulk = ring(&mut ebpf, "RING_BULK")?;
        let counters = ebpf
            .take_map("COUNTERS")
            .ok_or_else(|| missing("COUNTERS"))
            .and_then(|map| PerCpuArray::try_from(map).map_err(|error| map_error("COUNTERS", "open", &error)))?;
        Ok(Self { ebpf, critical, bulk, counters, generation: 0 })
    }

    /// Tells the probes what to watch. Names and files are additive: what is watched stays watched until the agent ends.
    pub fn watch(&mut self, keys: &WatchKeys) -> Result<(), LoadError> {
        self.generation += 1;
        let mut names: HashMap<_, u64, u32> = map(&mut self.ebpf, "NAMES")?;
        for hash in &keys.names {
            names.insert(hash, 1, 0).map_err(|error| map_error("NAMES", "fill", &error))?;
        }
        let mut files: HashMap<_, FileKey, u32> = map(&mut self.ebpf, "FILES")?;
        for file in &keys.files {
            files.insert(file, 1, 0).map_err(|error| map_error("FILES", "fill", &error))?;
        }
        let mut filter: Array<_, NameFilter> = map(&mut self.ebpf, "NAME_FILTER")?;
        filter.set(0, keys.filter(self.generation << 32), 0).map_err(|error| map_error("NAME_FILTER", "fill", &error))
    }

    /// Makes a cgroup a job: hooks first, so that nothing of the job goes by unseen, then the entry in the map.
    pub fn add_job(&mut self, cgroup: &JobCgroup, slot: u32) -> Result<(), LoadError> {
        let directory = File::open(cgroup.path()).map_err(|source| LoadError::Cgroup {
            action: "open",
            path: cgroup.path().to_owned(),
            source,
        })?;
        for name in CGROUP_HOOKS {
            // A link shares the hook with others by itself; the kernel refuses flags here.
            let mode = CgroupAttachMode::Single;
            match self.ebpf.program_mut(name) {
                Some(Program::CgroupSockAddr(program)) => program.attach(&directory, mode).map(drop),
                Some(Program::CgroupSock(program)) => program.attach(&directory, mode).map(drop),
                Some(Program::CgroupSkb(program)) => attach_packets(program, &directory, name),
                _ => return Err(missing(name)),
            }
            .map_err(|error| refused(name, "attach", &error))?;
        }
        let mut jobs: HashMap<_, u64, u32> = map(&mut self.ebpf, "JOBS")?;
        jobs.insert(cgroup.id(), slot, 0).map_err(|error| map_error("JOBS", "fill", &error))?;
        let mut latest: Array<_, u64> = map(&mut self.ebpf, "LATEST_JOB")?;
        latest.set(0, cgroup.id(), 0).map_err(|error| map_error("LATEST_JOB", "fill", &error))
    }

    /// The cgroup is no job any more; its hooks go when the cgroup goes.
    pub fn remove_job(&mut self, cgroup: &JobCgroup) -> Result<(), LoadError> {
        let mut jobs: HashMap<_, u64, u32> = map(&mut self.ebpf, "JOBS")?;
        jobs.remove(&cgroup.id()).map_err(|error| map_error("JOBS", "clear", &error))
    }

    /// Processes of a job that are alive, in its cgroup or not.
    pub fn members(&self, slot: u32) -> Result<Vec<ProcessKey>, LoadError> {
        let map = self.ebpf.map("TASKS").ok_or_else(|| missing("TASKS"))?;
        let tasks: HashMap<_, u32, Task> = map.try_into().map_err(|error| map_error("TASKS", "open", &error))?;
        let members = tasks.iter().filter_map(Result::ok).filter(|(_, task)| task.job == slot);
        Ok(members.map(|(tgid, task)| ProcessKey { start_ns: task.start_ns, tgid, reserved: 0 }).collect())
    }

    /// Attaches the tracepoints: from here on members of jobs are recorded.
    pub fn attach_tracepoints(&mut self) -> Result<(), LoadError> {
        for (name, tracepoint) in TRACEPOINTS {
            let program: &mut RawTracePoint = program(&mut self.ebpf, name)?;
            program.attach(tracepoint).map_err(|error| refused(name, "attach", &error))?;
        }
        Ok(())
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
    pub fn counters(&self) -> Result<[Counters; probe::COUNT], LoadError> {
        let mut sums = [Counters::default(); probe::COUNT];
        for (index, sum) in sums.iter_mut().enumerate() {
            let per_cpu =
                self.counters.get(&(index as u32), 0).map_err(|error| map_error("COUNTERS", "read", &error))?;
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
        self.ebpf
            .programs()
            .map(|(name, program)| {
                (name.to_owned(), program.info().ok().and_then(|info| info.verified_instruction_count()))
            })
            .collect()
    }
}

/// Has the verifier look at the programs on all CPUs at once: it takes most of the time until the agent is ready, and
/// one program takes half of that.
fn load_programs(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let names = TRACEPOINTS.iter().map(|(name, _)| *name).chain(CGROUP_HOOKS);
    let mut wanted: std::collections::HashMap<&str, &'static str> = names.map(|name| (name, name)).collect();
    std::thread::scope(|scope| {
        let mut loading = Vec::new();
        for (found, program) in ebpf.programs_mut() {
            if let Some(name) = wanted.remove(found) {
                loading.push((name, scope.spawn(move || load_program(program))));
            }
        }
        for (name, thread) in loading {
            let loaded = thread.join().unwrap_or_else(|_| Err("the loader panicked".to_owned()));
            loaded.map_err(|detail| LoadError::Program { program: name, action: "load", detail })?;
        }
        Ok(())
    })?;
    wanted.into_values().next().map_or(Ok(()), |name| Err(missing(name)))
}

fn load_program(program: &mut Program) -> Result<(), String> {
    match program {
        Program::RawTracePoint(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        _ => return Err("it is of a kind that this version doesn't load".to_owned()),
    }
    .map_err(|error| detail_of(&error))
}

fn attach_packets(program: &mut CgroupSkb, directory: &File, name: &str) -> Result<(), aya::programs::ProgramError> {
    use aya::programs::CgroupSkbAttachType::{Egress, Ingress};
    let direction = if name == "packet_out" { Egress } else { Ingress };
    program.attach(directory, direction, CgroupAttachMode::Single).map(drop)
}

fn ring(ebpf: &mut Ebpf, name: &'static str) -> Result<RingBuf<MapData>, LoadError> {
    let map = ebpf.take_map(name).ok_or_else(|| missing(name))?;
    RingBuf::try_from(map).map_err(|error| map_error(name, "open", &error))
}

fn map<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, LoadError>
where
    T: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    T::try_from(map).map_err(|error| map_error(name, "open", &error))
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut T, LoadError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| refused(name, "load", &error))
}

fn refused(program: &'static str, action: &'static str, error: &dyn std::error::Error) -> LoadError {
    LoadError::Program { program, action, detail: detail_of(error) }
}

/// The kernel's own words; the verifier's log is cut to its last lines, where the reason stands.
fn detail_of(error: &dyn std::error::Error) -> String {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        detail.push_str(": ");
        detail.push_str(&cause.to_string());
        source = cause.source();
    }
    let lines: Vec<&str> = detail.lines().collect();
    if lines.len() > 12 { lines[lines.len() - 12..].join("\n") } else { detail }
}

fn missing(name: &'static str) -> LoadError {
    LoadError::Object(format!("the object has no {name}").into())
}

fn map_error(map: &'static str, action: &'static str, error: &dyn std::error::Error) -> LoadError {
    LoadError::Map { map, action, detail: error.to_string() }
}
