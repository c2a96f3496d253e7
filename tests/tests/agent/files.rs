//! Secret files: whatever way leads to one, the log has the file itself.

use end_to_end::{Line, needs};

use crate::{ACT, act};

/// Runs a trick on a secret; returns the one `file` line, and the secret's path.
fn opened(trick: &str) -> (Line, String) {
    let job = act(&["open", trick]).file(".aws/credentials", "dummy").file("desk/empty", "");
    let (secret, desk) = (job.path(".aws/credentials"), job.path("desk"));
    let run = job.word(&secret).word(&desk).run().whole();
    let files: Vec<&Line> = run.log.of("file").collect();
    let [file] = files.as_slice() else { panic!("{} file lines, not one: {files:?}", files.len()) };
    assert_eq!(file.text("class"), "secrets/aws");
    assert_eq!(file.at("/process/exe"), &ACT);
    ((*file).clone(), secret)
}

/// A trick that leads to the secret under its own name.
fn opened_by_name(trick: &str) {
    needs!();
    let (file, secret) = opened(trick);
    assert_eq!(file.text("path"), secret);
    assert!(file.at("/known_as").is_null());
    assert_eq!(file.text("access"), "read");
    assert_eq!(file.text("verdict"), "audited");
    assert!(!file.is("owner"));
}

macro_rules! by_name {
    ($($test:ident: $trick:literal;)*) => {
        $(#[test]
        fn $test() {
            opened_by_name($trick);
        })*
    };
}

by_name! {
    an_open_by_the_library_is_recorded: "plain";
    an_open_by_open_is_recorded: "open";
    an_open_by_openat2_is_recorded: "openat2";
    an_open_by_handle_is_recorded: "by-handle";
    an_open_by_a_relative_path_is_recorded_by_its_whole_path: "relative";
    an_open_from_a_directory_descriptor_is_recorded_by_its_whole_path: "dirfd";
    an_open_by_way_of_dot_dot_is_recorded_by_its_plain_path: "dotdot";
    an_open_of_a_symbolic_link_is_recorded_as_its_target: "symlink";
    an_open_through_a_linked_folder_is_recorded_as_its_target: "symlinked-folder";
    an_open_through_the_root_in_proc_is_recorded_by_its_plain_path: "proc-root";
    an_open_through_the_working_directory_in_proc_is_recorded_by_its_plain_path: "proc-cwd";
    an_open_in_a_thread_is_recorded: "thread";
    a_descriptor_for_the_path_alone_is_no_read_and_its_reopening_is_one: "o-path";
}

#[test]
fn a_reopening_through_proc_is_a_second_open() {
    needs!();
    let job = act(&["open", "proc-fd"]).file(".aws/credentials", "dummy");
    let secret = job.path(".aws/credentials");
    let run = job.word(&secret).run().whole();
    assert_eq!(run.log.files(&secret).len(), 2);
}

#[test]
fn a_file_made_anew_by_creat_is_a_write_and_no_finding() {
    needs!();
    let (file, secret) = opened("creat");
    assert_eq!((file.text("path"), file.text("access")), (secret.as_str(), "write"));
}

#[test]
fn a_write_alone_is_no_secret_read() {
    needs!();
    let job = act(&["open", "write"]).file(".aws/credentials", "dummy");
    let secret = job.path(".aws/credentials");
    let run = job.word(&secret).run().whole();
    assert_eq!(run.log.file(&secret).text("access"), "write");
    assert_eq!(run.log.finding_ids(), Vec::<&str>::new());
}

#[test]
fn a_hard_link_is_known_as_the_secret() {
    needs!();
    let (file, secret) = opened("hard-link");
    assert_eq!(file.text("path"), secret.replace(".aws/credentials", "desk/notes.txt"));
    assert_eq!(file.text("known_as"), secret);
}

#[test]
fn a_renamed_secret_is_known_as_the_secret() {
    needs!();
    let (file, secret) = opened("rename");
    assert_eq!(file.text("path"), secret.replace(".aws/credentials", "desk/x.bin"));
    assert_eq!(file.text("known_as"), secret);
}

#[test]
fn an_open_by_a_32_bit_call_is_recorded_and_marked() {
    needs!(end_to_end::host::can(ACT, &["compat", "open", "/dev/null"]), "this kernel has no 32-bit system calls");
    let job = act(&["compat", "open"]).file(".aws/credentials", "dummy");
    let secret = job.path(".aws/credentials");
    let run = job.word(&secret).run().whole();
    let file = run.log.file(&secret);
    assert!(file.is("compat"));
    assert_eq!(file.text("access"), "read");
}

#[test]
fn an_open_by_io_uring_is_seen_on_the_tracing_tier_and_elsewhere_its_set_up_says_so() {
    needs!(end_to_end::host::can(ACT, &["uring", "setup"]), "io_uring is switched off");
    let job = act(&["uring-file", "open"]).file(".aws/credentials", "dummy");
    let secret = job.path(".aws/credentials");
    let run = job.word(&secret).run().whole();
    assert_eq!(run.log.of("io-uring").count(), 1);
    if run.log.tier() == "tracing" {
        assert_eq!(run.log.file(&secret).text("verdict"), "audited");
        assert_eq!(run.log.finding_ids(), ["io-uring", "secret-read"]);
    } else {
        assert_eq!(run.log.finding_ids(), ["io-uring"]);
        assert!(run.log.files(&secret).is_empty(), "no system call returns it");
    }
}

#[test]
fn an_open_that_fails_is_no_file_line() {
    needs!();
    let job = act(&["open", "fail"]);
    let secret = job.path(".aws/credentials");
    let run = job.word(&secret).run().whole();
    assert_eq!(run.log.of("file").count(), 0);
}

#[test]
fn a_path_of_64_folders_is_whole() {
    needs!();
    let below = (0..64).fold(String::new(), |path, level| path + &format!("level-{level}/"));
    let job = act(&["open", "plain"]).file(&format!("{below}.npmrc"), "dummy");
    let secret = job.path(&format!("{below}.npmrc"));
    let run = job.word(&secret).run().whole();
    let file = run.log.file(&secret);
    assert_eq!(file.text("class"), "secrets/npm");
    assert!(!file.is("path_truncated"));
}

#[test]
fn a_path_deeper_than_the_walk_is_flagged_and_keeps_its_end() {
    needs!();
    let below = "d/".repeat(200);
    let job = act(&["open", "plain"]).file(&format!("{below}.npmrc"), "dummy");
    let secret = job.path(&format!("{below}.npmrc"));
    let run = job.word(&secret).run().whole();
    let file = run.log.of("file").next().expect("the open is recorded");
    assert!(file.is("path_truncated"));
    assert!(secret.ends_with(file.text("path")), "{:?}", file.0);
}

#[test]
fn a_folder_whose_name_is_no_utf8_is_told_by_its_bytes() {
    use std::os::unix::ffi::OsStrExt as _;
    needs!();
    let job = act(&["open", "plain"]);
    let folder = job.home().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(".npmrc"), "dummy").unwrap();
    let expected = job.path("caf\\xe9/.npmrc");
    let run = job.word(folder.join(".npmrc")).run().whole();
    assert_eq!(run.log.file(&expected).text("class"), "secrets/npm");
}

#[test]
fn a_program_that_owns_a_secret_may_read_it_and_others_are_found() {
    needs!();
    let policy = "version: 1\nname: owners\nsecrets:\n  files:\n    - { path: \"~/.config/deploy/token\", class: deploy, \
                  readers: [cat], why: \"the deploy tool of this test\" }\n";
    let job = crate::shell("cat ~/.config/deploy/token; head -c1 ~/.config/deploy/token")
        .file(".config/deploy/token", "dummy")
        .policy(policy);
    let secret = job.path(".config/deploy/token");
    let run = job.run().whole();
    let files = run.log.files(&secret);
    let [owner, other] = files.as_slice() else { panic!("two opens: {files:?}") };
    assert_eq!((owner.text("class"), owner.is("owner"), owner.text("verdict")), ("owners/deploy", true, "allowed"));
    assert_eq!((other.is("owner"), other.text("verdict")), (false, "audited"));
    let findings: Vec<&Line> = run.log.findings("secret-read").collect();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].key(), other.key());
    assert!(findings[0].evidence().contains(&other.number("seq")));
}
