//! How a test says that it could not run here: libtest has no word for it.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Names the file that reports go to.
pub const REPORT: &str = "RUNNER_AGENT_TEST_REPORT";

/// Says that a test could not run on this machine.
pub fn could_not_run(test: &str, reason: &str) {
    append(&format!("could-not-run: {}: {reason}\n", path_of(test)));
}

/// Says that a test needs a guest with another kernel.
pub fn needs_guest(test: &str, reason: &str) {
    append(&format!("needs-guest: {}: {reason}\n", path_of(test)));
}

fn append(line: &str) {
    let Some(file) = std::env::var_os(REPORT) else {
        // Without a file for it, whoever watches is told.
        let _ = std::io::stderr().write_all(line.as_bytes());
        return;
    };
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("the report can be written to");
    // One write: tests run side by side.
    file.write_all(line.as_bytes()).expect("the report can be written to");
}

/// libtest's path of a test, from the type name of an item within it: `crate::module::test::here`.
fn path_of(within: &str) -> &str {
    let path = within.strip_suffix("::here").unwrap_or(within);
    path.split_once("::").map_or(path, |(_crate, path)| path)
}

/// The calling test's own path, for [`could_not_run`].
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here)
    }};
}

/// Ends the test, told as one that could not run, unless this machine can run end-to-end tests; with arguments, unless
/// the condition holds, for the reason given.
#[macro_export]
macro_rules! needs {
    () => {
        if let Some(reason) = $crate::host::missing() {
            $crate::report::could_not_run($crate::test_name!(), &reason);
            return;
        }
    };
    ($condition:expr, $reason:expr) => {
        $crate::needs!();
        if !$condition {
            $crate::report::could_not_run($crate::test_name!(), $reason);
            return;
        }
    };
}

/// Ends the test, told as one that could not run, where the agent refuses no open of a file; `beside` is a program of the tests', as
/// [`crate::binary::agent`] takes it.
#[macro_export]
macro_rules! needs_tracing {
    ($beside:expr) => {
        $crate::needs!(
            $crate::job::tier().is_none_or(|tier| tier == "tracing"),
            "the tracepoint tier was asked for, which refuses no open"
        );
        if !$crate::job::can_refuse($beside) {
            $crate::report::needs_guest($crate::test_name!(), "this kernel loads no TRACING programs");
            return;
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_told_by_the_path_that_libtest_has_for_it() {
        let name = path_of(test_name!());
        assert_eq!(name, "report::tests::a_test_is_told_by_the_path_that_libtest_has_for_it");
    }
}
