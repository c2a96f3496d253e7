//! The seal on a job: signatures on its log while it runs, and at its end a receipt and a statement about it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::at_work::AtWork;
use super::run::Outcome;
use super::station::Station;
use super::subjects::artifacts;
use crate::identity::JobIdentity;
use crate::job::Job;
use crate::kernel::{Tier, procfs};
use crate::ledger::{Ledger, SigningKey};
use crate::notice::{Account, Content, ReceiptIssued};
use crate::policy::Trust;
use crate::receipt::{Facts, HookTaken, LogState, Receipt, Setup};
use crate::sink::wire::{Encoder, receipt, statement};
use crate::text::hex;

/// How often a log is signed while its job runs; also the sign of life that whoever receives checkpoints can miss.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// What becomes of a job's log when it is signed.
pub struct Sealing {
    /// The log, and the key that signs it.
    pub ledger: Arc<Ledger>,
    /// Where the receipt goes.
    pub receipt: PathBuf,
    /// Where the statement goes.
    pub statement: PathBuf,
    /// Which job it is, where a provider says so.
    pub identity: Option<JobIdentity>,
    /// How far its code is trusted, and why, where that was asked.
    pub trust: Option<(Trust, String)>,
    /// Files that the statement is to be about, read when the job has ended.
    pub subjects: Vec<PathBuf>,
    /// For moments.
    pub encoder: Encoder,
    /// How often the log is signed.
    pub every: Duration,
}

impl Sealing {
    /// The seal of the log at this path: its receipt and statement lie beside it.
    pub fn beside(log: &Path, key: Arc<SigningKey>, encoder: Encoder) -> Self {
        let with = |end: &str| {
            let mut name = log.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        Self {
            ledger: Arc::new(Ledger::new(key)),
            receipt: with(".receipt.json"),
            statement: with(".intoto.json"),
            identity: None,
            trust: None,
            subjects: Vec::new(),
            encoder,
            every: CHECKPOINT_EVERY,
        }
    }
}

/// A seal at work.
pub(super) struct Seal {
    pub(super) sealing: Sealing,
    signed: Instant,
}

impl Seal {
    pub(super) fn new(sealing: Sealing) -> Self {
        Self { sealing, signed: Instant::now() }
    }
}

/// A job that has ended, as far as a receipt is about it.
pub(super) struct Over {
    pub(super) job: Arc<Job>,
    pub(super) log: Option<PathBuf>,
    pub(super) seal: Option<Seal>,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
}

impl Station {
    /// Tells the other sinks of signatures that are on the disk, and has the logs signed whose time has come.
    pub(super) fn checkpoints(&mut self) {
        let Self { flow, jobs, .. } = self;
        for AtWork { job, seal, .. } in jobs.values_mut() {
            let Some(seal) = seal else { continue };
            flow.tell_signed(job, seal.sealing.ledger.take_signed());
            if seal.signed.elapsed() >= seal.sealing.every {
                seal.signed = Instant::now();
                flow.announce(job, Content::Checkpoint(None));
            }
        }
        flow.send();
    }

    /// Closes a job's log, writes the receipt, tells the other sinks of it, and forgets the job.
    pub(super) fn seal(&mut self, over: Over, disarmed: Option<String>, account: Account) -> Outcome {
        let slot = over.job.slot;
        let notices_dropped = self.flow.close_log(slot);
        let account = Account { notices_dropped, ..account };
        if let Some(seal) = &over.seal {
            self.flow.tell_signed(&over.job, seal.sealing.ledger.take_signed());
        }
        let receipt = over.seal.as_ref().and_then(|seal| self.issue(&over, &seal.sealing, disarmed.clone(), &account));
        let summary = self.flow.end_job(slot);
        Outcome { status: None, disarmed, summary, account, receipt }
    }

    fn issue(
        &mut self,
        over: &Over,
        sealing: &Sealing,
        disarmed: Option<String>,
        account: &Account,
    ) -> Option<PathBuf> {
        let Some(log) = &over.log else { return None };
        let row = self.flow.row(over.job.slot)?;
        // What was told occurred; how often before an agent was gone, nobody may know.
        let occurrences = |found: &_| self.flow.pipeline.occurrences_of(over.job.slot, found).max(1);
        let summary = Facts::of(&row.summary, &occurrences);
        let key = sealing.ledger.key();
        let receipt = Receipt {
            job: over.job.id.clone(),
            host: procfs::host_name(),
            identity: sealing.identity.clone(),
            trust: sealing.trust.clone(),
            time: (sealing.encoder.timestamp(over.began_ns), sealing.encoder.timestamp(over.ended_ns)),
            agent: setup(self.kernel.tier(), self.hooks()),
            mode: over.job.policy.mode,
            disarmed,
            summary,
            account: account.clone(),
            log: LogState { file: log.clone(), written: sealing.ledger.written() },
            artifacts: artifacts(&sealing.subjects),
            key: key.public(),
        };
        let bytes = receipt::write(&receipt, key);
        let written = write(&sealing.statement, &statement::write(&receipt, key))
            .map_err(|error| (&sealing.statement, error))
            .and_then(|()| write(&sealing.receipt, &bytes).map_err(|error| (&sealing.receipt, error)));
        if let Err((path, error)) = written {
            tracing::error!("the job has no receipt: can't write {}: {error}", path.display());
            return None;
        }
        let issued = ReceiptIssued {
            sha256: hex(&Sha256::digest(&bytes)),
            log_sha256: receipt.log.written.sha256,
            lines: receipt.log.written.lines,
            head: receipt.log.written.head,
            key: receipt.key.to_string(),
            mode: receipt.mode,
            seen: account.seen(),
            lost: account.missing(),
            findings: receipt.summary.findings.len() as u64,
        };
        self.flow.announce(&over.job, Content::Receipt(issued));
        self.flow.send();
        Some(sealing.receipt.clone())
    }
}

fn setup(tier: Tier, hooks: Vec<HookTaken>) -> Setup {
    Setup {
        version: env!("CARGO_PKG_VERSION"),
        tier: tier.name(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        hooks,
    }
}

/// Puts a new file in place of what is there, whole or not at all: who waits for it never reads a part, and a full disk leaves the
/// one before. It is readable for its owner alone: it names programs and paths. A link that somebody put there is replaced and
/// not followed.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    // Left by an agent that was ended while it wrote.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(beside, path));
    if written.is_err() {
        // Of no use to anybody; the error is told.
        let _ = std::fs::remove_file(beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_takes_the_place_of_a_link_and_of_what_was_left_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["other", "another"] {
            fs::write(path(name), "untouched").unwrap();
        }
        symlink(path("other"), path("receipt")).unwrap();
        symlink(path("another"), path("receipt.new")).unwrap();
        write(&path("receipt"), b"signed").unwrap();
        assert_eq!(fs::read(path("receipt")).unwrap(), b"signed");
        assert_eq!(fs::symlink_metadata(path("receipt")).unwrap().permissions().mode(), 0o100_600);
        for name in ["other", "another"] {
            assert_eq!(fs::read(path(name)).unwrap(), b"untouched");
        }
        assert!(!path("receipt.new").exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("receipt"), "the one before").unwrap();
        fs::create_dir(path("receipt.new")).unwrap();
        write(&path("receipt"), b"signed").unwrap_err();
        assert_eq!(fs::read(path("receipt")).unwrap(), b"the one before");
    }
}
