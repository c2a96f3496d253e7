//! Reads of secret files by others than their owners, refused: whatever way leads to one. One agent for all ways, because where
//! this can be tried an agent takes long to start. Needs the tracing tier.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use end_to_end::host::can;
use end_to_end::{Helper, Job, Reader, Run, needs_tracing};

use crate::{ACT, shell};

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

/// Says of a command whether it was refused: it failed with EPERM, and nothing of the secret came out. One that failed
/// otherwise proves nothing.
const TRY: &str = r#"
    try() { way=$1; shift; out=$("$@" 2>&1); code=$?
        case "$code $out" in *the-secret*) echo "$way: LEAKED";; 0*) echo "$way: passed";;
            *"not permitted"*) echo "$way: refused";; *) echo "$way: failed: $out";; esac; }
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
    needs_tracing!(ACT);
    let reader = Reader::of("/bin/cat", "ways");
    let tricks = TRICKS.map(|trick| format!("try {trick} $ACT open {trick} $S $HOME/desk")).join("\n");
    // Not every kernel has them.
    let has_compat = can(ACT, &["compat", "open", "/dev/null"]);
    let (compat, compats): (_, &[&str]) =
        if has_compat { ("try compat $ACT compat open $S", &["compat"]) } else { ("", &[]) };
    let script = format!(
        "{TRY}{tricks}
        try cat cat $S
        for way in open open-by-worker open-by-poller; do try uring-$way $ACT uring-file $way $S; done
        {compat}
        ln $S link; try link cat link
        mkdir bound; mount --bind $HOME/.aws bound; try bind cat bound/credentials; umount bound
        mkdir up work merged; mount -t overlay overlay -o lowerdir=$HOME/.aws,upperdir=$HOME/up,workdir=$HOME/work merged &&
            {{ try overlay cat merged/credentials; umount merged; }} || echo 'overlay: not mounted'
        chmod 755 $HOME $HOME/.aws; chmod 644 $S
        try other-user setpriv --reuid=12345 --clear-groups cat $S
        \"$READER\" $S; echo reader: $?
        mv $S $HOME/.aws/old; try renamed cat $HOME/.aws/old
        true
    "
    );
    let run = refusing(&reader, &script).run();
    assert!(run.stdout.contains("the-secret\nreader: 0\n"), "{}{}", run.stdout, run.stderr);
    let more = ["cat", "link", "bind", "overlay", "other-user", "renamed"];
    let rings = ["uring-open", "uring-open-by-worker", "uring-open-by-poller"];
    held(&run, &[&TRICKS[..], &more, &rings, compats].concat());
}

#[test]
fn files_that_are_made_later_are_refused_from_the_first_read_on_and_those_of_a_wildcard_soon_after() {
    needs_tracing!(ACT);
    let reader = Reader::of("/bin/cat", "later");
    // What a wildcard says is found by the agent, at an open: how many it takes is a matter of milliseconds.
    let script = format!(
        "{TRY}
        mkdir -p project; echo the-secret >project/.npmrc; try tail cat project/.npmrc
        rm $S; echo the-secret >$S; try anew cat $S
        echo the-secret >fresh; mv fresh $S; try moved-here cat $S
        ln $S other; try linked-anew cat other
        try pattern-there cat $HOME/.ssh/id_there
        echo the-secret >$HOME/.ssh/id_later
        SECONDS=0; while cat $HOME/.ssh/id_later >/dev/null 2>&1 && [ $SECONDS -lt 60 ]; do :; done
        try pattern-later cat $HOME/.ssh/id_later
        \"$READER\" project/.npmrc; echo reader: $?
        true
    "
    );
    let run = refusing(&reader, &script).run();
    assert!(run.stdout.contains("the-secret\nreader: 0\n"), "{}{}", run.stdout, run.stderr);
    held(&run, &["tail", "anew", "moved-here", "linked-anew", "pattern-there", "pattern-later"]);
}

#[test]
fn a_folder_that_was_renamed_or_mounted_elsewhere_hides_nothing_that_is_made_in_it_later() {
    needs_tracing!(ACT);
    let reader = Reader::of("/bin/cat", "folder");
    let policy = format!(
        "version: 1\nname: strict\nmode: block\nsecrets:\n  files:\n    \
         - {{ paths: [\"~/.aws/credentials\", \"~/.config/gh/hosts.yml\", \"~/.config/gh/new.yml\"], readers: [\"{}\"], why: deploys }}\n  \
         on-read: {{ other-readers: block }}\n",
        reader.name()
    );
    let script = format!(
        "{TRY}
        mv $HOME/.aws moved; mkdir bound; mount --bind $HOME/.config/gh bound; mkfifo go
        cat moved/other; echo moved; read -r _ <go
        try moved cat moved/credentials
        try bound cat bound/hosts.yml
        mv moved/credentials elsewhere; try named-anew cat elsewhere
        touch plain; \"$ACT\" footing exchange plain $HOME/.config/gh/new.yml; try exchanged cat plain
        \"$READER\" elsewhere; echo reader: $?
        umount bound
        true
    "
    );
    let job = shell(&script).policy(&policy).variable("READER", &reader.0);
    let mut running = job.file(".aws/other", "anybody\n").file(".config/gh/other", "").start();
    assert_eq!(running.line(), "anybody");
    assert_eq!(running.line(), "moved");
    // By a process outside, which nothing watches: what the job makes itself is looked at as it is made.
    let home = running.home().to_owned();
    for file in ["moved/credentials", ".config/gh/hosts.yml", ".config/gh/new.yml"] {
        fs::write(home.join(file), "the-secret\n").expect("the folder is there");
    }
    fs::write(home.join("go"), "\n").expect("the job waits for it");
    let run = running.wait();
    assert!(run.stdout.contains("the-secret\nreader: 0\n"), "{}{}", run.stdout, run.stderr);
    held(&run, &["moved", "bound", "named-anew", "exchanged"]);
}

#[test]
fn a_program_that_was_mounted_over_a_readers_name_in_a_namespace_of_its_own_reads_nothing() {
    needs_tracing!(ACT);
    // Not on the path: by its name alone, as one that is installed later.
    let folder = Path::new("/usr/local/lib/e2e-reader-named");
    let reader = Reader::at("/bin/bash", &folder.join("e2e-reader-named"));
    // Reads as soon as it may: what the agent makes of a name is known to the kernel a moment after the start.
    let script = format!(
        "{TRY}
        export S READ='for i in $(seq 100); do read -r x <$S && echo $x && exit; sleep 0.05; done 2>/dev/null; \
            echo cat: not permitted; exit 1'
        cp /bin/bash other
        try plain $READER -c \"$READ\"
        try same unshare -m $READER -c \"$READ\"
        export OTHER=$PWD/other
        try other unshare -m bash -c 'mount --bind $OTHER $READER && exec $READER -c \"$READ\"'
        true
    "
    );
    let run = refusing(&reader, &script).run();
    drop(reader);
    let _ = fs::remove_dir(folder);
    for line in ["plain: LEAKED\n", "same: LEAKED\n"] {
        assert!(run.stdout.contains(line), "the reader itself reads: {}{}", run.stdout, run.stderr);
    }
    held(&run, &["other"]);
}

#[test]
fn a_descriptor_that_its_reader_has_opened_gives_nothing_to_another() {
    needs_tracing!(ACT);
    // The reader opens, and hands the descriptor to the program that it becomes, or to who calls at its socket.
    let reader = Reader::of(ACT, "handed");
    let script = format!(
        "{TRY}
        echo anybody >plain
        \"$READER\" descriptor open plain cat && \"$READER\" descriptor open plain $ACT descriptor map
        try read \"$READER\" descriptor open $S cat
        try map \"$READER\" descriptor open $S $ACT descriptor map
        for file in plain $S; do
            coproc \"$READER\" descriptor give ${{file##*/}}.sock $file
            read -r _ <&${{COPROC[0]}}
            \"$READER\" descriptor receive ${{file##*/}}.sock; echo reader: $?
            try take-${{file##*/}} $ACT descriptor take ${{file##*/}}.sock
            kill $COPROC_PID; wait $COPROC_PID
        done
        true
    "
    );
    let run = refusing(&reader, &script).run();
    // What isn't secret is read, mapped and received, and a secret is received by its reader. (Another doesn't read what it was
    // handed: a read would be refused by itself.)
    assert!(run.stdout.starts_with("anybody\nanybody\n"), "{}{}", run.stdout, run.stderr);
    for line in ["anybody\nreader: 0\ntake-plain: passed\n", "the-secret\nreader: 0\n"] {
        assert!(run.stdout.contains(line), "{line}: {}{}", run.stdout, run.stderr);
    }
    held(&run, &["read", "map", "take-credentials"]);
    let told = run.log.of("file").filter(|line| line.is("inherited") && line.text("verdict") == "blocked").count();
    assert!(told >= 3, "{told} uses of a descriptor are told as such");
}

#[test]
fn of_the_shipped_classes_a_secret_is_refused_to_cat_and_read_by_the_program_that_its_class_names() {
    needs_tracing!(ACT);
    // In a folder of its own: a machine may have the real one.
    let reader = Reader::at("/bin/cat", Path::new("/usr/local/lib/e2e-reader-shipped/aws"));
    let folder = reader.0.parent().expect("a program lies in a folder").to_owned();
    // The agent speaks on the standard error stream too, and cat(1) writes its message there in pieces.
    let run = shell("cat ~/.aws/credentials 2>&1; echo cat: $?; aws ~/.aws/credentials; echo aws: $?")
        .policy(
            "version: 1\nname: strict\nmode: block\ninclude: [presets/secrets]\n\
             secrets: { on-read: { other-readers: block } }\n",
        )
        .variable("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display()))
        .file(".aws/credentials", "the-secret\n")
        .run();
    drop(reader);
    let _ = fs::remove_dir(folder);
    let secret = run.path(".aws/credentials");
    let said = format!("cat: {secret}: Operation not permitted\ncat: 1\nthe-secret\naws: 0\n");
    assert_eq!(run.stdout, said, "{}", run.stderr);
    let verdicts: Vec<&str> = run.log.files(&secret).into_iter().map(|line| line.text("verdict")).collect();
    assert_eq!(verdicts, ["blocked", "allowed"]);
}

#[test]
fn environment_and_memory_of_processes_outside_the_job_are_refused() {
    needs_tracing!(ACT);
    let reader = Reader::of("/bin/cat", "outside");
    let outside = std::process::id();
    // As the runner's worker is of its jobs' user: of one user and one group without capabilities, of whom the kernel alone would
    // let each look into the other.
    let worker = Helper::start(
        Command::new("sh").args(["-c", "echo ready; exec tail -f /dev/null >/dev/null"]).uid(12345).gid(12345),
    );
    let user = worker.pid();
    let script = format!(
        "{TRY}
        as_user() {{ setpriv --reuid=12345 --regid=12345 --clear-groups \"$@\"; }}
        as_user sh -c '$ACT tamper vm-read $$ && echo own memory: read'
        for file in environ maps; do try worker-$file as_user cat /proc/{user}/$file; done
        try worker-vm-read as_user $ACT tamper vm-read {user}
        try environ cat /proc/{outside}/environ
        try maps cat /proc/{outside}/maps
        cat /proc/self/environ /proc/$$/maps /proc/$$/task/$$/auxv >/dev/null && \
            $ACT open thread /proc/thread-self/environ $HOME/desk >/dev/null && echo 'own: read'
        try memory head -c 1 /proc/{outside}/mem
        try vm-read $ACT tamper vm-read {outside}
        try agent-memory head -c 1 /proc/$PPID/mem
        true
    "
    );
    let run = refusing(&reader, &script).run();
    for own in ["own: read\n", "own memory: read\n"] {
        assert!(run.stdout.contains(own), "{}{}", run.stdout, run.stderr);
    }
    // A file of `/proc` that may not be looked into is one without permission.
    let workers = ["worker-environ", "worker-maps", "worker-vm-read"];
    for way in ["environ", "maps", "memory", "vm-read", "agent-memory"].into_iter().chain(workers) {
        let line = run.stdout.lines().find(|line| line.starts_with(&format!("{way}: "))).unwrap_or_default();
        let is_refused = line.ends_with(": refused") || line.ends_with("Permission denied");
        assert!(is_refused, "{way}: {}{}", run.stdout, run.stderr);
    }
    // Taken as a security module, the hook comes after the kernel's own check, which refuses first for want of a capability.
    let told = ["process-access", "foreign-environ"];
    assert!(run.log.finding_ids().iter().any(|id| told.contains(id)), "{:?}", run.log.finding_ids());
}
