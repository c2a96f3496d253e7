//! Rust source as the rules read it: which lines are code, and where the unit tests begin.

/// One line of code, without its comment.
pub struct Line<'a> {
    pub number: usize,
    pub code: &'a str,
    /// Inside a `#[cfg(test)]` module, which in this project closes its file.
    pub in_tests: bool,
}

/// The lines of `text` that are not comments. Reads line by line: a string that holds `//` loses its rest, which can
/// only hide something from a rule, never break one.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut in_tests = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]") && !line.contains("use ");
        let code = match line.find("//") {
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            _ => line,
        };
        (!code.trim().is_empty()).then_some(Line { number: index + 1, code, in_tests })
    })
}

/// Whether `needle` stands in `code` as whole words: `aya::` is not part of `papaya::`.
pub fn names(code: &str, needle: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(needle).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_word);
        let ends_in_word = needle.chars().next_back().is_some_and(is_word);
        let after = ends_in_word && code[at + needle.len()..].chars().next().is_some_and(is_word);
        let starts_in_word = needle.chars().next().is_some_and(is_word);
        !(after || (starts_in_word && before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_code_and_urls_are_no_comments() {
        let code: Vec<&str> =
            lines("//! aya\nlet a = 1; // aya\nlet u = \"https://x\";\n").map(|line| line.code).collect();
        assert_eq!(code, ["let a = 1; ", "let u = \"https://x\";"]);
    }

    #[test]
    fn unit_tests_are_told_from_the_code_above_them() {
        let flags: Vec<bool> = lines("fn f() {}\n#[cfg(test)]\nmod tests {}\n").map(|line| line.in_tests).collect();
        assert_eq!(flags, [false, true, true]);
    }

    #[test]
    fn a_name_is_a_whole_word() {
        assert!(names("use aya::Ebpf;", "aya::"));
        assert!(!names("use papaya::Map;", "aya::"));
        assert!(names("#[derive(Debug, Serialize)]", "Serialize"));
        assert!(!names("#[derive(SerializeFields)]", "Serialize"));
    }
}
