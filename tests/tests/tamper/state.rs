//! How everything stands that attempts are at: taken before and after, so that a refusal is one only if nothing has changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What there is, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    parts: BTreeMap<&'static str, String>,
    /// The log, which may only grow.
    log: String,
}

impl State {
    /// Whether an agent runs, and how well.
    pub fn of_process(pid: u32) -> Self {
        let mut state = Self::default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or("gone").to_owned();
        // Of proc_pid_stat(5), counted from the state: 3 is 0.
        state.add("nice", field(16));
        state.add("scheduler", field(38));
        let word = |file: &str, name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map_or_else(|| "gone".to_owned(), |rest| rest.trim().to_owned())
        };
        state
            .add("state", if word("status", "State:").starts_with('T') { "stopped" } else { "not stopped" }.to_owned());
        state.add("alive", matches!(Self::letter(pid).as_str(), "R" | "S" | "D" | "T" | "t").to_string());
        state.add("processors", word("status", "Cpus_allowed:"));
        state.add("tracer", word("status", "TracerPid:"));
        state.add("descriptors", word("limits", "Max open files"));
        state.add("oom score", word("oom_score_adj", ""));
        state
    }

    /// A process's state, as a letter; `Z` for one that is gone.
    pub fn letter(pid: u32) -> String {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let letter = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        letter.unwrap_or('Z').to_string()
    }

    /// Whether a process has ended, or has been sent the signal that ends it.
    pub fn is_ending(pid: u32) -> bool {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is_killed = |line: &str| {
            let set = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"));
            // Signal 9 is bit 8.
            set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & (1 << 8) != 0)
        };
        Self::letter(pid) == "Z" || status.lines().any(is_killed)
    }

    /// One more part.
    pub fn add(&mut self, name: &'static str, value: String) {
        self.parts.insert(name, value);
    }

    /// A file: which it is, whose, and what is in it.
    pub fn add_file(&mut self, name: &'static str, path: &Path, only_grows: bool) {
        let Ok(file) = fs::metadata(path) else {
            self.add(name, "gone".to_owned());
            return;
        };
        let identity = format!("{}:{} mode {:o} of {}", file.dev(), file.ino(), file.mode(), file.uid());
        if only_grows {
            self.log = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            self.add(name, identity);
        } else {
            // Nothing is done to a file without its time of change being another.
            self.add(name, format!("{identity}, changed at {}.{}", file.ctime(), file.ctime_nsec()));
        }
    }

    /// What is in a folder.
    pub fn add_folder(&mut self, name: &'static str, path: &Path) {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        self.add(name, names.join(" "));
    }

    /// What is other than it was.
    pub fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes: Vec<String> = Vec::new();
        for (name, now) in &self.parts {
            let was = before.parts.get(name).map_or("", String::as_str);
            if was != now {
                changes.push(format!("{name}: {was:.60} is {now:.60}"));
            }
        }
        if !self.log.starts_with(&before.log) && self.parts.get("log") == before.parts.get("log") {
            changes.push("log: what stood in it is gone".to_owned());
        }
        changes
    }
}
