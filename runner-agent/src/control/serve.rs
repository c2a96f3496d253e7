//! The daemon's loop: one thread has the jobs; whoever asks is heard beside it, and a policy is loaded beside it, for the
//! programs that it asks take their time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};

use super::desk::{Desk, hear};
use super::jobs::answer_one;
use super::listen::{self, Handed};
use super::metrics;
use super::policies::Policies;
use crate::agent::{Ended, RunError, Service};

/// The same where there is none.
const IDLE: Duration = Duration::from_secs(1);

/// How often losses are looked for.
const LOOK_FOR_LOSSES: Duration = Duration::from_millis(500);

/// How often the file with figures is written.
const WRITE_FIGURES: Duration = Duration::from_secs(15);

/// Clients that are heard at once; more wait in the socket's queue.
const MOST_CLIENTS: usize = 64;

/// How long to wait when a client can't be taken in.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the daemon can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket.
    #[error("can't listen at {}: {source}", socket.display())]
    Listen {
        /// Where.
        socket: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The one that whoever started the daemon has opened for it.
    #[error("the socket that was handed over (LISTEN_FDS) is not the one for {}: {source}", socket.display())]
    Handed {
        /// Where it should listen.
        socket: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Another one has it.
    #[error("another daemon answers at {}; end it first, or give this one a socket and a state folder of its own", .0.display())]
    Taken(PathBuf),
    /// The machine.
    #[error("can't {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// The jobs.
    #[error(transparent)]
    Run(#[from] RunError),
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::Io { what, source }
}

/// Where and to whom the daemon answers.
pub struct Place {
    /// The control socket.
    pub socket: PathBuf,
    /// That socket, if it is open already.
    pub handed: Option<Handed>,
    /// Who besides root may begin jobs: a user's number.
    pub owner: Option<u32>,
    /// Where to write the daemon's figures now and then, as text that node_exporter's textfile collector reads.
    pub metrics_file: Option<PathBuf>,
}

/// Serves until a signal ends it.
pub fn serve(service: Service, policies: Policies, place: Place) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io_error("start the event loop"))?;
    runtime.block_on(run(service, policies, place))
}

async fn run(mut service: Service, policies: Policies, place: Place) -> Result<(), ServeError> {
    let served = attend(&mut service, policies, place).await;
    if let Err(error) = &served {
        tracing::error!("the daemon can't go on: {error}; its jobs go on under their rules");
    }
    tell_systemd(&[sd_notify::NotifyState::Stopping]);
    // Whatever ended it: the jobs have nothing to do with that.
    for ended in service.leave() {
        tell_end(&ended);
    }
    served
}

/// Looks after the jobs and answers whoever asks, until a signal comes.
async fn attend(service: &mut Service, policies: Policies, place: Place) -> Result<(), ServeError> {
    let Place { socket, handed, owner, metrics_file } = place;
    let door = listen::open(handed, &socket)?;
    let listener = door.listener().map_err(io_error("listen"))?;
    let (sender, mut asked) = mpsc::channel(MOST_CLIENTS);
    let desk = Arc::new(Desk { policies, owner, asked: sender });
    let clients = Arc::new(Semaphore::new(MOST_CLIENTS));
    let rings = service.rings()?;
    let mut terminate = signal(SignalKind::terminate()).map_err(io_error("receive signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io_error("receive signals"))?;
    let mut watchdog = Watchdog::of_systemd();
    let mut looked_for_losses = Instant::now();
    let mut figures = metrics_file.as_deref().map(FiguresFile::new);
    tell_systemd(&[sd_notify::NotifyState::Ready]);
    let _ = rustix::process::setpriority_process(None, crate::sink::PRIORITY);
    tokio::spawn(accept(listener, clients, desk));
    loop {
        let wait = if service.is_idle() { IDLE } else { service.tick() };
        tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            ready = rings() => ready?,
            Some(asked) = asked.recv() => answer_one(service, asked),
            () = tokio::time::sleep(wait) => {}
        }
        service.take_in();
        for ended in service.look_after()? {
            tell_end(&ended);
        }
        if looked_for_losses.elapsed() >= LOOK_FOR_LOSSES {
            looked_for_losses = Instant::now();
            service.tell_losses()?;
        }
        if let Some(file) = &mut figures {
            file.keep_up(service)?;
        }
        watchdog.feed();
    }
}

/// Has clients heard, as many at once as may be. That one can't be taken in (out of descriptors) says nothing about the next.
async fn accept(listener: UnixListener, clients: Arc<Semaphore>, desk: Arc<Desk>) {
    let mut has_failed = false;
    while let Ok(permit) = clients.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                has_failed = false;
                let desk = desk.clone();
                tokio::spawn(async move {
                    hear(stream, &desk).await;
                    drop(permit);
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::error!("can't take in a client: {error}; it is tried again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn tell_end(ended: &Ended) {
    let account = &ended.outcome.account;
    let (id, seen, lost) = (&ended.begun.id, account.seen(), account.missing());
    tracing::info!("{id} ended: {seen} events seen, {lost} lost, {} findings", ended.outcome.summary.findings().len());
    if let Some(reason) = &ended.outcome.disarmed {
        tracing::error!("{id}: {reason}");
    }
}

fn tell_systemd(state: &[sd_notify::NotifyState<'_>]) {
    // Nobody to tell is the case wherever systemd didn't start it.
    let _ = sd_notify::notify(state);
}

/// The file with the daemon's figures.
struct FiguresFile<'a> {
    path: &'a Path,
    written: Option<Instant>,
    has_failed: bool,
}

impl<'a> FiguresFile<'a> {
    fn new(path: &'a Path) -> Self {
        Self { path, written: None, has_failed: false }
    }

    /// Writes it when it is time. A file that can't be written is told once and costs nothing else.
    fn keep_up(&mut self, service: &mut Service) -> Result<(), ServeError> {
        if self.written.is_some_and(|written| written.elapsed() < WRITE_FIGURES) {
            return Ok(());
        }
        self.written = Some(Instant::now());
        let text = metrics::for_textfile(&metrics::text(service.figures()?));
        if let Err(error) = metrics::write(self.path, &text)
            && !std::mem::replace(&mut self.has_failed, true)
        {
            tracing::error!(
                "can't write the figures to {}: {error}; it is tried again now and then",
                self.path.display()
            );
        }
        Ok(())
    }
}

/// Says to systemd that the loop goes round.
struct Watchdog {
    every: Option<Duration>,
    fed: Instant,
}

impl Watchdog {
    fn of_systemd() -> Self {
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Self { every, fed: Instant::now() }
    }

    fn feed(&mut self) {
        if self.every.is_some_and(|every| self.fed.elapsed() >= every) {
            self.fed = Instant::now();
            tell_systemd(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}
