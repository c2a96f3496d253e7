//! Runs the attempts, and makes of each what its exit, the state of things and the log say together.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::attempt::{Attempt, In, Outcome, Told};
use crate::session::{Said, Session};

/// What came of one attempt.
#[derive(Clone, Debug, Default)]
pub struct Came {
    /// Nothing where it did not run.
    pub outcome: Option<Outcome>,
    /// What the log says of it.
    pub log: String,
    /// How its command ended, and what changed with it.
    pub how: String,
    /// What is wrong, whatever the outcome.
    pub broken: Option<String>,
    /// Why it did not run.
    pub missing: Option<String>,
    /// It needs a guest.
    pub needs_guest: Option<&'static str>,
}

/// What all attempts came to.
pub struct Proof {
    pub tier: String,
    pub came: Vec<Came>,
}

/// Runs those attempts.
pub fn run(attempts: &[&Attempt]) -> Result<Proof, String> {
    let mut came = vec![Came::default(); attempts.len()];
    // What would be dangerous if the guard failed runs there alone.
    let in_guest = end_to_end::host::is_guest();
    // Which attempts can share a job depends on the tier, which the first agent finds out.
    let session = Session::start(In::Block)?;
    let tier = session.tier().to_owned();
    let mut first = Some(session);
    let mut alone = Vec::new();
    let mut shared = [(In::Block, Vec::new()), (In::Audit, Vec::new())];
    for (at, attempt) in attempts.iter().enumerate() {
        if let (Some(reason), false) = (attempt.guest, in_guest) {
            came[at].needs_guest = Some(reason);
        } else if attempt.is_alone(&tier) {
            alone.push(at);
        } else if let Some((_, of_job)) = shared.iter_mut().find(|(job, _)| *job == attempt.job) {
            of_job.push(at);
        }
    }
    let jobs = shared.into_iter().chain(alone.into_iter().map(|at| (attempts[at].job, vec![at])));
    for (job, places) in jobs.filter(|(_, places)| !places.is_empty()) {
        let session = match first.take().filter(|_| job == In::Block) {
            Some(session) => Ok(session),
            None => Session::start(job),
        };
        match session {
            Ok(session) => in_session(session, attempts, &places, &mut came),
            Err(reason) => places.iter().for_each(|&at| came[at].broken = Some(format!("not armed: {reason}"))),
        }
    }
    Ok(Proof { tier, came })
}

/// One job's attempts, one after the other.
fn in_session(mut session: Session, attempts: &[&Attempt], places: &[usize], came: &mut [Came]) {
    let mut ran = Vec::new();
    for &at in places {
        let attempt = attempts[at];
        let command = session.expand(attempt.act);
        let (before, beyond) = (session.state(), session.log_text().len());
        let said = session.run(&["sh", "-c", &command, attempt.name]);
        let changes = session.state().changes(&before);
        let mut broken = None;
        if session.is_orphaned() && said.code.is_some() {
            broken = orphaned(&mut session, attempt).err();
        } else {
            session.recover(&changes);
            if !is_refused(&said) && attempt.told.iter().any(|told| matches!(told, Told::Agent(_))) {
                // Where no hook is, the agent looks by itself from time to time.
                session.wait_for_any(&attempt.told.iter().filter_map(word).collect::<Vec<_>>(), beyond);
            }
        }
        // The job goes on, and is recorded: whatever came before stands between two such lines.
        let fence = session.run(&["/bin/true", &fence(attempt)]);
        let is_over = fence.code.is_none();
        if said.is_late {
            // What it would have come to is not known.
            broken = Some("its command took longer than it may".to_owned());
        }
        ran.push((at, said, changes, broken, is_over));
        if is_over {
            break;
        }
    }
    let is_whole = !places.iter().any(|&at| attempts[at].is_alone(session.tier()));
    let (text, complaint) = session.end();
    // Whoever writes to the log itself leaves what is no line of it.
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.trim_start_matches('\0')).ok()).collect();
    for (at, said, changes, broken, is_over) in ran {
        came[at] = judge(attempts[at], &said, &changes, &lines, !is_whole);
        came[at].broken = came[at].broken.take().or(broken);
        if is_over && !attempts[at].is_fatal && attempts[at].job != In::SmallDisk {
            came[at].broken = Some(format!("the job was ended by it: {}", complaint.clone().unwrap_or_default()));
        }
    }
    if is_whole {
        let wrong = std::panic::catch_unwind(|| whole(&text)).unwrap_or_else(|panic| {
            let text = panic.downcast::<String>().map_or_else(|_| "it can't be read".to_owned(), |text| *text);
            Some(format!("{text:.200}"))
        });
        if let Some(wrong) = wrong.or(complaint) {
            for &at in places {
                came[at].broken.get_or_insert_with(|| format!("the job's log: {wrong}"));
            }
        }
    }
    for &at in places {
        if came[at].outcome.is_none() && came[at].broken.is_none() && came[at].missing.is_none() {
            came[at].broken = Some("the job had ended before".to_owned());
        }
    }
}

/// What stands in the log where this was told.
fn word(told: &Told) -> Option<String> {
    match told {
        Told::Finding(id) => Some(format!("\"id\":\"{id}\"")),
        Told::Agent(state) => Some(format!("\"state\":\"{state}\"")),
        Told::Programs(_) | Told::Loss => None,
    }
}

fn fence(attempt: &Attempt) -> String {
    format!("after-{}", attempt.name)
}

/// The agent was ended. What the policy closes stays closed, and whoever starts next goes on with the job.
fn orphaned(session: &mut Session, attempt: &Attempt) -> Result<(), String> {
    if attempt.job == In::Audit {
        return Ok(());
    }
    if !session.holds() {
        return Err("the rules went with the agent".to_owned());
    }
    session.start_successor(&[])?;
    if session.wait_for_any(&["\"state\":\"taken-over\"".to_owned()], 0) {
        Ok(())
    } else {
        Err("nobody went on with the job".to_owned())
    }
}

/// Whether every line is there, in order, and every record is accounted for.
fn whole(text: &str) -> Option<String> {
    let log = end_to_end::Log::read(text.to_owned());
    for counter in ["/difference", "/refused", "/lost"] {
        let count = log.account(counter);
        if count > 0 {
            return Some(format!("{} {count}", &counter[1..]));
        }
    }
    None
}

/// Whether the kernel said no.
fn is_refused(said: &Said) -> bool {
    // Not permitted, no access, somebody runs it.
    let words = ["os error 1)", "os error 13)", "os error 26)", "not permitted", "ermission denied"];
    said.code != Some(0) && words.iter().any(|word| said.text.contains(word))
}

/// Whether this kernel has no such call, file or flag.
fn is_absent(said: &Said) -> bool {
    let words = ["os error 2)", "os error 38)", "os error 25)", "os error 95)", "one thread"];
    said.code != Some(0) && words.iter().any(|word| said.text.contains(word))
}

fn judge(attempt: &Attempt, said: &Said, changes: &[String], lines: &[Value], is_alone: bool) -> Came {
    let window = window(attempt, lines, is_alone);
    let told = attempt.told.iter().any(|told| is_told(told, attempt, window));
    let last = said.text.lines().last().unwrap_or_default();
    let code = said.code.map_or_else(|| "the job ended".to_owned(), |code| format!("ended with {code}"));
    let mut how =
        if last.is_empty() { code } else { last.rsplit_once(": ").map_or(last, |(_, error)| error).to_owned() };
    for change in changes {
        how = format!("{how}; {change}");
    }
    let outcome = if is_refused(said) && changes.is_empty() {
        Outcome::Denied
    } else if told {
        Outcome::Found
    } else {
        Outcome::Missed
    };
    let mut came = Came { outcome: Some(outcome), log: summary(window), how, ..Came::default() };
    if outcome != Outcome::Denied && is_absent(said) {
        came.outcome = None;
        came.missing = Some(format!("this kernel has no such thing: {last}"));
    } else if is_refused(said) && !changes.is_empty() {
        came.broken = Some("it was refused, and something changed".to_owned());
    }
    came
}

/// The lines from the attempt's own to the fence behind it.
fn window<'a>(attempt: &Attempt, lines: &'a [Value], is_alone: bool) -> &'a [Value] {
    let starts = |line: &Value, word: &str| {
        line["kind"] == "exec"
            && line["process"]["argv"].as_array().and_then(|words| words.last()).is_some_and(|last| last == word)
    };
    let Some(start) = lines.iter().position(|line| starts(line, attempt.name)) else {
        // An agent that is ended takes along what it had not written yet, and a log that is cut what it had. In a job of its
        // own whatever else is told is about this attempt.
        return if is_alone { lines } else { &[] };
    };
    let rest = &lines[start..];
    if matches!(attempt.job, In::Flooded | In::SmallDisk) {
        // Losses are told from time to time, and what is left of them at the end.
        return rest;
    }
    let end = rest.iter().position(|line| starts(line, &fence(attempt))).unwrap_or(rest.len());
    &rest[..end]
}

fn is_told(told: &Told, attempt: &Attempt, window: &[Value]) -> bool {
    let any =
        |kind: &str, field: &str, value: &str| window.iter().any(|line| line["kind"] == kind && line[field] == value);
    match told {
        // A finding is told once for a program and what it tries; each attempt has a line of its own.
        Told::Finding(id) => {
            any("finding", "id", id)
                || (matches!(*id, "foreign-environ" | "secret-read")
                    && window.iter().any(|line| line["kind"] == "file" && line["owner"] == false))
                || (*id == "io-uring" && window.iter().any(|line| line["kind"] == "io-uring"))
                || (*id == "cgroup-escape" && window.iter().any(|line| line["kind"] == "cgroup" && left(line)))
                || operations(id).iter().any(|operation| any("attempt", "operation", operation))
        }
        Told::Agent(state) => any("agent", "state", state),
        Told::Loss => window.iter().any(|line| line["kind"] == "loss" && line["reason"] != "skipped"),
        Told::Programs(count) => {
            let keys: BTreeSet<&str> = window
                .iter()
                .filter(|line| line["kind"] == "exec")
                .filter(|line| {
                    line["process"]["argv"]
                        .as_array()
                        .is_some_and(|words| words.iter().any(|word| word == attempt.name || word == "storm"))
                })
                .filter_map(|line| line["process"]["key"].as_str())
                .collect();
            keys.len() >= *count
        }
    }
}

/// Whether a process was moved out of its job's cgroup, or born outside.
fn left(line: &Value) -> bool {
    line["inside"] == false || line["killed"] == true
}

/// Operations that are found as that.
fn operations(finding: &str) -> &'static [&'static str] {
    match finding {
        "agent-tampering" => &["signal", "trace-agent", "priority", "mount", "write", "remove"],
        "kernel-tampering" => &["bpf", "kernel-code", "clock", "setting", "reboot"],
        "process-access" => &["trace", "inspect"],
        "cgroup-escape" => &["cgroup"],
        "new-namespace" => &["namespace"],
        "network-change" => &["network"],
        "privilege" => &["privilege"],
        "engine-socket" => &["engine-socket"],
        "service-manager" => &["services"],
        _ => &[],
    }
}

/// What was said in the window, in a few words: each thing once.
fn summary(window: &[Value]) -> String {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let mut words: Vec<String> = Vec::new();
    for line in window {
        let word = match line["kind"].as_str().unwrap_or_default() {
            "attempt" => format!(
                "{} {}{}",
                text(line, "operation"),
                text(line, "verdict"),
                if line["failed"] == true { ", failed" } else { "" }
            ),
            "finding" => text(line, "id"),
            "file" => format!("read of {} {}", text(line, "class"), text(line, "verdict")),
            "agent" => text(line, "state"),
            kind @ ("loss" | "io-uring") => kind.to_owned(),
            _ => continue,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if words.is_empty() { format!("{} lines, no finding", window.len()) } else { words.join("; ") }
}
