//! Where clients are heard: who asks, what, and everything about a job that is wanted; beside the thread that has the jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::peer::Peer;
use super::policies::{Chosen, Policies};
use super::protocol::{self, Answer, MOST_BYTES, NOT_ARMED, Request, USAGE};
use crate::config::Runtime;
use crate::identity::{Environment, JobIdentity};
use crate::policy::Mode;
use crate::redact::Redactor;

/// How long a client may take to say what it wants, and to read what it is told.
const HEAR_WITHIN: Duration = Duration::from_secs(2);

/// Something for the thread that has the jobs.
pub(super) enum Asked {
    /// A question that needs nothing but the jobs.
    Simple(Peer, Request, oneshot::Sender<Answer>),
    /// A job whose policy is chosen.
    Start(Box<Wanted>, oneshot::Sender<Answer>),
    /// Whether who asks is in a job, where one that has begun is as good; in which mode it is wanted.
    Join(Peer, Option<Mode>, oneshot::Sender<Option<Answer>>),
}

/// A job that is wanted.
pub(super) struct Wanted {
    pub(super) peer: Peer,
    pub(super) worker: u32,
    pub(super) identity: JobIdentity,
    pub(super) chosen: Chosen,
    pub(super) redactor: Redactor,
}

/// What a client's task needs.
pub(super) struct Desk {
    pub(super) policies: Policies,
    pub(super) owner: Option<u32>,
    pub(super) asked: mpsc::Sender<Asked>,
}

/// Hears one client out and answers it.
pub(super) async fn hear(mut stream: UnixStream, desk: &Desk) {
    let answer = match question(&mut stream).await {
        Ok((peer, request)) => desk.answer(peer, request).await,
        Err(answer) => answer,
    };
    say(&mut stream, &protocol::to_bytes(&answer)).await;
}

/// Tells a client its answer. Whoever doesn't wait for it needs none, and whoever doesn't read it keeps nobody else waiting.
async fn say(stream: &mut UnixStream, answer: &[u8]) {
    let _ = tokio::time::timeout(HEAR_WITHIN, stream.write_all(answer)).await;
}

/// What a client wants, or its answer where that is no question.
async fn question(stream: &mut UnixStream) -> Result<(Peer, Request), Answer> {
    let refused = |message: String| Answer::refused(USAGE, message);
    let credentials =
        stream.peer_cred().map_err(|error| refused(format!("the kernel doesn't say who asks: {error}")))?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let elsewhere = "whoever asks is in another PID namespace, where the daemon sees no processes";
    let pid = pid.ok_or_else(|| refused(elsewhere.to_owned()))?;
    let mut bytes = Vec::new();
    let mut limited = stream.take(MOST_BYTES + 1);
    match tokio::time::timeout(HEAR_WITHIN, limited.read_to_end(&mut bytes)).await {
        // On a runner with much to do a client may stand still between its connect and its question.
        Err(_) => return Err(Answer::Again),
        Ok(Err(error)) => return Err(refused(format!("the question can't be read: {error}"))),
        Ok(Ok(_)) if bytes.len() as u64 > MOST_BYTES => {
            let most = MOST_BYTES >> 20;
            return Err(refused(format!("the question has more than {most} MiB; hand over smaller policies")));
        }
        Ok(Ok(_)) => {}
    }
    // It may have waited in the queue for longer than it wanted to, and its number may be another's by now.
    if has_hung_up(stream) {
        return Err(refused("whoever asked is gone".to_owned()));
    }
    Ok((Peer { pid, uid: credentials.uid() }, protocol::parse(&bytes).map_err(refused)?))
}

/// Whether both directions are closed; a client that waits for its answer has closed one.
fn has_hung_up(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

impl Desk {
    async fn answer(&self, peer: Peer, request: Request) -> Answer {
        let (sender, answer) = oneshot::channel();
        let asked = match request {
            Request::Start { mode, policies, worker, join } => {
                if !self.may_rule(peer) {
                    let owner = self.owner.map_or("nobody else".to_owned(), |owner| format!("uid {owner}"));
                    return Answer::refused(
                        NOT_ARMED,
                        format!("uid {} may not begin jobs here: root and {owner} may (`owner`)", peer.uid),
                    );
                }
                let mode = match mode.map(|word| word.parse::<Mode>()).transpose() {
                    Ok(mode) => mode,
                    Err(error) => return Answer::refused(USAGE, format!("--mode {error}")),
                };
                if join && let Some(answer) = self.join(peer, mode, !policies.is_empty()).await {
                    return answer;
                }
                let known = self.policies.clone();
                let wanted = tokio::task::spawn_blocking(move || {
                    want(peer, worker, |identity, runtime| known.choose(identity, runtime, &policies, mode))
                });
                match wanted.await {
                    Ok(Ok(wanted)) => Asked::Start(Box::new(wanted), sender),
                    Ok(Err(answer)) => return answer,
                    Err(error) => return Answer::refused(NOT_ARMED, format!("the policy can't be chosen: {error}")),
                }
            }
            Request::Metrics if !self.may_rule(peer) => {
                return Answer::refused(
                    NOT_ARMED,
                    format!("uid {} may not ask for figures: they are of all jobs", peer.uid),
                );
            }
            other => Asked::Simple(peer, other, sender),
        };
        if self.asked.send(asked).await.is_err() {
            return Answer::refused(NOT_ARMED, "the daemon is about to end");
        }
        answer.await.unwrap_or_else(|_| Answer::refused(NOT_ARMED, "the daemon is about to end"))
    }

    /// Whether who asks may begin jobs, and know of all.
    fn may_rule(&self, peer: Peer) -> bool {
        peer.uid == 0 || self.owner == Some(peer.uid)
    }

    /// The answer to who is in a job already; nothing to who is in none.
    async fn join(&self, peer: Peer, mode: Option<Mode>, brings_policies: bool) -> Option<Answer> {
        let (sender, answer) = oneshot::channel();
        self.asked.send(Asked::Join(peer, mode, sender)).await.ok()?;
        match answer.await.ok()?? {
            Answer::Done(_) if brings_policies => Some(Answer::refused(
                USAGE,
                "the job has begun already, under the policy of whoever began it; a policy can be given only there",
            )),
            answer => Some(answer),
        }
    }
}

/// Finds out everything about a job that is wanted.
fn want(
    peer: Peer,
    worker: Option<u32>,
    choose: impl FnOnce(&JobIdentity, &Runtime) -> Result<Chosen, String>,
) -> Result<Wanted, Answer> {
    let refused = |message: String| Answer::refused(NOT_ARMED, message);
    let environ = peer.environ().map_err(refused)?;
    let environment = Environment::parse(&environ);
    let identity = peer.identity(&environment).map_err(|error| Answer::refused(USAGE, error))?;
    let worker =
        peer.worker(worker, identity.provider.worker_names()).map_err(|error| Answer::refused(USAGE, error))?;
    let variables = variables(&environ);
    let redactor = Redactor::with_environment(variables.clone());
    let chosen =
        choose(&identity, &Runtime::of(variables, Some(peer.uid))).map_err(|error| Answer::refused(USAGE, error))?;
    Ok(Wanted { peer, worker, identity, chosen, redactor })
}

/// Variables that are text; of two with one name the first, which is the one that programs get.
fn variables(environ: &[u8]) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for entry in environ.split(|&byte| byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok()) {
        if let Some((name, value)) = entry.split_once('=') {
            variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_too_slow_with_its_question_may_ask_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"{").await.unwrap();
            let heard = tokio::time::timeout(10 * HEAR_WITHIN, question(&mut ours)).await;
            assert!(matches!(heard, Ok(Err(Answer::Again))), "{heard:?}");
        });
    }

    #[test]
    fn a_client_that_reads_nothing_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut ours, _theirs) = UnixStream::pair().unwrap();
            // More than a socket takes that nobody reads from.
            let answer = vec![b' '; 8 << 20];
            let said = tokio::time::timeout(10 * HEAR_WITHIN, say(&mut ours, &answer)).await;
            assert!(said.is_ok(), "it is waited for, and keeps its place among those that are heard");
        });
    }
}
