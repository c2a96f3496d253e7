//! The sinks of one agent that send to somebody else: started once, with an outbox for each job, drained at its end.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::courier::{Courier, Finished, Standing};
use super::outbox::{Outbox, Sink};
use super::settings::{Settings, is_alert};
use super::spool::Lane;
use super::wire::format::About;
use crate::notice::Notice;

/// The sinks of one agent.
#[derive(Clone, Default)]
pub struct Deliveries {
    couriers: Vec<Arc<Courier>>,
    configuration: Option<PathBuf>,
    spool: Option<PathBuf>,
}

/// What became of what one sink was handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Which sink.
    pub sink: &'static str,
    /// Items that were not delivered.
    pub left: usize,
    /// The file that has them, beside the log.
    pub file: Option<PathBuf>,
    /// The spool, from which the next agent sends them.
    pub spool: PathBuf,
    /// Why.
    pub why: String,
}

impl Deliveries {
    /// Starts every sink; what waits is kept in a folder. An error says which can't be.
    pub fn start(sinks: &[Settings], folder: &Path) -> Result<Self, String> {
        let couriers = sinks.iter().map(|settings| Ok(Arc::new(Courier::start(settings.clone(), folder)?)));
        let couriers = couriers.collect::<Result<_, String>>()?;
        Ok(Self { couriers, configuration: None, spool: Some(folder.to_owned()) })
    }

    /// They stand in that file.
    #[must_use]
    pub fn configured_in(self, file: &Path) -> Self {
        Self { configuration: std::path::absolute(file).ok(), ..self }
    }

    /// The file that they stand in, if it is known, for another agent to start them too.
    pub fn configuration(&self) -> Option<&Path> {
        self.configuration.as_deref()
    }

    /// The folder of what waits, where there are sinks.
    pub fn spool(&self) -> Option<&Path> {
        self.spool.as_deref()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.couriers.is_empty()
    }

    /// An outbox for each sink, for one job.
    pub fn outboxes(&self, about: &About) -> io::Result<Vec<Outbox>> {
        let outbox = |courier: &Arc<Courier>| {
            let posting = Posting { courier: courier.clone(), about: about.clone() };
            Outbox::to_courier(courier.clone(), posting)
        };
        self.couriers.iter().map(outbox).collect()
    }

    /// How each sink stands.
    pub fn standings(&self) -> Vec<Standing> {
        self.couriers.iter().map(|courier| courier.standing()).collect()
    }

    /// Waits until everything was delivered, for each sink until its deadline at most. What is left is written beside `log`,
    /// and stays in the spool too. Returns the sinks that have something left.
    pub fn drain(&self, log: Option<&Path>) -> Vec<Drained> {
        let began = Instant::now();
        self.couriers.iter().for_each(|courier| courier.hurry());
        let finish = |courier: &Arc<Courier>| {
            let settings = courier.settings();
            let finished = courier.finish(began + settings.drain)?;
            if finished.left == 0 {
                return None;
            }
            let file = log.map(|log| {
                let mut name = log.as_os_str().to_owned();
                name.push(format!(".undelivered.{}.ndjson", settings.name));
                PathBuf::from(name)
            });
            let file = file.filter(|file| match write(file, &finished) {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!("can't write what was not delivered to {}: {error}", file.display());
                    false
                }
            });
            let Finished { left, spool, why, .. } = finished;
            let why = why.unwrap_or_else(|| "there was no time left".to_owned());
            Some(Drained { sink: settings.name, left, file, spool, why })
        };
        self.couriers.iter().filter_map(finish).collect()
    }
}

/// One item a line, for its owner alone.
fn write(file: &Path, finished: &Finished) -> io::Result<()> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(no_follow).open(file)?;
    let mut out = io::BufWriter::new(file);
    finished.each(|item| {
        out.write_all(&item.bytes)?;
        out.write_all(b"\n")
    })?;
    out.flush()
}

/// Puts a job's notices into the form of the receiver, in the outbox's own thread.
struct Posting {
    courier: Arc<Courier>,
    about: About,
}

impl Sink for Posting {
    fn deliver(&mut self, batch: &[Notice]) -> io::Result<()> {
        let settings = self.courier.settings();
        let encoded = |notice: &Notice| {
            let mut bytes = Vec::new();
            let lane = if is_alert(notice) { Lane::Alerts } else { Lane::Telemetry };
            settings.encode(notice, &self.about, &mut bytes).then(|| (lane, self.about.id(notice), bytes.into()))
        };
        let items: Vec<_> = batch.iter().filter_map(encoded).collect();
        if !items.is_empty() {
            self.courier.put(items);
        }
        Ok(())
    }
}
