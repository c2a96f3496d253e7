//! Jobs that an earlier daemon began: what this one asks their keepers, and what a keeper answers.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::answer::{self, Looker};
use super::jobs;
use super::protocol::{self, Answer, NOT_ARMED};
use crate::agent::{Elsewhere, Kept};
use crate::policy::Mode;

/// How long a keeper may take. Whoever waits for the daemon has a deadline of his own.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// The same where others than the job's own wait for what it says.
const STAND_WITHIN: Duration = Duration::from_secs(2);

/// What a keeper is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
enum Question {
    /// A job's result is asked for, and its end announced.
    Stop {
        job: String,
        /// By that process; the result alone is asked for without it.
        by: Option<u32>,
    },
    /// Whoever asks would have begun the job; in that mode.
    Join { job: String, mode: Option<String> },
    /// How the job stands.
    Standing { job: String },
    /// A process of the job asked the daemon for what is not its to ask for.
    Refused { job: String, detail: String },
}

/// A keeper's answer to its daemon's question.
pub fn answer_for_keeper(kept: &mut Kept<'_>, question: &[u8]) -> Vec<u8> {
    let answer = match serde_json::from_slice(question) {
        Ok(Question::Stop { job, by }) => kept.announce_end(&job, by, answer::result).map(Answer::Done),
        Ok(Question::Join { job, mode }) => {
            let mode = mode.and_then(|mode| mode.parse().ok());
            kept.begun(&job).map(|begun| jobs::joined(&begun, mode))
        }
        Ok(Question::Standing { job }) => {
            kept.standing(&job, |standing| answer::standing(standing, Looker::Keeper)).map(Answer::Done)
        }
        Ok(Question::Refused { job, detail }) => kept.refused(&job, &detail).map(|()| Answer::Done(().into())),
        Err(error) => Err(format!("its keeper is of another version ({error})")),
    };
    protocol::to_bytes(&answer.unwrap_or_else(|reason| Answer::refused(NOT_ARMED, reason)))
}

/// What the job's keeper says of it, to whom the daemon would say it.
pub(super) async fn stop(elsewhere: &Elsewhere, by: Option<u32>) -> Answer {
    match ask(elsewhere, &Question::Stop { job: elsewhere.id.to_string(), by }).await {
        Ok(Answer::Refused { code, message }) => Answer::refused(code, without_account(elsewhere, &message)),
        Ok(answer) => answer,
        Err(error) => unheard(elsewhere, &error),
    }
}

/// What it says to who would have begun the job.
pub(super) async fn join(elsewhere: &Elsewhere, mode: Option<Mode>) -> Answer {
    let question = Question::Join { job: elsewhere.id.to_string(), mode: mode.map(|mode| mode.to_string()) };
    ask(elsewhere, &question).await.unwrap_or_else(|error| unheard(elsewhere, &error))
}

/// How the job stands; who doesn't hear its keeper says what is known all the same.
pub(super) async fn standing(elsewhere: &Elsewhere) -> Value {
    let question = Question::Standing { job: elsewhere.id.to_string() };
    match tokio::time::timeout(STAND_WITHIN, ask(elsewhere, &question)).await {
        Ok(Ok(Answer::Done(standing))) => standing,
        _ => answer::unkept(&elsewhere.id, elsewhere.log.as_deref()),
    }
}

fn unheard(elsewhere: &Elsewhere, error: &io::Error) -> Answer {
    Answer::refused(NOT_ARMED, without_account(elsewhere, &format!("no keeper of it answers ({error})")))
}

/// Has a job's keeper tell that a process of it asked for what is not its to ask for.
pub(super) async fn tell_refused(elsewhere: Elsewhere, detail: String) {
    let question = Question::Refused { job: elsewhere.id.to_string(), detail };
    if let Err(error) = ask(&elsewhere, &question).await {
        tracing::warn!("{}: its keeper can't be told of what was refused: {error}", elsewhere.id);
    }
}

/// Why there is no account of a job, and what holds all the same.
fn without_account(elsewhere: &Elsewhere, reason: &str) -> String {
    let log = elsewhere.log.as_ref().map_or_else(String::new, |log| format!("; its log is {}", log.display()));
    format!("{} was begun by a daemon that is gone, and {reason}; its rules stay in force{log}", elsewhere.id)
}

async fn ask(elsewhere: &Elsewhere, question: &Question) -> io::Result<Answer> {
    let asked = async {
        let mut stream = UnixStream::connect(&elsewhere.desk).await?;
        let listens = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
        if listens.is_none_or(|pid| elsewhere.has(pid)) {
            return Err(io::Error::other("who listens in its place belongs to the job"));
        }
        stream.write_all(&serde_json::to_vec(question)?).await?;
        stream.shutdown().await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
