//! A log taken back into a summary: what a job did under an agent that is gone, for the one that goes on with its log.
//!
//! As far as a summary shows it. Evidence stands in it by its number alone, and findings without the process that they are about.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::read::{Entry, LogReader};
use crate::event::{Activity, Connection, Event, FileAccess, Finding, Process, ProcessKey, Program};
use crate::notice::{Content, JobStarted, Notice};
use crate::policy::egress::classify;
use crate::policy::{DETECTORS, Protocol, Ruling, Severity, Verdict};
use crate::report::summary::Summary;

/// What the lines up to this number say. A line that can't be read or is out of the chain is an error: a summary without it would
/// say less than happened.
pub fn recall(log: &Path, last: u64) -> Result<Summary, String> {
    let cannot = |what: &dyn std::fmt::Display| format!("its log {} can't be read back: {what}", log.display());
    let file = File::open(log).map_err(|error| cannot(&error))?;
    let mut input = BufReader::new(file);
    let (mut reader, mut summary, mut line) = (LogReader::default(), Summary::default(), Vec::new());
    while input.read_until(b'\n', &mut line).map_err(|error| cannot(&error))? > 0 {
        let taken = reader.take(line.strip_suffix(b"\n").unwrap_or(&line));
        if let Some(flaw) = taken.flaw {
            return Err(cannot(&flaw));
        }
        if let Some(entry) = taken.entry {
            if entry.seq() > last {
                break;
            }
            let number = entry.line;
            take(&mut summary, &entry).ok_or_else(|| cannot(&format!("line {number} is not of this version")))?;
        }
        line.clear();
    }
    Ok(summary)
}

/// Takes in one line; nothing where it says what this version doesn't know.
fn take(summary: &mut Summary, entry: &Entry) -> Option<()> {
    let content = match entry.kind() {
        "exec" => event(entry, Activity::Exec { argv: Arc::new([]), argv_whole: true, outside_cgroup: false }),
        "connect" => event(entry, Activity::Connect(connection(entry)?)),
        "file" => event(entry, Activity::File(file(entry)?)),
        "finding" => Content::Finding(finding(entry)?),
        "job" if entry.text("state") == "started" => Content::JobStarted(started(entry)?),
        "agent" => {
            summary.changed(entry.text("state"), entry.text("detail"));
            return Some(());
        }
        "loss" => {
            summary.lost(entry.number("count")?, entry.text("place"), entry.text("reason"));
            return Some(());
        }
        _ => return Some(()),
    };
    summary.observe(&Notice { seq: entry.seq(), at_ns: 0, slot: 0, job: None, content });
    Some(())
}

fn event(entry: &Entry, activity: Activity) -> Content {
    let program = Program { exe: entry.text("process.exe").into(), ..Program::default() };
    let process = entry.number("process.pid").and_then(|pid| u32::try_from(pid).ok()).map(|tgid| {
        let key = ProcessKey { tgid, ..ProcessKey::default() };
        Arc::new(Process { key, parent_key: None, parent: None, depth: 0, program, exec_seq: None })
    });
    let is_runners = entry.text("scope") == "runner";
    Content::Event(Event { seq: entry.seq(), at_ns: 0, process, is_runners, activity })
}

fn connection(entry: &Entry) -> Option<Connection> {
    let address: IpAddr = entry.text("destination.ip").parse().ok()?;
    let protocol = match entry.text("destination.protocol") {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => Protocol::Other(other.strip_prefix("ip-")?.parse().ok()?),
    };
    let rule = Some(entry.text("rule")).filter(|rule| *rule != "default").map(Arc::from);
    let verdict: Verdict = entry.text("verdict").parse().ok()?;
    Some(Connection {
        address,
        port: u16::try_from(entry.number("destination.port")?).ok()?,
        protocol,
        names: entry.texts("destination.names").map(Arc::from).collect(),
        claimed_names: entry.texts("destination.claimed_names").map(Arc::from).collect(),
        hook: "",
        socket: 0,
        outside_cgroup: entry.is("outside_cgroup"),
        ruling: Ruling { verdict, rule, class: classify(address), may_carry_secrets: false },
        refused_for_secret: entry.is("refused_for_secret"),
    })
}

fn file(entry: &Entry) -> Option<FileAccess> {
    let access = entry.text("access");
    let class: Arc<str> = entry.text("class").into();
    Some(FileAccess {
        path: entry.text("path").into(),
        known_as: None,
        title: class.clone(),
        class,
        class_severity: Severity::Info,
        read: access != "write",
        write: access != "read",
        owner: entry.is("owner"),
        compat: entry.is("compat"),
        path_truncated: entry.is("path_truncated"),
        inherited: entry.is("inherited"),
        verdict: entry.text("verdict").parse().ok()?,
    })
}

fn finding(entry: &Entry) -> Option<Finding> {
    Some(Finding {
        id: DETECTORS.iter().find(|id| **id == entry.text("id"))?,
        severity: entry.text("severity").parse().ok()?,
        message: entry.text("message").to_owned(),
        techniques: &[],
        evidence: entry.numbers("evidence").collect(),
        fix: Some(entry.text("fix")).filter(|fix| !fix.is_empty()).map(str::to_owned),
        process: None,
        subject: String::new(),
    })
}

fn started(entry: &Entry) -> Option<JobStarted> {
    let texts = |key| entry.texts(key).map(str::to_owned).collect();
    Some(JobStarted {
        command: texts("command"),
        policy: entry.text("policy").to_owned(),
        policy_sha256: entry.text("policy_sha256").to_owned(),
        policy_files: texts("policy_files"),
        mode: entry.text("mode").parse().ok()?,
        cgroup: entry.text("cgroup").to_owned(),
        key: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Chain;
    use crate::report::style::Style;

    fn example() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/job.jsonl")
    }

    /// A log of these lines, chained as the writer chains them.
    fn log(lines: &[&str]) -> tempfile::NamedTempFile {
        let mut chain = Chain::default();
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            let line = format!("{{\"seq\":{},{line},\"prev\":\"{}\"}}", number + 1, chain.head());
            chain.append(line.as_bytes());
            text += &line;
            text.push('\n');
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_log_says_in_sum_what_its_job_did() {
        let summary = recall(&example(), u64::MAX).unwrap();
        let ids: Vec<&str> = summary.findings().iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["secret-read", "secret-exfiltration", "egress-denied"]);
        assert_eq!(summary.execs(), 5);
        let text = summary.render(Style::PLAIN, None, None);
        for part in
            ["sh build.sh", "policy        default", "drop.example:80 tcp ×1", "by curl", ".aws/credentials by cat"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_was_lost_and_that_the_agent_was_gone_are_holes_in_it() {
        let lost = r#""kind":"loss","place":"exec","reason":"ring full","count":7"#;
        let file = log(&[lost, r#""kind":"agent","state":"taken-over","detail":"the agent before is gone""#]);
        let summary = recall(file.path(), 2).unwrap();
        assert_eq!(summary.gaps(), ["7 of exec lost: ring full", "taken-over: the agent before is gone"]);
        assert_eq!(recall(file.path(), 1).unwrap().gaps().len(), 1, "what comes later is another's");
    }

    #[test]
    fn what_cannot_be_read_back_is_an_error_and_no_smaller_summary() {
        let unknown = log(&[r#""kind":"finding","id":"of-tomorrow","severity":"high","message":"m""#]);
        let error = recall(unknown.path(), 1).unwrap_err();
        assert!(error.ends_with("line 1 is not of this version"), "{error}");
        let changed = log(&[r#""kind":"exec""#, r#""kind":"exec""#]);
        let text = std::fs::read_to_string(changed.path()).unwrap().replacen("exec", "exit", 1);
        std::fs::write(changed.path(), text).unwrap();
        assert!(recall(changed.path(), 2).unwrap_err().contains("the chain is broken here"));
        assert!(recall(Path::new("/nonexistent"), 1).is_err());
    }

    #[test]
    fn two_parts_of_a_log_say_together_what_all_of_it_says() {
        let whole = recall(&example(), u64::MAX).unwrap().render(Style::PLAIN, None, None);
        for last in 1..18 {
            let mut later = Summary::default();
            let mut reader = LogReader::default();
            for line in std::fs::read_to_string(example()).unwrap().lines() {
                let entry = reader.take(line.as_bytes()).entry.unwrap();
                if entry.seq() > last {
                    take(&mut later, &entry).unwrap();
                }
            }
            let both = recall(&example(), last).unwrap().followed_by(&later);
            assert_eq!(both.render(Style::PLAIN, None, None), whole, "parted after line {last}");
        }
    }
}
