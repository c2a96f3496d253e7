//! Module order: `runner-agent/src/lib.rs` lists its modules from the bottom up, and each uses only those above it.

use std::collections::BTreeSet;

use super::source::lines;
use super::{File, Problem};

const ROOT: &str = "runner-agent/src/";

/// Unit tests may look wherever they like; the rule holds for the code.
pub fn check(files: &[File]) -> Vec<Problem> {
    let Some(root) = files.iter().find(|file| file.path == format!("{ROOT}lib.rs")) else {
        return Vec::new();
    };
    let order = modules(&root.text);
    let mut problems = Vec::new();
    for file in files {
        let Some(own) = module_of(&file.path).and_then(|own| order.iter().position(|module| *module == own)) else {
            continue;
        };
        for line in lines(&file.text).filter(|line| !line.in_tests) {
            for used in used_modules(line.code) {
                let Some(place) = order.iter().position(|module| *module == used) else {
                    continue;
                };
                if place > own {
                    problems.push(Problem {
                        path: file.path.clone(),
                        line: line.number,
                        what: format!(
                            "`{}` uses `crate::{used}`, which lib.rs lists below it: move what both need up, or the \
                             order is wrong",
                            order[own]
                        ),
                    });
                }
            }
        }
    }
    problems
}

/// The modules in the order in which `lib.rs` declares them.
fn modules(text: &str) -> Vec<&str> {
    lines(text)
        .filter(|line| !line.in_tests)
        .filter_map(|line| {
            let code = line.code.trim();
            let code = code.strip_prefix("pub ").or_else(|| code.strip_prefix("pub(crate) ")).unwrap_or(code);
            code.strip_prefix("mod ")?.strip_suffix(';')
        })
        .collect()
}

/// `runner-agent/src/policy/host.rs` and `runner-agent/src/policy.rs` both belong to `policy`.
fn module_of(path: &str) -> Option<&str> {
    path.strip_prefix(ROOT)?.strip_suffix(".rs")?.split('/').next()
}

/// The first names after `crate::`, in `crate::a::B` and in `crate::{a::B, c}`.
fn used_modules(code: &str) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.extend(first_name(rest));
            continue;
        };
        let mut depth = 0_usize;
        let mut item = 0;
        for (index, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => item = index + 1,
                _ => continue,
            }
            used.extend(first_name(group[item..].trim_start()));
        }
        used.extend(first_name(group[item..].trim_start()));
    }
    used
}

fn first_name(path: &str) -> Option<&str> {
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(path.len());
    (end > 0).then(|| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: format!("{ROOT}{path}"), text: text.into() }
    }

    #[test]
    fn a_module_that_uses_one_below_it_is_a_problem() {
        let files = [
            file("lib.rs", "pub mod event;\npub mod policy;\n"),
            file("event.rs", "use crate::policy::Policy;\n"),
            file("policy/host.rs", "use crate::event::Host;\nuse crate::policy::Rule;\n"),
        ];
        let problems = check(&files);
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].path.as_str(), problems[0].line), ("runner-agent/src/event.rs", 1));
    }

    #[test]
    fn unit_tests_and_comments_may_name_anything() {
        let files = [
            file("lib.rs", "pub mod event;\npub mod policy;\n"),
            file("event.rs", "// see crate::policy\n#[cfg(test)]\nmod tests { use crate::policy::Policy; }\n"),
        ];
        assert_eq!(check(&files), []);
    }

    #[test]
    fn groups_are_read_to_their_first_names() {
        let used = used_modules("use crate::{event::{self, Event}, job, policy::Policy};");
        assert_eq!(used.into_iter().collect::<Vec<_>>(), ["event", "job", "policy"]);
    }
}
