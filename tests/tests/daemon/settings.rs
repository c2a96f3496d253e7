//! What holds for the next job, and what is left of the last one: no job changes either, whatever its policy says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use end_to_end::needs;

use crate::daemon;

const TRY: &str = "try() { (eval \"$1\") 2>/dev/null && echo \"$1: done\" || echo \"$1: refused\"; }\n";

/// Policies of two tiers of trust; what runs here is of the first.
fn policies(mode: &str) -> [String; 2] {
    let other = "version: 1\nname: other\nmode: block\napplies-to: { trust: release }\n";
    [format!("version: 1\nname: own\nmode: {mode}\n"), other.to_owned()]
}

#[test]
fn configuration_policies_and_earlier_logs_are_changed_by_no_job_or_it_is_told() {
    needs!();
    for mode in ["audit", "block"] {
        let policies = policies(mode);
        let elsewhere = tempfile::tempdir().expect("a folder");
        let own = |name: &str| elsewhere.path().join(name).display().to_string();
        let sinks = format!("sinks: [{{ name: copy, type: file, path: {} }}]\nspool: {}\n", own("copy"), own("spool"));
        let daemon = daemon(&[&policies[0], &policies[1]], &sinks);
        daemon.run("start >/dev/null; stop >/dev/null", &[]);
        daemon.wait_until_idle();
        let earlier = daemon.logs_written().remove(0);
        let earlier = earlier.file_name().and_then(|name| name.to_str()).expect("test paths are text");
        let of_daemon = ["config.yml", "policies/1.yml", "policies/2.yml", &format!("logs/{earlier}"), "logs/another"];
        let waiting = ["spool/copy.0.redb", "spool/another"].map(|file| elsewhere.path().join(file));
        let written: Vec<PathBuf> = of_daemon.iter().map(|file| daemon.path(file)).chain(waiting).collect();
        // Opened for writing, and left as it is.
        let tries: Vec<String> = written.iter().map(|file| format!(": >>{}", file.display())).collect();
        let removal = format!("rm policies/1.yml logs/{earlier}");
        let tries: Vec<&str> = tries.iter().map(String::as_str).chain([removal.as_str()]).collect();
        let script: Vec<String> = tries.iter().map(|command| format!("try '{command}'")).collect();
        let worked = daemon.run(&format!("{TRY}start >/dev/null\n{}\nstop >/dev/null", script.join("\n")), &[]);
        daemon.wait_until_idle();

        // On the tracepoint tier the earlier job's log is gone by now; names don't sort by time.
        let (_, log) = daemon.logs().into_iter().find(|(path, _)| !path.ends_with(earlier)).expect("the job has a log");
        let is_tracing = log.tier() == "tracing";
        let outcome = if is_tracing { "refused" } else { "done" };
        let outcomes: Vec<String> = tries.iter().map(|command| format!("{command}: {outcome}")).collect();
        assert_eq!(worked.stdout.lines().collect::<Vec<_>>(), outcomes, "{mode}: {worked:?}");
        let told = log.of("attempt").filter(|line| line.text("operation") == "write");
        let told: BTreeSet<&Path> = told.map(|line| Path::new(line.text("path"))).collect();
        // What isn't made is told by its name alone.
        let is_told =
            |file: &Path| told.contains(file) || told.contains(Path::new(file.file_name().unwrap_or_default()));
        let missed: Vec<&PathBuf> = written.iter().filter(|file| !is_told(file)).collect();
        assert!(missed.is_empty(), "{mode}: {missed:?} of {told:?}");
        assert!(log.findings("agent-tampering").next().is_some(), "{mode}: {:?}", log.finding_ids());
    }
}
