//! Findings and losses as they happen, for the person at the terminal or the reader of a job's log.

use std::io::{self, Write as _};

use super::outbox::Sink;
use super::wire::Encoder;
use crate::notice::{AgentState, Content, Notice};
use crate::report::style::Style;
use crate::text::printable;

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Pretty,
    /// The lines of the event log, unchained.
    Json,
}

/// Prints to standard error, because standard output is the command's.
pub struct Terminal {
    /// How.
    pub format: Format,
    /// In which colours.
    pub style: Style,
    /// For [`Format::Json`].
    pub encoder: Encoder,
}

impl Terminal {
    /// Which notices are worth a line while the job runs.
    pub fn wants(notice: &Notice) -> bool {
        matches!(notice.content, Content::Finding(_) | Content::Loss(_) | Content::Agent(AgentState::Changed { .. }))
    }

    fn write(&self, notice: &Notice, out: &mut Vec<u8>) -> io::Result<()> {
        if self.format == Format::Json {
            self.encoder.encode(notice, "", out);
            out.push(b'\n');
            return Ok(());
        }
        match &notice.content {
            Content::Finding(finding) => {
                let severity = self.style.severity(finding.severity);
                writeln!(out, "runner-agent: {severity} {}: {}", finding.id, printable(&finding.message))?;
                match &finding.fix {
                    Some(fix) => writeln!(out, "runner-agent:   to allow it: {}", printable(fix)),
                    None => Ok(()),
                }
            }
            Content::Loss(loss) => {
                writeln!(out, "runner-agent: lost {} at {} ({})", loss.count, loss.place, loss.reason)
            }
            Content::Agent(AgentState::Changed { state, detail }) => {
                writeln!(out, "runner-agent: {state}: {}", printable(detail))
            }
            _ => Ok(()),
        }
    }
}

impl Sink for Terminal {
    fn deliver(&mut self, batch: &[Notice]) -> io::Result<()> {
        let mut out = Vec::new();
        for notice in batch {
            self.write(notice, &mut out)?;
        }
        // One write a batch: the command's own lines must not break ours.
        io::stderr().lock().write_all(&out)
    }
}
