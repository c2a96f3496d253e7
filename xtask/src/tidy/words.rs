//! Words and places: who may name what, what stays out of code, and what stays out of everything that is committed.

use super::rules::{
    EXAMPLE_DOMAINS, MADE_UP_HOMES, PLACES_EXCEPT, PUBLIC_SUFFIXES, REGISTRY_LABELS, Room, Scope, Word,
};
use super::source::{lines, names};
use super::{File, Problem};

fn is_in(path: &str, prefixes: impl IntoIterator<Item = &'static str>) -> bool {
    prefixes.into_iter().any(|prefix| path.starts_with(prefix))
}

/// Names that only one room may use; a file outside it is told once, at its first. Unit tests may use them: a test
/// compares with what it reads back.
pub fn check_room(room: &Room, files: &[File]) -> Vec<Problem> {
    let allowed = || room.home.iter().copied().chain(room.except.iter().map(|(path, _reason)| *path));
    files
        .iter()
        .filter(|file| file.path.starts_with(room.scope) && file.is_rust() && !is_test_file(&file.path))
        .filter(|file| !is_in(&file.path, allowed()))
        .filter_map(|file| {
            lines(&file.text).filter(|line| !line.in_tests).find_map(|line| {
                let needle = room.needles.iter().find(|needle| starts_a_name(line.code, needle))?;
                let what = format!("`{}` here: {}", needle.trim_end_matches(':'), room.rule);
                Some(Problem { path: file.path.clone(), line: line.number, what })
            })
        })
        .collect()
}

/// A needle that ends in `_` stands for every name that begins so.
fn starts_a_name(code: &str, needle: &str) -> bool {
    if needle.ends_with('_') { code.contains(needle) } else { names(code, needle) }
}

/// Words that stay out of code, or out of tests.
pub fn check_word(word: &Word, files: &[File]) -> Vec<Problem> {
    files
        .iter()
        .filter(|file| file.is_rust() && !is_in(&file.path, word.except.iter().map(|(path, _)| *path)))
        .flat_map(|file| lines(&file.text).map(move |line| (file, line)))
        .filter(|(file, line)| word.scope == Scope::Code || line.in_tests || is_test_file(&file.path))
        .filter(|(_, line)| names(line.code, word.needle))
        .map(|(file, line)| Problem {
            path: file.path.clone(),
            line: line.number,
            what: format!("`{}` stays out: {}", word.needle, word.instead),
        })
        .collect()
}

/// A test crate, or unit tests in a file of their own (`#[cfg(test)] mod tests;`).
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Places that only one machine has, and hosts that only the runner's configuration may name.
pub fn check_places(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        if is_in(&file.path, PLACES_EXCEPT.iter().map(|(path, _reason)| *path)) {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            let what = if let Some(path) = machine_path(line) {
                format!("`{path}` is a path of one machine: write it from the workspace's root, or with a made-up home")
            } else if let Some(host) = registry_host(line) {
                format!("`{host}` is a registry's host: ask the package manager's configuration at run time")
            } else {
                continue;
            };
            problems.push(Problem { path: file.path.clone(), line: index + 1, what });
        }
    }
    problems
}

/// `/home/NAME` with a name that is not made up, `/root/FILE`, `/work/FILE`, `/Users/NAME`.
fn machine_path(line: &str) -> Option<&str> {
    let is_name = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '.');
    for prefix in ["/home/", "/Users/", "/root/", "/work/"] {
        for (at, _) in line.match_indices(prefix) {
            // The middle of a longer path: `/proc/self/root/`, `runner/work/`.
            if line[..at].chars().next_back().is_some_and(|before| is_name(before) || matches!(before, '/' | '}' | ')'))
            {
                continue;
            }
            let name_at = at + prefix.len();
            let name = line[name_at..].split(|character| !is_name(character)).next().unwrap_or_default();
            let made_up = matches!(prefix, "/home/" | "/Users/") && MADE_UP_HOMES.contains(&name);
            if !name.is_empty() && !made_up {
                return Some(&line[at..name_at + name.len()]);
            }
        }
    }
    None
}

fn registry_host(line: &str) -> Option<&str> {
    line.split(|character: char| !character.is_ascii_alphanumeric() && !matches!(character, '.' | '-')).find(|word| {
        let word = word.trim_matches('.');
        let labels: Vec<&str> = word.split('.').collect();
        labels.len() > 1
            && PUBLIC_SUFFIXES.contains(&labels[labels.len() - 1])
            && !EXAMPLE_DOMAINS.iter().any(|domain| word.ends_with(domain))
            && labels.iter().any(|label| REGISTRY_LABELS.contains(label))
    })
}

#[cfg(test)]
mod tests {
    use super::super::rules::ROOMS;
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_name_outside_its_room_is_a_problem_and_inside_it_is_not() {
        let outside = file("runner-agent/src/pipeline.rs", "use aya::Ebpf;\n");
        let inside = file("runner-agent/src/kernel/load.rs", "use aya::Ebpf;\n");
        let problems: Vec<Problem> =
            ROOMS.iter().flat_map(|room| check_room(room, &[file(&outside.path, &outside.text)])).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(ROOMS.iter().all(|room| check_room(room, &[file(&inside.path, &inside.text)]).is_empty()));
    }

    #[test]
    fn a_reader_of_the_log_may_stand_beside_its_writer() {
        let reader = file("runner-agent/src/sink/wire/read.rs", "#[derive(Deserialize)]\n");
        assert!(ROOMS.iter().all(|room| check_room(room, &[file(&reader.path, &reader.text)]).is_empty()));
    }

    #[test]
    fn sleeping_is_for_programs_not_for_tests() {
        let word = Word { needle: "thread::sleep", scope: Scope::Tests, instead: "wait", except: &[] };
        assert_eq!(check_word(&word, &[file("runner-agent/src/agent.rs", "thread::sleep(a);\n")]), []);
        assert_eq!(check_word(&word, &[file("tests/tests/exec.rs", "std::thread::sleep(a);\n")]).len(), 1);
    }

    #[test]
    fn paths_of_one_machine_are_found_and_made_up_ones_are_not() {
        assert_eq!(machine_path("see /home/kim/src"), Some("/home/kim"));
        assert_eq!(machine_path("cp /root/.ssh/id_rsa"), Some("/root/.ssh"));
        assert_eq!(machine_path("/home/runner/work/app and /proc/self/root/etc and ~/.aws"), None);
        assert_eq!(machine_path("`{home}/root/x`, /home/*/.ssh"), None);
    }

    #[test]
    fn a_registrys_host_is_known_by_its_labels_and_examples_are_free() {
        let host = ["index.", "crates", ".io"].concat();
        assert_eq!(registry_host(&format!("fetch {host}/config.json")), Some(host.as_str()));
        assert_eq!(registry_host("host: registry.example.org"), None);
        assert_eq!(registry_host("policy.registry.lookup()"), None);
    }
}
