//! Where a keeper is asked about its jobs by the daemon that came after the one that began them: a socket in the folder that it
//! holds, which root alone reaches.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener as Listener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::agent::service::{Begun, Standing};
use crate::agent::state::Held;
use crate::agent::station::Station;
use crate::event::Finding;
use crate::notice::Account;
use crate::report::summary::Summary;
use crate::sink::wire::recall::recall;

/// How long whoever asks may take to say what.
const HEAR_WITHIN: Duration = Duration::from_secs(2);

/// Bytes of a question at most.
const MOST_BYTES: u64 = 64 << 10;

/// Reads a question and answers it.
pub type Clerk = fn(&mut Kept<'_>, &[u8]) -> Vec<u8>;

/// The socket, open before anybody knows of the keeper.
pub(super) fn open(held: &Held) -> io::Result<Listener> {
    let path = held.desk();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = Listener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The next one who asks; never, where there is no socket.
pub(super) async fn next(listener: Option<&UnixListener>) -> io::Result<UnixStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

/// Hears one out. Only root comes here, so that the jobs may wait meanwhile.
pub(super) async fn hear(mut stream: UnixStream, mut kept: Kept<'_>, clerk: Clerk) {
    let mut question = Vec::new();
    let mut limited = (&mut stream).take(MOST_BYTES);
    if let Ok(Ok(_)) = tokio::time::timeout(HEAR_WITHIN, limited.read_to_end(&mut question)).await {
        // Whoever doesn't wait for the answer needs none.
        let _ = tokio::time::timeout(HEAR_WITHIN, stream.write_all(&clerk(&mut kept, &question))).await;
    }
}

/// What jobs did before they were taken over, by slot. Their logs may be long and are read beside what is going on.
#[derive(Default)]
pub(super) struct Memories(BTreeMap<u32, Memory>);

enum Memory {
    Reading(JoinHandle<Result<Summary, String>>),
    Read(Result<Arc<Summary>, String>),
}

impl Memories {
    /// Begins to read a job's log up to the line with this number; `subjects` are those of its findings, where they are known.
    pub(super) fn read(&mut self, slot: u32, log: PathBuf, last: u64, subjects: Vec<String>) {
        let read = move || Ok(recall(&log, last)?.with_subjects(subjects));
        let thread = std::thread::Builder::new().spawn(read);
        let memory = thread.map_or_else(|error| Memory::Read(Err(error.to_string())), Memory::Reading);
        self.0.insert(slot, memory);
    }

    /// What a job did before, once it is read.
    pub(super) fn of(&mut self, slot: u32) -> Result<Arc<Summary>, String> {
        let read = match self.0.remove(&slot) {
            None => Err("it has no log".to_owned()),
            Some(Memory::Read(read)) => read,
            Some(Memory::Reading(thread)) => {
                let read = thread.join().unwrap_or_else(|_| Err("its log can't be read".to_owned()));
                read.map(Arc::new)
            }
        };
        self.0.insert(slot, Memory::Read(read.clone()));
        read
    }
}

/// The jobs that a keeper has, as they are asked for.
pub struct Kept<'a> {
    pub(super) station: &'a mut Station,
    pub(super) memories: &'a mut Memories,
}

impl Kept<'_> {
    /// Hands what came of a job so far to `tell`, what it did before it was taken over included, and notes by whom its end was
    /// announced, if it was. The account reaches back to the start of the daemon that began it. The error says why there is none.
    pub fn announce_end<T>(
        &mut self,
        id: &str,
        by: Option<u32>,
        tell: impl FnOnce(&Begun, &Summary, &Account, &dyn Fn(&Finding) -> u64) -> T,
    ) -> Result<T, String> {
        let Self { station, memories } = self;
        let slot = slot(station, id)?;
        let before = Summary::clone(&*memories.of(slot)?);
        station.take_in();
        let account = station.account_so_far(slot).map_err(|error| error.to_string())?;
        let (Some(row), Some(begun)) = (station.flow.row(slot), begun(station, slot)) else { return Err(over(id)) };
        let pipeline = &station.flow.pipeline;
        // Of a finding that the log had already, the count may have gone with the agent before.
        let occurrences = |found: &Finding| pipeline.occurrences_of(slot, found).max(1);
        let told = tell(&begun, &before.followed_by(&row.summary), &account, &occurrences);
        if let Some(by) = by {
            station.announce_end(slot, by);
        }
        Ok(told)
    }

    /// What a job began with, as far as its keeper knows.
    pub fn begun(&self, id: &str) -> Result<Begun, String> {
        begun(self.station, slot(self.station, id)?).ok_or_else(|| over(id))
    }

    /// Hands how a job stands to `tell`.
    pub fn standing<T>(&self, id: &str, tell: impl FnOnce(&Standing<'_>) -> T) -> Result<T, String> {
        let slot = slot(self.station, id)?;
        let (Some(at_work), Some(begun)) = (self.station.jobs.get(&slot), begun(self.station, slot)) else {
            return Err(over(id));
        };
        let (is_announced, processes) = (self.station.is_announced(slot), at_work.cgroup.processes().len());
        Ok(tell(&Standing { begun: &begun, is_announced, processes, worker: None }))
    }

    /// Tells in a job's log that somebody asked for what is not his to ask for.
    pub fn refused(&mut self, id: &str, detail: &str) -> Result<(), String> {
        let slot = slot(self.station, id)?;
        self.station.refused(slot, detail);
        Ok(())
    }
}

fn slot(station: &Station, id: &str) -> Result<u32, String> {
    let found = station.jobs.values().find(|at_work| &*at_work.job.id == id);
    found.map(|at_work| at_work.job.slot).ok_or_else(|| over(id))
}

fn begun(station: &Station, slot: u32) -> Option<Begun> {
    let at_work = station.jobs.get(&slot)?;
    let policy = &at_work.job.policy;
    let sealing = at_work.sealing();
    let trust = sealing.and_then(|sealing| sealing.trust.as_ref());
    Some(Begun {
        id: at_work.job.id.clone(),
        mode: policy.mode,
        tier: station.kernel.tier().name(),
        trust: trust.map(|(tier, because)| (tier.as_str(), because.clone())),
        policy: policy.name.clone(),
        policy_sha256: policy.origin.sha256.clone(),
        log: at_work.log.clone()?,
        receipt: sealing.map(|sealing| sealing.receipt.clone()),
    })
}

fn over(id: &str) -> String {
    format!("{id} has just ended")
}
