//! `test sinks`: what each form's receiver makes of it. The forms' own test hands over bodies of every kind of notice; libraries
//! that know a form, real receivers on the loopback, and checks of ours read them.

mod alertmanager;
mod arrived;
mod daemon;
mod endpoint;
mod figures;
pub mod nats;
mod outside;
mod real;
mod rsyslog;
mod structure;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::suite::Suite;
use crate::{build, setup, step};

/// Names the folder that `runner-agent/tests/forms` writes to.
const FOLDER: &str = "RUNNER_AGENT_FORMS_DIR";

/// A body of a form, as it would be sent.
pub struct Body {
    pub form: String,
    /// How many items it is said to hold.
    pub items: usize,
    pub path: PathBuf,
}

impl Body {
    /// Its file is named `FORM.NUMBER.ITEMS.body`.
    fn of(path: PathBuf) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split('.').collect();
        let [form, _, items, "body"] = parts[..] else { bail!("{name} is no name of a body") };
        Ok(Self { form: form.to_owned(), items: items.parse().with_context(|| name.clone())?, path })
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        fs::read(&self.path).with_context(|| self.path.display().to_string())
    }
}

/// Bodies by form, and the log's own lines that they were made of.
pub struct Bodies {
    bodies: Vec<Body>,
    native: Vec<Value>,
}

impl Bodies {
    fn read(folder: &Path) -> Result<Self> {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.sort();
        let bodies: Vec<Body> = paths.into_iter().map(Body::of).collect::<Result<_>>()?;
        let mut read = Self { bodies, native: Vec::new() };
        let lines = read.one("native")?.bytes()?;
        read.native = serde_json::Deserializer::from_slice(&lines).into_iter().collect::<Result<_, _>>()?;
        if read.native.is_empty() {
            bail!("the forms' test wrote no notices");
        }
        Ok(read)
    }

    fn all(&self, form: &'static str) -> impl Iterator<Item = &Body> {
        self.bodies.iter().filter(move |body| body.form == form)
    }

    /// The body of a form that takes all items at once.
    pub fn one(&self, form: &str) -> Result<&Body> {
        self.bodies
            .iter()
            .find(|body| body.form == form)
            .ok_or_else(|| anyhow!("the forms' test wrote no body of {form}"))
    }

    /// Lines of a body whose items are lines.
    pub fn lines(&self, form: &str) -> Result<Vec<String>> {
        let text = String::from_utf8(self.one(form)?.bytes()?).with_context(|| form.to_owned())?;
        Ok(text.split_terminator('\n').map(str::to_owned).collect())
    }
}

/// What a receiver said.
pub struct Row {
    pub receiver: &'static str,
    pub sent: usize,
    pub received: usize,
    /// Who looked at it, and at what.
    pub validator: &'static str,
    pub problems: Vec<String>,
}

impl Row {
    fn is_good(&self) -> bool {
        self.problems.is_empty() && self.sent == self.received && self.sent > 0
    }

    fn holds(&self) -> Result<()> {
        let Self { sent, received, problems, .. } = self;
        ensure!(self.is_good(), "{received} of {sent} received; {}", problems.join("; "));
        Ok(())
    }
}

/// What could not be asked here, and why.
type Skipped = Vec<(String, String)>;

/// Asks every reader, and prints what they said.
pub fn run() -> Result<()> {
    let (rows, _) = ask_all()?;
    if rows.iter().any(|row| !row.is_good()) {
        bail!("some receivers object, or lack something; what stands above says why");
    }
    Ok(())
}

/// The same as a row of the table of suites, each receiver a test.
pub fn suite() -> Suite {
    const NAME: &str = "sinks: receivers and validators";
    eprintln!("── {NAME}");
    let (rows, skipped) = match ask_all() {
        Ok(asked) => asked,
        Err(error) => return Suite::check(NAME, Err(error)),
    };
    let mut suite = Suite { name: NAME.to_owned(), skipped, ..Suite::default() };
    for row in &rows {
        suite.take(row.receiver, row.holds());
    }
    suite
}

/// What each said, and what could not be asked here, with the reason.
fn ask_all() -> Result<(Vec<Row>, Skipped)> {
    setup::run(&setup::Options { with_sinks: true, ..setup::Options::default() })?;
    // From here on a signal ends nothing by itself: receivers and folders go with their handles.
    let stop = step::stop_flag()?;
    let folder = tempfile::Builder::new().prefix("runner-agent-sinks-").tempdir().context("a temporary folder")?;
    let mut cargo = build::tests();
    cargo.args(["--quiet", "--test", "forms"]).env(FOLDER, folder.path());
    step::run("the forms' own tests, which write bodies", &mut cargo)?;
    let bodies = Bodies::read(folder.path())?;
    let mut rows = Vec::new();
    for readers in [outside::rows, outside::webhooks, rsyslog::rows, alertmanager::rows, structure::rows, nats::rows] {
        if stop.load(Ordering::Relaxed) {
            bail!("stopped by a signal");
        }
        rows.extend(readers(&bodies)?);
    }
    let mut skipped = Vec::new();
    match real::why_not() {
        None => {
            rows.extend(real::rows()?);
            rows.extend(figures::rows()?);
        }
        Some(reason) => {
            skipped.push(("every receiver, from a job, and the daemon's figures".to_owned(), reason.to_owned()));
        }
    }
    println!("{}", table(&rows));
    for (what, reason) in &skipped {
        println!("{what}: could not run: {reason}");
    }
    for row in &rows {
        for problem in &row.problems {
            eprintln!("{}: {problem}", row.receiver);
        }
    }
    Ok((rows, skipped))
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("| receiver | sent | received | validator | |\n|---|--:|--:|---|---|\n");
    for row in rows {
        let verdict = if row.is_good() { "ok" } else { "FAILED" };
        let Row { receiver, sent, received, validator, .. } = row;
        let _ = writeln!(text, "| {receiver} | {sent} | {received} | {validator} | {verdict} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sent: usize, received: usize, problems: &[&str]) -> Row {
        let problems = problems.iter().map(|&problem| problem.to_owned()).collect();
        Row { receiver: "r", sent, received, validator: "v", problems }
    }

    #[test]
    fn a_receiver_is_content_when_it_got_all_and_objects_to_nothing() {
        assert!(table(&[row(2, 2, &[])]).contains("| r | 2 | 2 | v | ok |"));
        for bad in [row(2, 1, &[]), row(2, 2, &["no"]), row(0, 0, &[])] {
            assert!(table(&[bad]).contains("FAILED"));
        }
    }

    #[test]
    fn a_bodys_name_says_form_and_items() {
        let body = Body::of("x/splunk-hec.0.25.body".into()).expect("a body");
        assert_eq!((body.form.as_str(), body.items), ("splunk-hec", 25));
        assert!(Body::of("x/notes.txt".into()).is_err());
    }
}
