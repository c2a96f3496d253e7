//! The text of a list as entries, each with its place in the file.

use crate::config::raw::At;

/// A piece of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Something that is allowed.
    Entry(&'a str),
    /// From a `#` at the beginning of a word to the end of its line.
    Comment(&'a str),
}

impl<'a> Piece<'a> {
    /// As it is written.
    pub fn text(self) -> &'a str {
        match self {
            Self::Entry(text) | Self::Comment(text) => text,
        }
    }
}

/// The pieces of a list in their order. `${{ … }}` is never cut, because its words are no entries.
pub fn pieces(text: &str, at_spaces: bool) -> Vec<Piece<'_>> {
    text.lines().flat_map(|line| of_line(line, at_spaces)).collect()
}

fn of_line(line: &str, at_spaces: bool) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut before = ' ';
    let mut index = 0;
    let mut comment = None;
    while let Some(char) = line[index..].chars().next() {
        if line[index..].starts_with("${{") {
            start.get_or_insert(index);
            index = line[index..].find("}}").map_or(line.len(), |end| index + end + 2);
            before = '}';
            continue;
        }
        if char == '#' && before.is_whitespace() {
            comment = Some(index);
            break;
        }
        if !char.is_whitespace() {
            start.get_or_insert(index);
        } else if at_spaces && let Some(start) = start.take() {
            found.push(Piece::Entry(&line[start..index]));
        }
        before = char;
        index += char.len_utf8();
    }
    let end = comment.unwrap_or(line.len());
    found.extend(start.map(|start| Piece::Entry(line[start..end].trim_end())));
    found.extend(comment.map(|start| Piece::Comment(line[start..].trim_end())));
    found
}

/// Finds pieces again in the file that they were read from, one after the other.
#[derive(Debug)]
pub struct Places<'a> {
    text: &'a str,
    from: usize,
    to: usize,
    /// The line of `from`, and where that line begins.
    line: (u32, usize),
    start: At,
}

impl<'a> Places<'a> {
    /// For a value that begins at `start`, and lies before `end` if something follows it.
    pub fn new(text: &'a str, start: At, end: Option<At>) -> Self {
        let (line_start, from) = offset(text, start);
        let to = end.map_or(text.len(), |end| offset(text, end).1).max(from);
        Self { text, from, to, line: (start.line, line_start), start }
    }

    /// Where a piece stands. `None` if it stands nowhere as it is: YAML joined lines, or wrote a character by its number.
    pub fn next(&mut self, piece: &str) -> Option<At> {
        let found = self.from + self.text[self.from..self.to].find(piece)?;
        for (index, _) in self.text[self.from..found].match_indices('\n') {
            self.line = (self.line.0 + 1, self.from + index + 1);
        }
        self.from = found;
        let (line, start) = self.line;
        let at = At { line, column: 1 + self.text[start..found].chars().count() as u32 };
        // A piece has no line's end in it.
        self.from += piece.len();
        Some(at)
    }

    /// The beginning of the value.
    pub fn start(&self) -> At {
        self.start
    }
}

/// Where the line of a place begins, and where the place is.
fn offset(text: &str, at: At) -> (usize, usize) {
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines.by_ref().take(at.line as usize - 1).map(str::len).sum();
    let line = lines.next().unwrap_or_default();
    let column = line.char_indices().nth(at.column as usize - 1).map_or(line.len(), |(index, _)| index);
    (before, before + column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_at_spaces_or_lines_and_comments_are_no_entries() {
        use Piece::{Comment, Entry};
        let text = "# first\na.example.org:443  b.example.org # both\n  c.example.org#d\n";
        let first = Comment("# first");
        assert_eq!(
            pieces(text, true),
            [first, Entry("a.example.org:443"), Entry("b.example.org"), Comment("# both"), Entry("c.example.org#d")]
        );
        assert_eq!(
            pieces(text, false),
            [first, Entry("a.example.org:443  b.example.org"), Comment("# both"), Entry("c.example.org#d")]
        );
        assert_eq!(
            pieces("a ${{ vars.HOSTS # x }}:443 b", true),
            [Entry("a"), Entry("${{ vars.HOSTS # x }}:443"), Entry("b")]
        );
    }

    #[test]
    fn each_entry_is_found_where_it_stands() {
        let text = "k: >\n  é # a\n  a b\nother: a\n";
        let mut places = Places::new(text, At { line: 1, column: 4 }, Some(At { line: 4, column: 1 }));
        let at = |line, column| Some(At { line, column });
        assert_eq!((places.next("# a"), places.next("a"), places.next("b")), (at(2, 5), at(3, 3), at(3, 5)));
        assert_eq!(places.next("a"), None, "what follows the value is none of it");
    }
}
