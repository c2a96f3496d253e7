//! Slack's incoming webhooks: one message for what somebody should look at.
//!
//! Source: Slack, "Formatting text for app surfaces" (`&`, `<` and `>` are the only characters with a meaning of their own, and
//! are written as entities) and "Block Kit" (a text has at most 3000 characters). Every text is plain or verbatim, so that
//! nothing in it becomes a link, a mention or a channel.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use super::facts;
use super::format::About;
use crate::notice::{Content, Notice};
use crate::text::printable;

/// Characters of one text, entities counted as they are written.
const TEXT_CHARS: usize = 3000;
/// Of the heading, which a block of that kind has fewer of.
const HEADING_CHARS: usize = 150;

#[derive(Serialize)]
struct Message {
    /// For notifications, which show no blocks.
    text: String,
    blocks: Vec<Block>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Block {
    Header { text: Text },
    Section { text: Text },
    Context { elements: Vec<Text> },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Text {
    #[serde(rename = "plain_text")]
    Plain { text: String, emoji: bool },
    #[serde(rename = "mrkdwn")]
    Marked { text: String, verbatim: bool },
}

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let content = &notice.content;
    let severity = facts::severity(notice);
    let heading = format!("{severity}: {}", facts::alarm_name(content));
    let sentence = facts::sentence(notice);
    let mut blocks = vec![
        Block::Header { text: plain(&heading, HEADING_CHARS) },
        Block::Section { text: plain(&sentence, TEXT_CHARS) },
    ];
    if let Content::Finding(finding) = content
        && let Some(fix) = &finding.fix
    {
        // Three back ticks in it would end the code early.
        let fix = fix.replace('`', "'");
        let text = format!("A policy that allows it has:\n```{}```", escaped(&fix, TEXT_CHARS - 100));
        blocks.push(Block::Section { text: Text::Marked { text, verbatim: true } });
    }
    blocks.push(Block::Context { elements: vec![plain(&place(notice, about), TEXT_CHARS)] });
    super::write(&Message { text: escaped(&format!("{heading}: {sentence}"), TEXT_CHARS), blocks }, out);
}

/// Where it was seen, on one line.
fn place(notice: &Notice, about: &About) -> String {
    let mut text = format!("runner {}", about.host);
    if let Some(identity) = &about.identity {
        for (name, value) in [
            ("repository", &identity.repository),
            ("workflow", &identity.workflow),
            ("job", &identity.job),
            ("run", &identity.url),
        ] {
            if let Some(value) = value {
                let _ = write!(text, " · {name} {value}");
            }
        }
    }
    let _ = write!(text, " · policy {} ({}) · {}", about.policy, about.mode, about.id(notice));
    text
}

fn plain(text: &str, most: usize) -> Text {
    Text::Plain { text: escaped(text, most), emoji: false }
}

/// Text with entities, cut before one that would not fit.
fn escaped(text: &str, most: usize) -> String {
    let mut written = String::new();
    let mut left = most - 1;
    for char in printable(text).chars() {
        let mut buffer = [0; 4];
        let piece: Cow<'_, str> = match char {
            '&' => "&amp;".into(),
            '<' => "&lt;".into(),
            '>' => "&gt;".into(),
            other => Cow::Borrowed(other.encode_utf8(&mut buffer)),
        };
        let length = piece.chars().count();
        if length > left {
            written.push('…');
            break;
        }
        left -= length;
        written.push_str(&piece);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mention_somebody_is_written_as_entities() {
        assert_eq!(escaped("<!channel> & <@U1>", 100), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
    }

    #[test]
    fn a_text_is_cut_at_its_length_and_never_within_an_entity() {
        assert_eq!(escaped("ab<", 5), "ab…");
        assert_eq!(escaped("abcd", 5), "abcd");
        assert_eq!(escaped("abcde", 5), "abcd…");
    }
}
