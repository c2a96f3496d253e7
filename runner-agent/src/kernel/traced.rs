//! The programs that watch the whole machine: on tracepoints, which both tiers have, and before functions of the kernel, which
//! are the tracing tier. Checked by the verifier, put in their places, and asked what the kernel left out of their runs.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::maps::Map;
use tracing_loader::{Loaded, MapHandle, Object, Place, Preemption, Program, Way};

use super::LoadError;
use super::hooks::{self, FOUNDATION, Functions, HOOKS, HookState, WAYS, When};
use super::jobs::Room;
use super::support;
use super::tier::Tier;

/// Tracepoint programs and their tracepoints.
const TRACEPOINTS: [(&str, &CStr); 5] = [
    ("process_fork", c"sched_process_fork"),
    ("process_exec", c"sched_process_exec"),
    ("process_exit", c"sched_process_exit"),
    ("cgroup_attach", c"cgroup_attach_task"),
    ("sys_exit", c"sys_exit"),
];

/// Names of the programs on tracepoints.
pub(super) fn on_tracepoints() -> impl Iterator<Item = &'static str> {
    TRACEPOINTS.iter().map(|(name, _)| *name)
}

/// Programs that were accepted, and hooks that were not.
#[derive(Default)]
pub(super) struct Traced {
    loaded: Vec<(&'static str, Loaded)>,
    /// Of an agent that is gone.
    taken_over: Vec<(&'static str, Program)>,
    states: Vec<HookState>,
}

impl Traced {
    /// Has the verifier look at all of them, on all CPUs at once: it takes most of the time until the agent is ready. Those
    /// before functions are the tracing tier's.
    pub(super) fn load(
        object: &[u8],
        maps: &[(String, OwnedFd)],
        tier: Tier,
        functions: &Functions,
        room: Room,
    ) -> Result<Self, LoadError> {
        let handles: Vec<_> = maps.iter().map(|(name, map)| MapHandle { name, map: map.as_fd() }).collect();
        let object = Object::with_maps(object, &handles).map_err(|error| LoadError::Object(Box::new(error)))?;
        let is_wanted = |index: &usize| match HOOKS[*index].when {
            When::ReadsRefused => room.refuses_reads,
            When::WorkersTaken => room.takes_workers,
            When::Always | When::WhereThereIs => functions.needs(*index),
        };
        std::thread::scope(|scope| {
            let object = &object;
            let for_tracepoints = functions.preemption.filter(|_| tracepoints_preempt());
            // One of these takes longer than any other.
            let on_tracepoints: Vec<_> = TRACEPOINTS
                .iter()
                .map(|&(name, tracepoint)| {
                    (name, scope.spawn(move || load_one(object, name, Place::Tracepoint(tracepoint), for_tracepoints)))
                })
                .collect();
            let hooks = if tier == Tier::Tracing { 0..HOOKS.len() } else { 0..0 };
            let before_functions: Vec<_> = hooks
                .filter(is_wanted)
                .map(|index| (index, scope.spawn(move || load_hook(object, functions, index))))
                .collect();
            let mut traced = Self::default();
            for (name, thread) in on_tracepoints {
                let loaded = thread.join().unwrap_or_else(|_| panicked());
                let loaded = loaded.map_err(|detail| LoadError::Program { program: name, action: "load", detail })?;
                traced.loaded.push((name, loaded));
            }
            for (index, thread) in before_functions {
                traced.take_hook(index, thread.join().unwrap_or_else(|_| panicked()))?;
            }
            Ok(traced)
        })
    }

    /// What an agent that is gone has put in its place, by the links: they stay, and what they run is asked for its figures.
    pub(super) fn taken_over(links: &[(&'static str, OwnedFd)]) -> Self {
        let programs = links.iter().filter_map(|(name, link)| match Program::of_link(link.as_fd()) {
            Ok(program) => Some((*name, program)),
            Err(error) => {
                tracing::warn!("what the kernel leaves out of the runs of {name} can't be told: {error}");
                None
            }
        });
        Self { taken_over: programs.collect(), ..Self::default() }
    }

    fn take_hook(&mut self, index: usize, result: Result<(Way, Loaded), String>) -> Result<(), LoadError> {
        let hook = &HOOKS[index];
        let (taken, verified) = match result {
            Ok((way, loaded)) => {
                let verified = loaded.verified_instructions();
                self.loaded.push((hook.program, loaded));
                (Ok(way), verified)
            }
            Err(detail) if index == FOUNDATION => {
                return Err(LoadError::Program { program: hook.program, action: "load", detail });
            }
            Err(error) => (Err(error), None),
        };
        self.states.push(HookState { hook, taken, verified });
        Ok(())
    }

    /// Puts them in their places.
    pub(super) fn attach(
        &mut self,
        mut keep: impl FnMut(&'static str, OwnedFd) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        for (name, program) in &self.loaded {
            let state = self.states.iter_mut().find(|state| state.hook.program == *name);
            match (program.attach(), state) {
                (Ok(link), _) => keep(name, link)?,
                (Err(error), Some(state)) if *name != HOOKS[FOUNDATION].program => {
                    state.taken = Err(error.to_string());
                }
                (Err(error), _) => {
                    return Err(LoadError::Program { program: name, action: "attach", detail: error.to_string() });
                }
            }
        }
        Ok(())
    }

    /// Every hook that was wanted.
    pub(super) fn states(&self) -> &[HookState] {
        &self.states
    }

    /// Instructions that the verifier went through for each program that was loaded, where the kernel tells.
    pub(super) fn complexity(&self) -> impl Iterator<Item = (&'static str, Option<u32>)> {
        let is_there = |name: &str| self.states.iter().all(|state| state.hook.program != name || state.taken.is_ok());
        let there = self.loaded.iter().filter(move |(name, _)| is_there(name));
        there.map(|(name, loaded)| (*name, loaded.verified_instructions()))
    }

    /// Programs of which the kernel leaves out runs where it preempts them in their midst; nothing where they were taken over.
    pub(super) fn interruptible(&self) -> impl Iterator<Item = &'static str> {
        let is_exempt = |name: &str| !tracepoints_preempt() && on_tracepoints().any(|found| found == name);
        let loaded = self.loaded.iter().filter(move |(name, loaded)| !loaded.is_whole() && !is_exempt(name));
        loaded.map(|(name, _)| *name)
    }

    /// Runs that the kernel left out of each program since it was loaded; programs without any are left out.
    pub(super) fn skipped(&self) -> BTreeMap<&'static str, u64> {
        let loaded = self.loaded.iter().map(|(name, loaded)| (*name, loaded.program()));
        let programs = loaded.chain(self.taken_over.iter().map(|(name, program)| (*name, program)));
        let skipped = programs.filter_map(|(name, program)| Some((name, program.figures().ok()?.skipped_runs?)));
        skipped.filter(|(_, runs)| *runs > 0).collect()
    }
}

/// Whether what is on a tracepoint can be preempted: since Linux 7.0, and nothing but the number tells of it. To forbid it costs every
/// system call on the machine some 50 ns, which is not for kernels that don't do it.
fn tracepoints_preempt() -> bool {
    let uname = rustix::system::uname();
    support::version(&uname.release().to_string_lossy()).is_none_or(|version| version >= (7, 0))
}

fn panicked<T>() -> Result<T, String> {
    Err("the loader panicked".to_owned())
}

fn load_one(object: &Object, program: &str, place: Place, preemption: Option<Preemption>) -> Result<Loaded, String> {
    let instructions = object.program(program).ok_or_else(|| format!("the object has no program {program}"))?;
    Loaded::load(program, instructions, object.licence(), place, preemption).map_err(|refused| refused.to_string())
}

fn load_hook(object: &Object, functions: &Functions, index: usize) -> Result<(Way, Loaded), String> {
    let mut refusals = Vec::new();
    for way in WAYS {
        let place = functions.id(index, way).map(|id| Place::Function(way, id));
        match place.and_then(|place| load_one(object, HOOKS[index].program, place, functions.preemption)) {
            Ok(program) => return Ok((way, program)),
            Err(error) => refusals.push(format!("{}: {error}", hooks::word(way))),
        }
    }
    Err(refusals.join("; "))
}

/// Descriptors of all maps by their names in the object, of their own: what loads other programs has the object to itself meanwhile.
pub(super) fn descriptors(ebpf: &Ebpf) -> std::io::Result<Vec<(String, OwnedFd)>> {
    let maps = ebpf.maps().filter_map(|(name, map)| Some((name, descriptor(map)?)));
    maps.map(|(name, map)| Ok((name.to_owned(), map.try_clone_to_owned()?))).collect()
}

/// The descriptor of a map, whatever its type.
fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::LpmTrie(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data)
        | Map::SkStorage(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}
