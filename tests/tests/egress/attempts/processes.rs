//! Who tries: children of every kind, processes that leave, programs under other names, jobs that lost their agent.

use crate::attempt::Expected::{Closed, Dropped, Killed, NoName, Refused};
use crate::attempt::Place::{Question, V4, V6};
use crate::attempt::{Attempt, In, UDP, attempt};

const CONNECT: &str = "{act} tcp connect {to} {port} {payload}";
const ONE_PROGRAM: &[&str] = &["{ cidr: \"{net}\", ports: [{port}], exe: [runner-upload], why: one program }"];
const ONE_PROGRAM_UDP: &[&str] =
    &["{ cidr: \"{net}\", ports: [{port}], protocol: udp, exe: [runner-upload], why: one program }"];

/// A rule that names a program by what it is called; the twin is that program.
const fn program(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act)
        .given(ONE_PROGRAM)
        .rules(ONE_PROGRAM)
        .twin("{home}/bin/runner-upload tcp connect {to} {port} {payload}")
}

/// Leaves the job's cgroup; the twin stays below it.
const fn leaving(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act).twin("{act} space child-cgroup {act} tcp connect {to} {port} {payload}").expect(Killed)
}

pub const ATTEMPTS: &[Attempt] = &[
    attempt(
        "daemon",
        "a daemon without a parent in the job",
        "{act} space orphan {act} tcp connect {to} {port} {payload}",
    )
    .expect(Dropped),
    attempt(
        "other-user",
        "a child that is another user",
        "setpriv --reuid=65534 --regid=65534 --clear-groups {act} tcp connect {to} {port} {payload}",
    ),
    attempt(
        "user-namespace",
        "a child in a user namespace of its own",
        "unshare --user --map-root-user {act} tcp connect {to} {port} {payload}",
    ),
    attempt(
        "pid-namespace",
        "a child in a process namespace of its own",
        "unshare --pid --fork --mount-proc {act} tcp connect {to} {port} {payload}",
    ),
    attempt(
        "child-cgroup",
        "a cgroup of the job's own below the job's",
        "{act} space child-cgroup {act} tcp connect {to} {port} {payload}",
    ),
    attempt(
        "cgroup-namespace",
        "a child in a cgroup namespace of its own",
        "unshare --cgroup {act} tcp connect {to} {port} {payload}",
    ),
    attempt(
        "own-network",
        "a network of its own, joined to the runner's",
        "{act} space own-network 1{n} {act} udp sendto {to} {port} {payload}",
    )
    .rules(UDP)
    .in_job(In::Networked)
    .twin("{act} space own-network 2{n} {act} udp sendto {to} {port} {payload}"),
    attempt(
        "own-network-refused",
        "the same, where the runner's network may not be changed",
        "{act} space own-network 3{n} {act} udp sendto {to} {port} {payload}",
    )
    .given(UDP)
    .rules(UDP)
    .twin("{act} udp sendto {to} {port} {payload}")
    .expect(Dropped),
    attempt(
        "own-network-nested",
        "a network of its own in a user namespace, entered from there",
        "unshare --user --map-root-user --fork {act} udp sendto {to} {port} {payload}",
    )
    .over(V6(4444))
    .rules(UDP),
    leaving(
        "other-cgroup",
        "moves to another cgroup",
        "{act} space leave-cgroup {cgroup} {act} tcp connect {to} {port} {payload}",
    )
    .on_tracing(Refused),
    leaving(
        "born-outside",
        "a child born in another cgroup",
        "{act} space born-outside {cgroup} {act} tcp connect {to} {port} {payload}",
    ),
    leaving(
        "moved-by-parent",
        "a child that its parent moves to another cgroup",
        "{act} space moved {cgroup} {act} tcp connect {to} {port} {payload}",
    )
    .on_tracing(Refused),
    leaving(
        "born-outside-ring",
        "a child born in another cgroup, that makes no call of a socket's",
        "{act} space born-outside {cgroup} uring {to} {port} {payload}",
    ),
    attempt(
        "shared-with-outside",
        "a socket of a child in another cgroup, that shares its descriptors",
        "{act} space shared-outside {cgroup} {to} {port} {payload}",
    )
    .over(V4(4444))
    .rules(UDP)
    .expect(Closed)
    .twin("{act} pass handed {to} {port} {payload}"),
    program("program-other", "a rule's program, and another one", CONNECT),
    program(
        "program-same-name",
        "a program of the same name in another folder",
        "{act} space as-copy {home}/elsewhere/runner-upload {act} tcp connect {to} {port} {payload}",
    ),
    program(
        "program-in-memory",
        "a program of the same name in memory",
        "{act} space from-memory {act} runner-upload tcp connect {to} {port} {payload}",
    ),
    program(
        "program-called-so",
        "a program that only calls itself so",
        "{act} space called runner-upload {act} tcp connect {to} {port} {payload}",
    ),
    program(
        "program-passes-datagrams",
        "a rule's program hands its datagrams' socket to another program",
        "{home}/bin/runner-upload pass used-datagrams {to} {port} {act} pass inherited-to {to} {port} {payload} 40",
    )
    .given(ONE_PROGRAM_UDP)
    .shared(),
    program(
        "program-passes-stream",
        "a rule's program hands its connection to another program",
        "{home}/bin/runner-upload pass used-stream {to} {port} {act} pass inherited 40 {payload}",
    )
    .shared()
    .beyond("a rule's program is who connects; what it does with the connection is its own"),
    attempt(
        "program-replaced",
        "a program put in the place of a rule's",
        "sh -c 'cp {act} {home}/bin/new; mv {home}/bin/new {home}/bin/runner-replace; \
         exec {home}/bin/runner-replace tcp connect {to} {port} {payload}'",
    )
    .given(&["{ cidr: \"{net}\", ports: [{port}], exe: [runner-replace], why: one program }"])
    .rules(ONE_PROGRAM)
    .twin("{home}/bin/runner-upload tcp connect {to} {port} {payload}"),
    attempt("orphaned", "the agent was killed", CONNECT).in_job(In::Orphaned),
    attempt("orphaned-udp", "the agent was killed", "{act} udp sendto {to} {port} {payload}")
        .over(V4(4444))
        .rules(UDP)
        .in_job(In::Orphaned),
    attempt("orphaned-question", "a refused name, after the agent was killed", "{act} dns udp {resolver} {name} A")
        .between(Question, V4(443))
        .twin(CONNECT)
        .in_job(In::Orphaned)
        .expect(Dropped),
    attempt("taken-over", "the agent was killed, and another has taken over", CONNECT).in_job(In::TakenOver),
    attempt("taken-over-udp", "the same over UDP", "{act} udp sendto {to} {port} {payload}")
        .over(V4(4444))
        .rules(UDP)
        .in_job(In::TakenOver),
    attempt(
        "taken-over-question",
        "a refused name, asked of the agent that took over",
        "{act} dns udp {resolver} {name} A",
    )
    .between(Question, Question)
    .rules(&[])
    .in_job(In::TakenOver)
    .expect(NoName),
    attempt("flooded", "after thousands of flows and names", CONNECT).in_job(In::Flooded),
    attempt("flooded-v6", "the same over IPv6", CONNECT).over(V6(443)).in_job(In::Flooded),
    attempt("flooded-question", "a refused name after thousands of allowed ones", "{act} dns udp {resolver} {name} A")
        .between(Question, Question)
        .rules(&[])
        .in_job(In::Flooded)
        .expect(NoName),
];
