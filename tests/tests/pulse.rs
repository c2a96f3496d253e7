//! Hooks that stand where they stood, and don't run any more. A binary of its own, because no other agent on the machine has a hook
//! meanwhile.

use std::fs;
use std::time::Duration;

use end_to_end::host::{is_guest, patience};
use end_to_end::{Job, binary, needs, report, test_name, wait_until};

const ACT: &str = env!("CARGO_BIN_EXE_act");

const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";

const SOON: Duration = Duration::from_secs(20);

#[test]
fn hooks_that_somebody_outside_has_stopped_are_told_and_run_again() {
    if !is_guest() {
        report::needs_guest(test_name!(), "it stops ftrace, which is this machine's");
        return;
    }
    needs!(end_to_end::job::tier().is_none_or(|tier| tier == "tracing"), "the tracepoint tier was asked for");
    for mode in ["audit", "block"] {
        // The agent has a use for no such signal, and ends by it.
        let script = "echo armed; read -r _ <go; kill -USR1 $PPID; echo $?";
        let script = format!("mkfifo go; {script}");
        let job = Job::new(binary::agent(ACT), ["bash", "-c", &script]).option("--mode").option(mode);
        let home = job.home().to_owned();
        let mut running = job.start();
        assert_eq!(running.line(), "armed");
        if fs::write(FTRACE, "0").is_err() {
            // As 5.10 does: refused while a program stands before a function.
            fs::write(home.join("go"), "\n").expect("the job listens");
            drop(running.wait());
            report::could_not_run(test_name!(), "this kernel doesn't stop ftrace while it is in use");
            return;
        }
        let log = running.log();
        let is_told = || fs::read_to_string(&log).unwrap_or_default().contains("\"state\":\"tampered\"");
        let was_told = wait_until(patience(SOON), is_told);
        let on = fs::read_to_string(FTRACE).unwrap_or_default();
        let _ = fs::write(FTRACE, "1");
        fs::write(home.join("go"), "\n").expect("the job listens");
        assert_eq!(running.line(), "1", "the signal is refused again");
        let run = running.wait().nothing_lost();
        assert!(was_told, "{}", run.stderr);
        assert_eq!(on.trim(), "1", "it was the agent that had ftrace run again");
        assert!(run.log.findings("agent-tampering").any(|line| line.text("message").contains("ftrace_enabled")));
    }
}
