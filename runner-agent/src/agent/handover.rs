//! What an agent that is asked to end hands to the keeper of its jobs: what it alone knows, and what may stand in no file. It goes from
//! memory to memory, through a socket that is the keeper's standard input and output: unlike a
//! pipe it can't be opened by way of /proc.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use runner_agent_common::map::Counters;
use runner_agent_common::record::probe;
use serde::{Deserialize, Serialize};

use super::account::Bookkeeper;
use super::at_work::AtWork;
use super::flow::Row;
use super::sealing::Sealing;
use crate::ledger::{SigningKey, Written};
use crate::notice::Account;
use crate::pipeline::Pipeline;
use crate::policy::DETECTORS;
use crate::receipt::HookTaken;

/// What is handed over.
#[derive(Serialize, Deserialize)]
pub(super) struct Handover {
    /// The key that signs the logs, in base64.
    key: String,
    /// Records that came off the rings, and of these decoded and refused.
    records: [u64; 3],
    /// Each hook of the tracing tier, and what became of it.
    pub(super) hooks: Vec<HookTaken>,
    /// By slot.
    pub(super) jobs: BTreeMap<u32, Share>,
}

/// The share of one job.
#[derive(Serialize, Deserialize)]
pub(super) struct Share {
    /// When it began, nanoseconds since boot.
    pub(super) began_ns: u64,
    /// Why its blocking was taken away, if it was.
    pub(super) disarmed: Option<String>,
    /// Values that stay out of its log.
    pub(super) secrets: Vec<String>,
    /// How far its log was written.
    pub(super) log: Written,
    /// How often each finding occurred: detector, subject, count.
    found: Vec<(String, String, u64)>,
    /// What the findings were about that the log has, in its order: it doesn't say.
    pub(super) subjects: Vec<String>,
    /// Number of the last notice, whether it is in the log or not.
    pub(super) last_seq: u64,
    /// DNS messages that could not be read.
    pub(super) unreadable_dns: u64,
    /// The account of everything when the job began.
    beginning: Counts,
    /// The job's own so far, of which every loss was told.
    so_far: Counts,
}

/// An account, with names that a reader looks up.
#[derive(Serialize, Deserialize)]
struct Counts {
    /// `seen`, `submitted`, `ring_full`, `oversize`, `busy`, `map_full` by probe.
    probes: BTreeMap<String, [u64; 6]>,
    records: [u64; 3],
    notices_dropped: u64,
    skipped: BTreeMap<String, u64>,
}

impl Handover {
    /// Of no job yet.
    pub(super) fn new(key: &SigningKey, book: &Bookkeeper, hooks: Vec<HookTaken>) -> Self {
        let records = [book.received, book.decoded, book.refused];
        Self { key: key.hand_on(), records, hooks, jobs: BTreeMap::new() }
    }

    /// For the socket.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| error.to_string())
    }

    /// Reads what the agent before wrote to the socket; nothing where it was gone and somebody else started the keeper.
    pub(super) fn receive() -> Result<Option<Self>, String> {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("what is handed over: {error}"))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("what is handed over: {error}"))
    }

    /// The key.
    pub(super) fn key(&self) -> Result<Arc<SigningKey>, String> {
        SigningKey::handed_on(&self.key).map(Arc::new).map_err(|error| error.to_string())
    }

    /// What was received so far.
    pub(super) fn book(&self) -> Bookkeeper {
        let [received, decoded, refused] = self.records;
        Bookkeeper { received, decoded, refused, inherits: false }
    }
}

impl Share {
    /// Of a job whose log is closed by now, and that has this account.
    pub(super) fn of(at_work: &AtWork, sealing: &Sealing, row: &Row, pipeline: &Pipeline, so_far: &Account) -> Self {
        let slot = at_work.job.slot;
        Self {
            began_ns: at_work.began_ns,
            disarmed: at_work.disarmed.clone(),
            secrets: at_work.job.redactor.values().to_vec(),
            log: sealing.ledger.written(),
            found: pipeline.found(slot).into_iter().map(|(id, about, count)| (id.to_owned(), about, count)).collect(),
            subjects: row.summary.findings().iter().map(|found| found.subject.clone()).collect(),
            last_seq: pipeline.last_seq(slot),
            unreadable_dns: pipeline.unreadable_dns(slot),
            beginning: Counts::of(row.told.beginning()),
            so_far: Counts::of(so_far),
        }
    }

    /// How often each finding occurred.
    pub(super) fn found(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        let known = |id: &str| DETECTORS.iter().find(|known| **known == id).copied();
        self.found.iter().filter_map(move |(id, subject, count)| Some((known(id)?, subject.clone(), *count)))
    }

    /// The account of everything when the job began, and the job's own when it was handed over. `programs` are those of which runs have been
    /// left out.
    pub(super) fn accounts(&self, programs: &[&'static str]) -> (Account, Account) {
        (self.beginning.account(programs), self.so_far.account(programs))
    }
}

impl Counts {
    fn of(account: &Account) -> Self {
        let counts = |counters: &Counters| {
            let Counters { seen, submitted, ring_full, oversize, busy, map_full } = *counters;
            [seen, submitted, ring_full, oversize, busy, map_full]
        };
        Self {
            probes: account.probes.iter().map(|(name, counters)| ((*name).to_owned(), counts(counters))).collect(),
            records: [account.received, account.decoded, account.refused],
            notices_dropped: account.notices_dropped,
            skipped: account.skipped.iter().map(|(name, runs)| ((*name).to_owned(), *runs)).collect(),
        }
    }

    fn account(&self, programs: &[&'static str]) -> Account {
        let counters = |[seen, submitted, ring_full, oversize, busy, map_full]: [u64; 6]| Counters {
            seen,
            submitted,
            ring_full,
            oversize,
            busy,
            map_full,
        };
        let probe = |name: &&'static str| Some((*name, counters(*self.probes.get(*name)?)));
        let program = |name: &&'static str| Some((*name, *self.skipped.get(*name)?));
        let [received, decoded, refused] = self.records;
        Account {
            probes: probe::NAMES.iter().filter_map(probe).collect(),
            received,
            decoded,
            refused,
            notices_dropped: self.notices_dropped,
            skipped: programs.iter().filter_map(program).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_comes_back_as_it_was() {
        let counters = Counters { seen: 9, submitted: 5, ring_full: 1, oversize: 1, busy: 2, map_full: 3 };
        let account = Account {
            probes: BTreeMap::from([(probe::NAMES[0], counters)]),
            received: 5,
            decoded: 4,
            refused: 1,
            notices_dropped: 6,
            skipped: BTreeMap::from([("file_open", 7)]),
        };
        assert_eq!(Counts::of(&account).account(&["file_open", "sys_exit"]), account);
    }

    #[test]
    fn a_key_signs_as_the_same_one_when_it_was_handed_over() {
        let key = SigningKey::generate().unwrap();
        let hooks =
            vec![("file_open".to_owned(), Ok("lsm".to_owned())), ("path_chown".to_owned(), Err("none".to_owned()))];
        let handover =
            Handover::new(&key, &Bookkeeper { received: 3, decoded: 2, refused: 1, inherits: false }, hooks.clone());
        let again: Handover = serde_json::from_slice(&handover.bytes().unwrap()).unwrap();
        assert_eq!(again.key().unwrap().public(), key.public());
        assert_eq!(again.hooks, hooks);
        assert_eq!((again.book().received, again.book().decoded, again.book().refused), (3, 2, 1));
    }
}
