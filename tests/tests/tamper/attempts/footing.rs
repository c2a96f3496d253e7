//! At what the agent stands on: its log, its program, its policy, its state, its pins.

use crate::attempt::Outcome::{Denied, Found, Missed};
use crate::attempt::{Attempt, In, Told, attempt, footing};

pub const ATTEMPTS: &[Attempt] = &[
    footing("log_append", "the log, opened and written to", "exec {act} footing append {log}").fatal(),
    footing("log_cut", "truncate(2) of the log", "exec {act} footing cut {log}").fatal(),
    footing(
        "log_cut_unwritable",
        "the log, opened for reading with O_TRUNC",
        "exec {act} footing cut-unwritable {log}",
    )
    .fatal(),
    footing("log_bind", "a file mounted over the log", "exec {act} footing bind {home}/policy.yml {log}").fatal(),
    footing("log_folder", "the log's folder, renamed", "exec {act} footing rename {logs} {place}/elsewhere").fatal(),
    footing("log_remove", "the log, removed", "exec {act} footing remove {log}").fatal(),
    footing("log_rename", "the log, renamed", "exec {act} footing rename {log} {place}/elsewhere").fatal(),
    footing("log_replace", "another file under the log's name", "exec {act} footing replace {log}").fatal(),
    footing("log_mode", "chmod(2) of the log", "exec {act} footing mode {log}").fatal(),
    // `security_path_chown` takes structures by value, before which programs can stand since 6.1.
    footing("log_owner", "chown(2) of the log", "exec {act} footing owner {log}").fatal().hook_since(6, 1),
    footing("log_immutable", "chattr +i of the log", "exec {act} footing immutable {log}").always(Denied),
    footing(
        "log_by_link",
        "the log under another name, opened for writing",
        "exec {act} footing link {log} {home}/link",
    ),
    footing("policy_edit", "the policy, written to", "exec {act} footing append {home}/policy.yml"),
    footing("policy_replace", "another policy under its name", "exec {act} footing replace {home}/policy.yml").fatal(),
    footing("program_edit", "the agent's program, written to", "exec {act} footing append {program}").always(Denied),
    footing("program_replace", "another program under its name", "exec {act} footing replace {program}").fatal(),
    footing("program_remove", "the agent's program, removed", "exec {act} footing remove {program}").fatal(),
    footing("state_edit", "what a successor must know, written to", "exec {act} footing append {record}").fatal(),
    footing("state_remove", "what a successor must know, removed", "exec {act} footing remove {record}").fatal(),
    footing("lock_remove", "the lock that says that the agent lives, removed", "exec {act} footing remove {lock}")
        .fatal(),
    footing("pin_remove", "a pin, removed", "exec {act} footing remove {pin}").fatal(),
    footing("pins_rename", "the folder of pins, renamed", "exec {act} footing rename {pins} {pins}-elsewhere").fatal(),
    footing("pins_bind", "a folder mounted over the pins", "exec {act} footing bind {home} {pins}").fatal(),
    footing("pins_cover", "an empty file system over all pins", "exec {act} footing cover {bpf}").fatal(),
    footing("pins_unmount", "the pins' file system, unmounted", "exec {act} footing unmount {bpf}").fatal(),
    footing(
        "pins_moved",
        "the pins' file system, moved away by move_mount(2)",
        "mkdir {place}/away && exec {act} footing move-mount {bpf} {place}/away",
    )
    .fatal(),
    // Of mount(2) no hook is asked about what goes, only about where it goes to.
    footing(
        "pins_moved_by_mount",
        "the same by mount(2)",
        "mkdir {place}/away && exec {act} footing move-by-mount {bpf} {place}/away",
    )
    .always(Found)
    .fatal(),
    // Where it has its way nothing has a name for the agent any more, and the job is to be ended all the same.
    footing(
        "root_pivoted",
        "another root by pivot_root(2)",
        "mkfifo {home}/never; exec 9<>{home}/never; {act} footing pivot {disk} && read -r _ <&9",
    )
    .told(&[Told::Agent("disarmed")])
    .fatal(),
    footing("state_bind", "a folder mounted over the state", "exec {act} footing bind {home} {state}").fatal(),
    footing("state_cover", "an empty file system over the state", "exec {act} footing cover {state}").fatal(),
    // By opening it, which is seen at once; what no hook sees is found by looking, in the folder that the agent has for itself.
    footing("state_file", "a file made in the state", "exec {act} footing create {state}/stray"),
    footing("state_folder", "a folder made in the state", "exec {act} footing create-folder {record}.folder"),
    footing("state_link", "a link put into the state", "exec {act} footing create-link {log} {record}.link"),
    footing("state_name", "a file linked into the state", "exec {act} footing name {place}/bin/sudo {record}.name"),
    footing(
        "state_moved",
        "a file moved into the state",
        "touch {place}/moved && exec {act} footing rename {place}/moved {record}.moved",
    ),
    footing(
        "state_deep",
        "a folder made in the state, out of the agent's sight",
        "exec {act} footing create-folder {state}/deep",
    )
    .expect(Missed, Denied),
    // Nobody else has locked it. Of the next one the agent itself is in the way; who waits for it has it before a successor.
    footing("log_lock", "the log, locked", "exec {act} footing lock {log}"),
    footing(
        "lock_lock",
        "the lock that says that the agent lives, locked by somebody else too",
        "exec {act} footing lock {lock}",
    ),
    footing("log_answer", "opens of the log, each to be answered (fanotify)", "exec {act} attack answer-opens 0 {log}"),
    footing(
        "state_answer",
        "the same of the whole file system of the state",
        "exec {act} attack answer-opens 256 {state}",
    )
    .guest("every open of a file on this machine would wait"),
    // Found is the program that is started when no descriptor is left, which is none of the two that stand in the line.
    attempt("descriptors", "as many descriptors as one can have", "exec {act} footing hoard 100000 /bin/true storm")
        .told(&[Told::Programs(2)])
        .always(Found),
    attempt(
        "processes",
        "three hundred processes at once",
        "for i in $(seq 300); do sh -c 'read -r _' storm & done; wait",
    )
    .told(&[Told::Programs(300)])
    .always(Found),
    attempt(
        "flood",
        "more records than the rings hold",
        "for s in 1 2 3 4; do ({act} exec storm 150 s$s & {act} open storm {home}/.aws/credentials 3000 & \
         {act} net storm 2000; wait) & done; wait",
    )
    .told(&[Told::Loss])
    .always(Found)
    .in_job(In::Flooded),
    attempt(
        "disk",
        "the log's file system, filled",
        "{act} footing fill {disk}/filling && for i in $(seq 300); do /bin/true filled; done; rm {disk}/filling; \
         for i in $(seq 20); do /bin/true emptied; done",
    )
    .told(&[Told::Loss])
    .always(Found)
    .in_job(In::SmallDisk),
    // Each of the eight is smaller than the agent, which would be the first to be ended if it weren't kept from that.
    attempt(
        "memory",
        "memory that the agent shares, eaten up",
        "all=; for i in $(seq 8); do {act} footing eat & all=\"$all $!\"; done; \
         for one in $all; do wait $one; [ $? = 137 ] || exit 1; done; /bin/true storm; exit",
    )
    .told(&[Told::Programs(2)])
    .always(Found)
    .in_job(In::SmallMemory)
    .guest("the limit is set at the root of the machine's cgroups"),
];
