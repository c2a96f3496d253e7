//! Colours, where they are wanted.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style as Ansi};

use crate::policy::Severity;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    is_coloured: bool,
}

impl Style {
    /// No colours.
    pub const PLAIN: Self = Self { is_coloured: false };

    /// Colours if standard error is a terminal and `NO_COLOR` is not set.
    pub fn for_stderr() -> Self {
        Self { is_coloured: std::io::stderr().is_terminal() && !no_color() }
    }

    /// Colours if standard output is a terminal and `NO_COLOR` is not set.
    pub fn for_stdout() -> Self {
        Self { is_coloured: std::io::stdout().is_terminal() && !no_color() }
    }

    /// Whether this style has colours, for those who paint by themselves.
    pub fn is_coloured(self) -> bool {
        self.is_coloured
    }

    /// The severity in capitals, in its colour.
    pub fn severity(self, severity: Severity) -> String {
        let colour = match severity {
            Severity::Critical | Severity::High => AnsiColor::Red,
            Severity::Medium => AnsiColor::Yellow,
            Severity::Low | Severity::Info => AnsiColor::Cyan,
        };
        self.paint(&severity.as_str().to_uppercase(), Ansi::new().bold().fg_color(Some(colour.into())))
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.paint(text, Ansi::new().bold())
    }

    /// Something of less weight.
    pub fn faint(self, text: &str) -> String {
        self.paint(text, Ansi::new().dimmed())
    }

    /// Something that is as it should be.
    pub fn good(self, text: &str) -> String {
        self.paint(text, Ansi::new().fg_color(Some(AnsiColor::Green.into())))
    }

    /// Something to know of.
    pub fn doubtful(self, text: &str) -> String {
        self.paint(text, Ansi::new().bold().fg_color(Some(AnsiColor::Yellow.into())))
    }

    /// Something that keeps the rest from working.
    pub fn bad(self, text: &str) -> String {
        self.paint(text, Ansi::new().bold().fg_color(Some(AnsiColor::Red.into())))
    }

    fn paint(self, text: &str, style: Ansi) -> String {
        if self.is_coloured { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// <https://no-color.org>: present and not empty.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
