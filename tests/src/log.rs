//! The event log as a test reads it: every line parsed, the chain checked, accessors that fail with the line at hand.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A log that was read whole.
#[derive(Debug)]
pub struct Log {
    /// As it stands in the file.
    pub text: String,
    lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line(pub Value);

/// How long an agent may take to write its log's first line.
const FIRST_LINE_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The tier that an agent's log names in its first line, which is waited for: a job may begin before it is written.
pub fn tier_in(read: impl Fn() -> String) -> Option<String> {
    let mut tier = None;
    crate::wait_until(crate::host::patience(FIRST_LINE_WITHIN), || {
        let line: Option<Value> = read().lines().next().and_then(|line| serde_json::from_str(line).ok());
        tier = line.and_then(|line| line["tier"].as_str().map(str::to_owned));
        tier.is_some()
    });
    tier
}

impl Log {
    /// Parses the text, and checks what holds for every log: numbers without gaps, and each line's `prev`.
    pub fn read(text: String) -> Self {
        let lines: Vec<Line> =
            text.lines().map(|line| Line(serde_json::from_str(line).expect("a line is JSON"))).collect();
        let mut prev = "0".repeat(64);
        for ((number, line), raw) in (1..).zip(&lines).zip(text.lines()) {
            assert_eq!(line.number("seq"), number, "numbers have a gap: {raw}");
            assert_eq!(line.text("prev"), prev, "the chain is broken at {raw}");
            prev = Sha256::digest(raw.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        }
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole");
        Self { text, lines }
    }

    /// Every line.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Lines of that kind.
    pub fn of<'a, 'k: 'a>(&'a self, kind: &'k str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.text("kind") == kind)
    }

    /// Findings with that id.
    pub fn findings<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Line> {
        self.of("finding").filter(move |line| line.text("id") == id)
    }

    /// Ids of all findings, in order, each once.
    pub fn finding_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.of("finding").map(|line| line.text("id")).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Connects to that address and port.
    pub fn connects<'a>(&'a self, ip: &str, port: u16) -> Vec<&'a Line> {
        let is_it = |line: &&Line| line.at("/destination/ip") == ip && line.at("/destination/port") == u64::from(port);
        self.of("connect").filter(is_it).collect()
    }

    /// The one connect to that address and port.
    pub fn connect(&self, ip: &str, port: u16) -> &Line {
        match self.connects(ip, port).as_slice() {
            [one] => one,
            found => panic!("{} connects to {ip} port {port}, not one: {}", found.len(), self.kind("connect")),
        }
    }

    /// Opens of a secret file under that path.
    pub fn files<'a>(&'a self, path: &str) -> Vec<&'a Line> {
        self.of("file").filter(|line| line.text("path") == path).collect()
    }

    /// The one open under that path.
    pub fn file(&self, path: &str) -> &Line {
        match self.files(path).as_slice() {
            [one] => one,
            found => panic!("{} opens of {path}, not one: {}", found.len(), self.kind("file")),
        }
    }

    /// Execs with these arguments after the first.
    pub fn execs_with(&self, arguments: &[&str]) -> Vec<&Line> {
        self.of("exec").filter(|line| line.argv().get(1..) == Some(arguments)).collect()
    }

    /// The one exec with these arguments after the first.
    pub fn exec_with(&self, arguments: &[&str]) -> &Line {
        match self.execs_with(arguments).as_slice() {
            [one] => one,
            found => panic!("{} execs with {arguments:?}, not one: {}", found.len(), self.kind("exec")),
        }
    }

    /// The line with that number.
    pub fn line(&self, seq: u64) -> &Line {
        &self.lines[usize::try_from(seq).expect("a log fits into memory") - 1]
    }

    /// The tier that the agent loaded.
    pub fn tier(&self) -> &str {
        self.of("agent")
            .find(|line| line.text("state") == "ready")
            .expect("the log says that the agent was ready")
            .text("tier")
    }

    /// The line that says how the job ended.
    pub fn ended(&self) -> &Line {
        self.of("job").find(|line| line.text("state") == "ended").expect("the log says how the job ended")
    }

    /// A field of the account, by pointer: `/lost`, `/probes/exec/submitted`.
    pub fn account(&self, pointer: &str) -> u64 {
        let pointer = format!("/account{pointer}");
        self.ended().0.pointer(&pointer).map_or(0, |value| value.as_u64().expect("a count is a number"))
    }

    fn kind(&self, kind: &str) -> String {
        let lines: Vec<String> = self.of(kind).take(20).map(|line| line.0.to_string()).collect();
        format!("\n{}", lines.join("\n"))
    }
}

impl Line {
    /// A text field.
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no text {name} in {}", self.0))
    }

    /// A number field.
    pub fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {}", self.0))
    }

    /// A field that is written only when it is true.
    pub fn is(&self, name: &str) -> bool {
        self.0[name] == true
    }

    /// A field by JSON pointer; null when there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Texts of a list by JSON pointer.
    pub fn list(&self, pointer: &str) -> Vec<&str> {
        self.at(pointer).as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The process's key, which no other process ever has.
    pub fn key(&self) -> &str {
        self.at("/process/key").as_str().unwrap_or_else(|| panic!("no process in {}", self.0))
    }

    /// The process's arguments.
    pub fn argv(&self) -> Vec<&str> {
        self.list("/process/argv")
    }

    /// Numbers of the lines that a finding stands on.
    pub fn evidence(&self) -> Vec<u64> {
        self.at("/evidence").as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    }
}
