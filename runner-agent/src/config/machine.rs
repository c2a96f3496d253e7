//! What a policy says that this machine doesn't bear out: programs that aren't there, names that lead nowhere.
//!
//! Apart from `check` because the answer is another on every machine, and the second asks the network.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::check::pairs::key;
use super::problem::Problem;
use super::raw::At;
use crate::policy::egress::{EgressRule, Target};
use crate::policy::{Policy, Written};

/// Names that are asked for at once.
const AT_ONCE: usize = 16;

/// Asks for a name; the error says why it leads nowhere. Must end by itself some time, or its thread stays behind.
pub type Resolve = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The machine's own resolver, which also reads `/etc/hosts`.
pub fn system_resolver() -> Resolve {
    use std::net::ToSocketAddrs as _;
    Arc::new(|name| match (name, 443).to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("no address".to_owned()),
        Err(error) => Err(error.to_string().replace("failed to lookup address information: ", "")),
    })
}

/// Allow rules that stand in a file, with their place.
fn rules(policy: &Policy) -> impl Iterator<Item = (&EgressRule, &Written)> {
    let written = &policy.origin.written;
    policy.egress.allow.iter().filter_map(|rule| Some((rule, written.get(&rule.id)?)))
}

fn warning(rule: &EgressRule, at: &Written, message: String) -> Problem {
    let place = At { line: at.line, column: at.column };
    Problem::warning(&at.file, place, key(&rule.id), message)
}

/// Programs of `exe` that are in no directory of `path`. Nothing is known without a path.
pub fn missing_programs(policy: &Policy, path: &[PathBuf]) -> Vec<Problem> {
    if path.is_empty() {
        return Vec::new();
    }
    let is_program = |file: &Path| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    let is_missing = |name: &str| !path.iter().any(|directory| is_program(&directory.join(name)));
    rules(policy)
        .filter_map(|(rule, at)| {
            let missing: Vec<&str> = rule.exe.iter().map(|name| &*name.0).filter(|name| is_missing(name)).collect();
            let (first, rest) = missing.split_first()?;
            let names = rest.iter().fold(format!("{first:?}"), |names, name| format!("{names}, {name:?}"));
            let message = format!(
                "names {names} in `exe`, and no directory of this machine's PATH has it; correct the name, or leave it if \
                 the job installs it"
            );
            Some(warning(rule, at, message))
        })
        .collect()
}

/// Hosts that lead nowhere from this machine, wildcards aside. All are asked within `limit`, which a name that nobody
/// answers uses up alone.
pub fn unresolved(policy: &Policy, limit: Duration, resolve: &Resolve) -> Vec<Problem> {
    let mut hosts: BTreeMap<String, (&EgressRule, &Written)> = BTreeMap::new();
    for (rule, at) in rules(policy) {
        if let Target::Host(pattern) = &rule.target
            && !pattern.is_wildcard()
        {
            hosts.entry(pattern.to_string()).or_insert((rule, at));
        }
    }
    let mut answers = ask(hosts.keys().cloned().collect(), limit, resolve);
    let mut problems: Vec<Problem> = hosts
        .into_iter()
        .filter_map(|(host, (rule, at))| {
            let why = match answers.remove(&host) {
                Some(Ok(())) => return None,
                Some(Err(why)) => why,
                None => format!("no answer within {} s", limit.as_secs_f32()),
            };
            let source = rule.source.as_ref().map(|source| format!(" (from {source})")).unwrap_or_default();
            let message =
                format!("{host}{source} leads nowhere from here: {why}; correct the name, or take the rule out");
            Some(warning(rule, at, message))
        })
        .collect();
    problems.sort();
    problems
}

/// What became of each name that was answered in time.
fn ask(names: VecDeque<String>, limit: Duration, resolve: &Resolve) -> BTreeMap<String, Result<(), String>> {
    let deadline = Instant::now() + limit;
    let wanted = names.len();
    let queue = Arc::new(Mutex::new(names));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..wanted.min(AT_ONCE) {
        let (queue, resolve, sender) = (Arc::clone(&queue), Arc::clone(resolve), sender.clone());
        // Detached: the system's resolver can't be told to stop, and the process ends soon after the deadline.
        std::thread::spawn(move || {
            while Instant::now() < deadline {
                let Some(name) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
                let answer = resolve(&name);
                if sender.send((name, answer)).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut answers = BTreeMap::new();
    while answers.len() < wanted
        && let Ok((name, answer)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        answers.insert(name, answer);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cases::MadeUp;
    use crate::config::load;

    fn policy(rules: &str) -> (tempfile::TempDir, Policy) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p.yml");
        std::fs::write(&file, format!("version: 1\nname: p\negress:\n  allow:\n{rules}")).unwrap();
        let (policy, _) = load(&[file], &MadeUp::default()).unwrap();
        (directory, policy)
    }

    fn told(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(|it| format!("{}:{}: {}: {}", it.line, it.column, it.path, it.message)).collect()
    }

    #[test]
    fn a_program_that_no_directory_has_is_told_once_a_rule() {
        let (directory, policy) = policy(
            "    - { host: a.example, exe: [here, gone, lost], why: test }\n    - { host: b.example, exe: here, why: test }\n",
        );
        let program = directory.path().join("here");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(directory.path().join("lost"), "no program").unwrap();
        let problems = missing_programs(&policy, &[directory.path().to_owned()]);
        assert_eq!(
            told(&problems),
            [
                "5:7: egress.allow[0]: names \"gone\", \"lost\" in `exe`, and no directory of this machine's PATH has it; \
                 correct the name, or leave it if the job installs it"
            ]
        );
        assert_eq!(missing_programs(&policy, &[]), []);
    }

    #[test]
    fn names_that_lead_nowhere_are_told_and_a_silent_one_holds_up_no_other() {
        let (_directory, policy) = policy(
            "    - { host: good.example, why: test }\n    - { host: bad.example, why: test }\n    \
             - { host: silent.example, why: test }\n    - { host: \"*.wild.example\", why: test }\n    \
             - { host: bad.example, ports: [80], why: test }\n",
        );
        let resolve: Resolve = Arc::new(|name| match name {
            "good.example" => Ok(()),
            "bad.example" => Err("no such name".to_owned()),
            "silent.example" => loop {
                std::thread::park();
            },
            other => panic!("{other} is not to be asked for"),
        });
        let problems = unresolved(&policy, Duration::from_secs(5), &resolve);
        assert_eq!(
            told(&problems),
            [
                "6:7: egress.allow[1]: bad.example leads nowhere from here: no such name; correct the name, or take the rule out",
                "7:7: egress.allow[2]: silent.example leads nowhere from here: no answer within 5 s; correct the name, or \
                 take the rule out",
            ]
        );
    }
}
