//! The fields of each kind of line, in the order in which they are written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) ts: String,
    pub(super) seq: u64,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<ProcessLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<&'static str>,
    #[serde(flatten)]
    pub(super) detail: Detail<'a>,
    pub(super) prev: &'a str,
}

/// What a rule decided.
#[derive(Serialize)]
pub(super) struct RuleLine<'a> {
    pub(super) rule: &'a str,
    pub(super) allowed: u64,
    pub(super) blocked: u64,
}

#[derive(Serialize)]
pub(super) struct ProcessLine<'a> {
    pub(super) key: String,
    pub(super) pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<String>,
    pub(super) exe: &'a str,
    pub(super) argv: &'a [String],
    #[serde(skip_serializing_if = "is_true")]
    pub(super) argv_whole: bool,
    pub(super) cwd: &'a str,
    pub(super) uid: u32,
    pub(super) cgroup: u64,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) container: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) stdin_pipe: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) stdout_pipe: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Detail<'a> {
    Exec {
        #[serde(skip_serializing_if = "is_false")]
        outside_cgroup: bool,
    },
    Exit {
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<u32>,
    },
    File {
        path: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        known_as: Option<&'a str>,
        class: &'a str,
        access: &'static str,
        owner: bool,
        #[serde(skip_serializing_if = "is_false")]
        compat: bool,
        #[serde(skip_serializing_if = "is_false")]
        path_truncated: bool,
        #[serde(skip_serializing_if = "is_false")]
        inherited: bool,
        verdict: &'static str,
    },
    Attempt {
        operation: &'static str,
        /// Process id.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<u32>,
        #[serde(skip_serializing_if = "is_zero")]
        detail: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        failed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        asks: &'a [Arc<str>],
        verdict: &'static str,
    },
    Connect {
        destination: DestinationLine<'a>,
        hook: &'static str,
        verdict: &'static str,
        rule: &'a str,
        #[serde(skip_serializing_if = "is_false")]
        refused_for_secret: bool,
        #[serde(skip_serializing_if = "is_false")]
        outside_cgroup: bool,
    },
    Socket {
        family: u32,
        socket_type: u32,
        protocol: u32,
        verdict: &'static str,
        #[serde(skip_serializing_if = "is_false")]
        killed: bool,
    },
    Device {
        major: u32,
        minor: u32,
        killed: bool,
    },
    CgroupMove {
        by: String,
        to: u64,
        inside: bool,
        #[serde(skip_serializing_if = "is_false")]
        killed: bool,
        #[serde(skip_serializing_if = "is_false")]
        shares_descriptors: bool,
    },
    Dns {
        server: IpAddr,
        name: &'a str,
        query_type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        answer_code: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        addresses: &'a [IpAddr],
        #[serde(skip_serializing_if = "Option::is_none")]
        trusted: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        verdict: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        refusal: Option<&'static str>,
    },
    Changed {
        state: &'static str,
        detail: &'a str,
    },
    Finding {
        id: &'a str,
        severity: &'static str,
        message: &'a str,
        technique: &'a [&'static str],
        evidence: &'a [u64],
        #[serde(skip_serializing_if = "Option::is_none")]
        fix: Option<&'a str>,
    },
    Loss {
        place: &'a str,
        reason: &'a str,
        count: u64,
    },
    JobStarted {
        state: &'static str,
        command: &'a [String],
        policy: &'a str,
        policy_sha256: &'a str,
        policy_files: &'a [String],
        mode: &'static str,
        cgroup: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    },
    Checkpoint {
        lines: u64,
        head: &'a str,
        key: &'a str,
        signature: String,
    },
    Receipt {
        sha256: &'a str,
        log_sha256: &'a str,
        lines: u64,
        head: &'a str,
        key: &'a str,
        mode: &'static str,
        seen: u64,
        lost: u64,
        findings: u64,
    },
    JobEnded {
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        leftovers: &'a [String],
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        left_on_runner: &'a [String],
        findings: &'a BTreeMap<&'static str, u64>,
        unreadable_dns: u64,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rules: Vec<RuleLine<'a>>,
        #[serde(skip_serializing_if = "is_zero")]
        dropped_packets: u64,
        account: AccountLine,
    },
    Ready {
        state: &'static str,
        ready_ms: f64,
        tier: &'a str,
        kernel: &'a str,
        version: &'a str,
        log: u32,
    },
    Nothing {},
}

#[derive(Serialize)]
pub(super) struct DestinationLine<'a> {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) protocol: String,
    pub(super) class: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) claimed_names: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct AccountLine {
    pub(super) seen: u64,
    pub(super) submitted: u64,
    pub(super) received: u64,
    pub(super) decoded: u64,
    pub(super) refused: u64,
    pub(super) notices_dropped: u64,
    pub(super) skipped: u64,
    pub(super) lost: u64,
    pub(super) difference: u64,
    pub(super) probes: BTreeMap<&'static str, ProbeLine>,
}

#[derive(Serialize)]
pub(super) struct ProbeLine {
    pub(super) seen: u64,
    pub(super) submitted: u64,
    pub(super) ring_full: u64,
    pub(super) oversize: u64,
    pub(super) busy: u64,
    pub(super) map_full: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
