//! Reads of secret files by others than their owners, refused: whatever way leads to one. One agent for all ways, because where
//! this can be tried an agent takes long to start.
//!
//! Needs the tracing tier. Programs of temporary folders own nothing, so the reader lies where the machine's programs lie; that
//! is a guest's.

use std::fs;
use std::path::{Path, PathBuf};

use end_to_end::job::tier;
use end_to_end::{Job, Run, needs, report, test_name};

use crate::shell;

/// The reader that the policy names.
struct Reader(PathBuf);

impl Reader {
    /// Puts a copy of a program there, under a name that is this test's own.
    fn of(program: &str, test: &str) -> Self {
        fs::create_dir_all("/usr/local/bin").expect("a folder for programs");
        let path = Path::new("/usr/local/bin").join(format!("e2e-reader-{test}"));
        fs::copy(program, &path).expect("a program can be copied");
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).expect("the name is text")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether this kernel can refuse an open.
fn can_refuse() -> bool {
    shell("true").option("--tier").option("tracing").without_log().run().status.success()
}

/// A job whose policy refuses reads.
fn refusing(reader: &Reader, script: &str) -> Job {
    let policy = format!(
        "version: 1\nname: strict\nmode: block\nsecrets:\n  files:\n    \
         - {{ path: \"~/.aws/credentials\", readers: [\"{0}\"], why: deploys }}\n    \
         - {{ path: \"**/.npmrc\", readers: [\"{0}\"], why: publishes }}\n    \
         - {{ path: \"~/.ssh/id_*\", readers: [\"{0}\"], why: signs in }}\n  \
         on-read: {{ other-readers: block }}\n",
        reader.name()
    );
    shell(script)
        .policy(&policy)
        .variable("READER", &reader.0)
        .file(".aws/credentials", "the-secret\n")
        .file(".ssh/id_there", "the-secret\n")
        .file("desk/empty", "")
}

/// The secret never comes out but by its reader, and every refusal is told.
fn held(run: &Run, ways: &[&str]) {
    for way in ways {
        let line = run.stdout.lines().find(|line| line.starts_with(&format!("{way}:")));
        assert_eq!(line, Some(&*format!("{way}: refused")), "{}{}", run.stdout, run.stderr);
    }
    let refused = run.log.of("file").filter(|line| line.text("verdict") == "blocked").count();
    assert!(refused >= ways.len(), "{refused} refusals for {} ways", ways.len());
    assert!(!run.log.finding_ids().is_empty());
}

macro_rules! needs_tracing {
    () => {
        needs!(tier().is_none_or(|tier| tier == "tracing"), "the tracepoint tier was asked for, which refuses no open");
        if !can_refuse() {
            report::needs_guest(test_name!(), "this kernel loads no TRACING programs");
            return;
        }
    };
}

/// Says of a command whether it was refused: it failed, and nothing of the secret came out.
const TRY: &str = r#"
    try() { way=$1; shift; out=$("$@" 2>&1); code=$?
        case "$out" in *the-secret*) echo "$way: LEAKED";; *) [ $code -ne 0 ] && echo "$way: refused" || echo "$way: passed";; esac; }
    S=$HOME/.aws/credentials
"#;

/// Ways of the helper to open a file.
const TRICKS: [&str; 12] = [
    "plain",
    "open",
    "openat2",
    "by-handle",
    "relative",
    "dirfd",
    "dotdot",
    "symlink",
    "symlinked-folder",
    "proc-root",
    "proc-cwd",
    "thread",
];

#[test]
fn every_way_to_a_secret_is_refused_and_its_reader_passes() {
    needs_tracing!();
    let reader = Reader::of("/bin/cat", "ways");
    let tricks: Vec<String> =
        TRICKS.iter().map(|trick| format!("try {trick} $ACT open {trick} $S $HOME/desk")).collect();
    let tricks = tricks.join(
        "
",
    );
    let script = format!(
        "{TRY}{tricks}
        try cat cat $S
        try uring $ACT uring open $S
        ln $S link; try link cat link
        mkdir bound; mount --bind $HOME/.aws bound; try bind cat bound/credentials; umount bound
        mkdir up work merged; mount -t overlay overlay -o lowerdir=$HOME/.aws,upperdir=$HOME/up,workdir=$HOME/work merged &&
            {{ try overlay cat merged/credentials; umount merged; }} || echo 'overlay: refused'
        try other-user setpriv --reuid=12345 --clear-groups cat $S
        \"$READER\" $S; echo reader: $?
        mv $S $HOME/.aws/old; try renamed cat $HOME/.aws/old
        true
    "
    );
    let run = refusing(&reader, &script).run();
    assert!(run.stdout.contains("the-secret\nreader: 0\n"), "{}{}", run.stdout, run.stderr);
    let more = ["cat", "uring", "link", "bind", "overlay", "other-user", "renamed"];
    held(&run, &[&TRICKS[..], &more].concat());
}

#[test]
fn files_that_are_made_later_are_refused_from_the_first_read_on() {
    needs_tracing!();
    let reader = Reader::of("/bin/cat", "later");
    let script = format!(
        "{TRY}
        mkdir -p project; echo the-secret >project/.npmrc; try tail cat project/.npmrc
        rm $S; echo the-secret >$S; try anew cat $S
        echo the-secret >fresh; mv fresh $S; try moved-here cat $S
        ln $S other; try linked-anew cat other
        try pattern-there cat $HOME/.ssh/id_there
        \"$READER\" project/.npmrc; echo reader: $?
        true
    "
    );
    let run = refusing(&reader, &script).run();
    assert!(run.stdout.contains("the-secret\nreader: 0\n"), "{}{}", run.stdout, run.stderr);
    held(&run, &["tail", "anew", "moved-here", "linked-anew", "pattern-there"]);
}

#[test]
fn a_descriptor_that_its_reader_has_opened_gives_nothing_to_another() {
    needs_tracing!();
    // The reader is a shell of its own: it opens, and hands the descriptor to the program that it becomes.
    let reader = Reader::of("/bin/bash", "handed");
    let script = format!(
        "{TRY}
        try read \"$READER\" -c 'exec 3<$0; exec cat <&3' $S
        true
    "
    );
    let run = refusing(&reader, &script).run();
    held(&run, &["read"]);
    assert!(run.log.of("file").any(|line| line.is("inherited")), "the read of the descriptor is told as such");
}

#[test]
fn environment_and_memory_of_processes_outside_the_job_are_refused() {
    needs_tracing!();
    let reader = Reader::of("/bin/cat", "outside");
    let outside = std::process::id();
    let script = format!(
        "{TRY}
        try environ cat /proc/{outside}/environ
        try maps cat /proc/{outside}/maps
        cat /proc/self/environ /proc/$$/maps /proc/$$/task/$$/auxv >/dev/null && \
            $ACT open thread /proc/thread-self/environ $HOME/desk >/dev/null && echo 'own: read'
        try memory head -c 1 /proc/{outside}/mem
        try agent-memory head -c 1 /proc/$PPID/mem
        true
    "
    );
    let run = refusing(&reader, &script).run();
    assert!(run.stdout.contains("own: read\n"), "{}{}", run.stdout, run.stderr);
    for way in ["environ", "maps", "memory", "agent-memory"] {
        assert!(run.stdout.contains(&format!("{way}: refused\n")), "{}{}", run.stdout, run.stderr);
    }
    // Taken as a security module, the hook comes after the kernel's own check, which refuses first for want of a capability.
    let told = ["process-access", "foreign-environ"];
    assert!(run.log.finding_ids().iter().any(|id| told.contains(id)), "{:?}", run.log.finding_ids());
}
