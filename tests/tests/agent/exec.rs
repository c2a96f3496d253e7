//! Processes: started in every way, each recorded once and whole.

use std::collections::HashSet;

use end_to_end::{Line, needs, pattern};

use crate::{ACT, act, shell};

#[test]
fn each_exec_of_a_storm_stands_in_the_log_once_with_its_exit() {
    needs!();
    let run = act(&["exec", "storm", "500", "storm"]).run().whole();
    let keys: HashSet<&str> = (0..500).map(|number| run.log.exec_with(&["storm", &number.to_string()]).key()).collect();
    assert_eq!(keys.len(), 500);
    for key in keys {
        let exits: Vec<u64> =
            run.log.of("exit").filter(|exit| exit.key() == key).map(|exit| exit.number("exit_code")).collect();
        assert_eq!(exits, [0]);
    }
}

#[test]
fn threads_are_told_as_no_new_namespaces() {
    needs!();
    // What their clone3(2) was given is memory that their maker goes on with, whatever it says by the time they are looked at.
    let run = act(&["exec", "threads", "2000"]).run().whole();
    assert_eq!(run.log.of("attempt").count(), 0, "{:?}", run.log.of("attempt").next());
}

#[test]
fn an_argument_vector_of_100_kib_is_whole_and_exact_to_the_byte() {
    needs!();
    let run = act(&["exec", "argv", "102400"]).run().whole();
    let expected = pattern::arguments(102_400);
    let words: Vec<&str> = expected.iter().map(String::as_str).collect();
    let exec = run.log.exec_with(&words);
    assert_eq!(exec.at("/process/exe"), &std::fs::canonicalize("/bin/true").unwrap().to_str().unwrap());
    // Written only when it isn't.
    assert!(exec.at("/process/argv_whole").is_null());
}

#[test]
fn the_longest_argument_vector_that_the_kernel_takes_is_whole_and_exact_to_the_byte() {
    needs!();
    let total = 1_900 * 1024;
    let run = act(&["exec", "argv", &total.to_string()]).run().whole();
    let expected = pattern::arguments(total);
    let words: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert!(run.log.exec_with(&words).at("/process/argv_whole").is_null());
}

#[test]
fn an_empty_argument_and_one_with_every_byte_of_text_keep_their_places() {
    needs!();
    let run = shell("/bin/true '' a '' $'tab\\t \"quoted\" \\\\ \\n\\x01' ''").run().whole();
    run.log.exec_with(&["", "a", "", "tab\t \"quoted\" \\ \n\u{1}", ""]);
}

#[test]
fn names_and_arguments_that_are_no_utf8_stay_distinguishable() {
    needs!();
    let job = act(&["exec", "not-utf8"]);
    let home = job.path("");
    let run = job.word(&home).run().whole();
    let exec = run.log.exec_with(&["\\xc3(=\\xfe"]);
    assert_eq!(exec.at("/process/exe"), &format!("{home}caf\\xe9-\\xff"));
}

#[test]
fn an_exec_from_a_thread_belongs_to_the_process_and_keeps_its_identity() {
    needs!();
    let run = act(&["exec", "thread", "/bin/true", "from-thread"]).run().whole();
    let before = run.log.exec_with(&["exec", "thread", "/bin/true", "from-thread"]);
    let after = run.log.exec_with(&["from-thread"]);
    assert_eq!(before.key(), after.key());
    let exits: Vec<&str> = run.log.of("exit").map(Line::key).filter(|key| *key == after.key()).collect();
    assert_eq!(exits.len(), 1, "a thread's end is no process's end");
}

#[test]
fn a_pid_that_comes_back_is_another_process() {
    needs!();
    let run = act(&["exec", "pid-again"]).run().whole();
    let pid: u64 = run.stdout.trim().parse().unwrap();
    let [first, second] = ["first", "second"].map(|tag| {
        let all = run.log.execs_with(&["pid-again", tag]);
        (*all.iter().rfind(|exec| exec.at("/process/pid") == pid).expect("an exec with the pid")).clone()
    });
    assert_ne!(first.key(), second.key());
    for line in [&first, &second] {
        let exits: Vec<u64> =
            run.log.of("exit").filter(|exit| exit.key() == line.key()).map(|exit| exit.number("exit_code")).collect();
        assert_eq!(exits, [0]);
    }
}

#[test]
fn a_process_shorter_than_a_tick_has_parent_program_and_exit() {
    needs!();
    let run = shell("/bin/true inner; exec /bin/true outer").run().whole();
    let inner = run.log.exec_with(&["inner"]);
    let shell = run.log.of("exec").find(|exec| exec.argv()[0] == "bash").unwrap();
    assert_eq!(*inner.at("/process/parent"), shell.key());
    let outer = run.log.exec_with(&["outer"]);
    assert_eq!(outer.key(), shell.key(), "exec without fork keeps the process");
    assert_eq!(run.log.of("exit").filter(|exit| exit.key() == inner.key()).count(), 1);
}

#[test]
fn a_process_whose_parent_is_gone_still_belongs_to_the_job() {
    needs!();
    // The pipe keeps the job's output open until the orphan has ended, so the shell waits for it.
    let run = shell("\"$ACT\" exec orphan /bin/true orphan | cat").run().whole();
    let orphan = run.log.exec_with(&["orphan"]);
    assert!(!orphan.is("outside_cgroup"));
}

#[test]
fn a_failed_exec_leaves_no_exec() {
    needs!();
    let run = shell("/nonexistent/program; touch plain; ./plain; true done").run().whole();
    let programs: Vec<&str> = run.log.of("exec").map(|exec| exec.at("/process/exe").as_str().unwrap()).collect();
    assert!(!programs.iter().any(|exe| exe.ends_with("/plain") || exe.ends_with("/program")), "{programs:?}");
}

#[test]
fn the_exit_line_says_code_or_signal() {
    needs!();
    let run = shell("bash -c 'exit 7' tag-code; bash -c 'kill -USR1 $$' tag-signal; true").run().whole();
    let exit_of = |tag: &str| {
        let exec = run.log.of("exec").find(|exec| exec.argv().contains(&tag)).unwrap();
        run.log.of("exit").find(|exit| exit.key() == exec.key()).unwrap()
    };
    assert_eq!(exit_of("tag-code").number("exit_code"), 7);
    assert_eq!(exit_of("tag-signal").number("signal"), 10);
}

#[test]
fn secrets_in_arguments_stand_nowhere_in_the_log() {
    needs!();
    let dummy = "dummy0secret1value2";
    let token = format!("ghp_{}", "0123456789abcdefABCDEF".repeat(2));
    let run = shell(
        "/bin/true \"$DEPLOY_TOKEN\" --password \"$PLAIN\" \"X-Api-Key: $PLAIN\" \"PASSWORD=$PLAIN\" \"$SHAPED\"",
    )
    .variable("DEPLOY_TOKEN", dummy)
    .variable("PLAIN", "hunter2-but-longer")
    .variable("SHAPED", &token)
    .run()
    .whole();
    for secret in [dummy, "hunter2-but-longer", &token] {
        assert!(!run.log.text.contains(secret), "{secret} stands in the log");
    }
    run.log.exec_with(&["***", "--password", "***", "X-Api-Key: ***", "PASSWORD=***", "***"]);
}

#[test]
fn a_secret_in_the_command_itself_stands_neither_in_the_log_nor_on_the_terminal() {
    needs!();
    let run = act(&["exec", "storm", "1", "--token=dummy0secret1value2"]).run().whole();
    assert!(!run.log.text.contains("dummy0secret1value2"));
    assert!(!run.stderr.contains("dummy0secret1value2"));
    assert_eq!(run.log.execs_with(&["--token=***", "0"]).len(), 1);
    assert_eq!(run.log.of("exec").next().unwrap().argv()[0], ACT);
}
