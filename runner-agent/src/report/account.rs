//! The account of records, at the end of a summary.

use std::fmt::Write as _;

use super::style::Style;
use crate::notice::Account;

/// Where records went, and what the kernel left out, in a line each.
pub(super) fn render(out: &mut String, style: Style, account: &Account) {
    let _ = writeln!(
        out,
        "{}  {} seen, {} lost; {} received = {} decoded + {} refused; difference {}",
        style.heading("events      "),
        account.seen(),
        account.lost(),
        account.received,
        account.decoded,
        account.refused,
        account.difference()
    );
    let runs = account.skipped_runs();
    if runs > 0 {
        let programs: Vec<String> =
            account.skipped.iter().map(|(program, runs)| format!("{program} ×{runs}")).collect();
        let text = format!("the kernel left out {runs} runs of probes, of whatever process: {}", programs.join(", "));
        let _ = writeln!(out, "  {}", style.doubtful(&text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_were_left_out_are_said_by_program_and_nothing_is_said_of_none() {
        let mut account = Account::default();
        let mut text = String::new();
        render(&mut text, Style::PLAIN, &account);
        assert_eq!(text, "events        0 seen, 0 lost; 0 received = 0 decoded + 0 refused; difference 0\n");
        account.skipped = [("file_open", 3), ("sys_exit", 1)].into();
        text.clear();
        render(&mut text, Style::PLAIN, &account);
        let last = text.lines().last();
        let expected = "  the kernel left out 4 runs of probes, of whatever process: file_open ×3, sys_exit ×1";
        assert_eq!(last, Some(expected));
    }
}
