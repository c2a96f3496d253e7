//! File length: where a source file must be long, its first comment says why.

use super::{File, Problem};

/// Lines up to which a source file needs no argument.
const LONG: usize = 350;

/// A long file is argued when its first comment gives a reason; "because" is the word that is looked for.
pub fn check(files: &[File]) -> Vec<Problem> {
    files
        .iter()
        .filter(|file| file.is_rust() && file.text.lines().count() > LONG)
        .filter(|file| !first_comment(&file.text).contains("because"))
        .map(|file| Problem {
            path: file.path.clone(),
            line: 1,
            what: format!(
                "{} lines, more than {LONG}: split it, or let its first comment say why it is one file (\"… because …\")",
                file.text.lines().count()
            ),
        })
        .collect()
}

fn first_comment(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// One line about the lengths of all source files.
pub fn summary(files: &[File]) -> String {
    let mut lengths: Vec<usize> =
        files.iter().filter(|file| file.is_rust()).map(|file| file.text.lines().count()).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
    let long = lengths.iter().filter(|length| **length > LONG).count();
    format!("tidy: {} source files, median {median} lines, {long} longer than {LONG}", lengths.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(first: &str) -> File {
        File { path: "a.rs".into(), text: format!("{first}\n{}", "fn f() {}\n".repeat(LONG)) }
    }

    #[test]
    fn a_long_file_needs_a_reason_in_its_first_comment() {
        assert_eq!(check(&[file("//! Everything.")]).len(), 1);
        assert_eq!(
            check(&[file("//! The table of techniques: one file because rows are compared with each other.")]),
            []
        );
        let short = File { path: "b.rs".into(), text: "fn f() {}\n".into() };
        assert_eq!(check(&[short]), []);
    }
}
