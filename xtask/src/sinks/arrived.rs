//! What a receiver got of a real job, and whether that is what the job's log has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Row;

/// The receipt is the last that sinks are told, and not in the log.
const RECEIPT: &str = "receipt";

/// A notice as a receiver has it, as far as it tells.
#[derive(Default)]
pub struct Arrived {
    pub seq: u64,
    /// The log's line.
    pub line: Option<Value>,
    pub id: Option<String>,
    pub kind: Option<String>,
    pub exe: Option<String>,
    pub subject: Option<String>,
}

impl Arrived {
    /// An object of `real.py`.
    fn of(value: &Value) -> Result<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Ok(Self {
            seq: value["seq"].as_u64().with_context(|| format!("a notice without a number: {value}"))?,
            line: value.get("line").cloned(),
            id: text("id"),
            kind: text("kind"),
            exe: text("exe"),
            subject: text("subject"),
        })
    }
}

/// What the job's log has.
pub struct Log {
    job: String,
    /// Lines by number, without the chain.
    pub lines: BTreeMap<u64, Value>,
}

impl Log {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut lines = BTreeMap::new();
        for line in text.lines() {
            let mut line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            line["prev"] = Value::from("");
            lines.insert(line["seq"].as_u64().context("a line has a number")?, line);
        }
        let job = lines.values().find_map(|line| line["job"].as_str()).context("no line names the job")?.to_owned();
        let kinds = |kind: &str| lines.values().any(|line| line["kind"] == kind);
        ensure!(kinds("finding") && kinds("exec") && kinds("connect"), "the job did less than it should");
        Ok(Self { job, lines })
    }

    /// The number of the receipt.
    fn receipt(&self) -> u64 {
        self.lines.keys().next_back().map_or(0, |last| last + 1)
    }

    /// Numbers of everything that sinks are told, or of what somebody is called for.
    pub fn numbers(&self, only_alarms: bool) -> Vec<u64> {
        if !only_alarms {
            return self.lines.keys().copied().chain([self.receipt()]).collect();
        }
        let is_alarm = |line: &Value| line["kind"] == "finding" || line["kind"] == "loss";
        self.lines.iter().filter(|(_, line)| is_alarm(line)).map(|(seq, _)| *seq).collect()
    }

    /// What is wrong with what one receiver got: it lacks something, has something twice, or another thing.
    fn compare(&self, wanted: &[u64], arrived: &[Arrived]) -> Vec<String> {
        let mut problems = Vec::new();
        for seq in wanted {
            let times = arrived.iter().filter(|it| it.seq == *seq).count();
            if times != 1 {
                problems.push(format!("notice {seq} is there {times} times"));
            }
        }
        for it in arrived {
            let seq = it.seq;
            let is_receipt = seq == self.receipt();
            let Some(line) = self.lines.get(&seq) else {
                let kind = it.kind.as_deref().or_else(|| it.line.as_ref().and_then(|line| line["kind"].as_str()));
                if !is_receipt || kind.is_some_and(|kind| kind != RECEIPT) {
                    problems.push(format!("notice {seq} ({kind:?}) is none of the log's"));
                }
                continue;
            };
            let kind = line["kind"].as_str().unwrap_or_default();
            let mut same = |what: &str, got: Option<&str>, wanted: &str| {
                if got.is_some_and(|got| got != wanted) {
                    problems.push(format!("notice {seq}: {what} is {got:?} and not {wanted:?}"));
                }
            };
            same("its id", it.id.as_deref(), &format!("{}-{seq}", self.job));
            same("its kind", it.kind.as_deref(), kind);
            same("its program", it.exe.as_deref(), line["process"]["exe"].as_str().unwrap_or_default());
            same("its subject", it.subject.as_deref(), &format!("ci.{}.{kind}", self.job));
            if it.line.as_ref().is_some_and(|got| got != line) {
                problems.push(format!("notice {seq}: another line than the log's"));
            }
        }
        problems
    }

    pub fn row(
        &self,
        receiver: &'static str,
        validator: &'static str,
        only_alarms: bool,
        arrived: Result<Vec<Arrived>>,
    ) -> Row {
        let wanted = self.numbers(only_alarms);
        let (count, problems) = match arrived {
            Ok(arrived) => (arrived.len(), self.compare(&wanted, &arrived)),
            Err(error) => (0, vec![format!("{error:#}")]),
        };
        Row { receiver, sent: wanted.len(), received: count, validator, problems }
    }
}

/// Of processes the program is told, or nothing was compared.
pub fn with_programs(arrived: Result<Vec<Arrived>>) -> Result<Vec<Arrived>> {
    let arrived = arrived?;
    ensure!(arrived.iter().any(|it| it.exe.is_some()), "no notice names a program");
    Ok(arrived)
}

/// Alerts among themselves and events among themselves.
pub fn in_order(arrived: Vec<Arrived>) -> Result<Vec<Arrived>> {
    const ALERTS: [&str; 6] = ["agent", "job", "finding", "loss", "checkpoint", RECEIPT];
    let is_alert = |it: &Arrived| it.line.as_ref().is_some_and(|line| ALERTS.iter().any(|kind| line["kind"] == *kind));
    for wanted in [true, false] {
        let seqs = arrived.iter().filter(|it| is_alert(it) == wanted).map(|it| it.seq);
        ensure!(seqs.is_sorted(), "they are not in order");
    }
    Ok(arrived)
}

/// Objects of `real.py`, one a line.
pub fn objects(text: &str) -> Result<Vec<Arrived>> {
    text.lines().map(|line| Arrived::of(&serde_json::from_str(line).with_context(|| line.to_owned())?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        let line = |seq: u64, kind: &str| {
            (seq, serde_json::json!({ "seq": seq, "kind": kind, "process": { "exe": "/bin/true" } }))
        };
        Log { job: "job".to_owned(), lines: BTreeMap::from([line(1, "exec"), line(2, "finding")]) }
    }

    fn arrived(seq: u64, kind: &str) -> Arrived {
        Arrived { seq, kind: Some(kind.to_owned()), ..Arrived::default() }
    }

    #[test]
    fn what_is_missing_what_came_twice_and_what_is_something_else_is_told() {
        let log = log();
        let whole = || vec![arrived(1, "exec"), arrived(2, "finding"), arrived(3, RECEIPT)];
        let problems = |got: &[Arrived]| log.compare(&log.numbers(false), got);
        assert_eq!(problems(&whole()), Vec::<String>::new());
        assert_eq!(problems(&whole()[1..]), ["notice 1 is there 0 times"]);
        let mut twice = whole();
        twice.push(arrived(1, "exec"));
        assert_eq!(problems(&twice), ["notice 1 is there 2 times"]);
        for change in [
            |it: &mut Arrived| it.kind = Some("exit".to_owned()),
            |it: &mut Arrived| it.id = Some("job-2".to_owned()),
            |it: &mut Arrived| it.exe = Some("/bin/false".to_owned()),
            |it: &mut Arrived| it.subject = Some("ci.job.exit".to_owned()),
            |it: &mut Arrived| it.line = Some(serde_json::json!({ "seq": 1, "kind": "exec" })),
            |it: &mut Arrived| it.seq = 9,
        ] {
            let mut got = whole();
            change(&mut got[0]);
            assert!(!problems(&got).is_empty());
        }
        assert_eq!(log.numbers(true), [2], "alarms alone");
    }

    #[test]
    fn events_may_come_before_alerts_and_not_before_other_events() {
        let of = |seq: u64, kind: &str| Arrived {
            seq,
            line: Some(serde_json::json!({ "kind": kind })),
            ..Arrived::default()
        };
        assert!(in_order(vec![of(2, "finding"), of(1, "exec"), of(3, "exec"), of(4, "finding")]).is_ok());
        assert!(in_order(vec![of(3, "exec"), of(1, "exec")]).is_err());
        assert!(in_order(vec![of(3, "finding"), of(1, "loss")]).is_err());
    }
}
