//! Destinations: connects and sends with the kernel's verdict or user space's, and DNS, sniffed or answered by the agent.

use std::net::IpAddr;
use std::sync::Arc;

use runner_agent_common::egress::{rule, verdict};
use runner_agent_common::record::{self, ProcessKey, flag, probe};

use super::Pipeline;
use super::files::exe_for_rules;
use crate::event::{Activity, Connection, DecidedName, DnsMessage};
use crate::job::Job;
use crate::names::address_of;
use crate::notice::Notice;
use crate::policy::egress::classify_endpoint;
use crate::policy::{Destination, Mode, Protocol, Ruling, Verdict};

/// Sockets whose owner is remembered, for DNS messages that come by without a process.
const MAX_SOCKETS: usize = 16_384;

/// What the agent's own resolver answered to a job.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// When it was asked, nanoseconds since boot.
    pub at_ns: u64,
    /// Who asked, if that is known.
    pub process: Option<ProcessKey>,
    /// Whom the job addressed.
    pub server: IpAddr,
    /// The name: lower case, without the last dot.
    pub name: Arc<str>,
    /// Type asked for.
    pub query_type: String,
    /// Answer code.
    pub answer_code: String,
    /// Addresses in the answer.
    pub addresses: Vec<IpAddr>,
    /// What was decided.
    pub decided: DecidedName,
}

impl Pipeline {
    /// Takes in what the agent's own resolver answered.
    pub fn resolved(&mut self, slot: u32, answered: &Resolved, out: &mut Vec<Notice>) {
        let Some(state) = self.jobs.get_mut(&slot) else { return };
        let decided = &answered.decided;
        if decided.verdict == Verdict::Allowed {
            for &address in &answered.addresses {
                state.names.add(address, &answered.name);
            }
        }
        let message = DnsMessage {
            server: answered.server,
            name: answered.name.clone(),
            query_type: answered.query_type.clone(),
            answer_code: Some(answered.answer_code.clone()),
            addresses: answered.addresses.clone(),
            trusted: true,
            decided: Some(decided.clone()),
        };
        let process = answered.process.map(|key| self.table.get_or_unknown(key));
        let header = record::Header { at_ns: answered.at_ns, job: slot, ..record::Header::default() };
        self.happened(&header, process, Activity::Dns(message), out);
    }

    pub(super) fn connect(&mut self, connect: &record::Connect, out: &mut Vec<Notice>) {
        let process = self.table.get_or_unknown(connect.header.process);
        self.remember_socket(connect.socket, connect.header.process);
        let Some(state) = self.jobs.get(&connect.header.job) else { return };
        let address = address_of(connect.family, connect.address);
        let protocol = protocol_of(connect);
        let names = state.names.of(address).to_vec();
        let exe = exe_for_rules(&process);
        let destination = Destination {
            address,
            port: connect.port,
            protocol,
            names: &names,
            exe: (!exe.is_empty()).then_some(&*exe),
        };
        let (ruling, refused_for_secret) = match kernel_ruling(&state.job, connect, address) {
            Some(decided) => decided,
            // Audited: whatever the policy asks for, nothing was refused.
            None => (state.job.policy.egress.judge(Mode::Audit, &destination), false),
        };
        let connection = Connection {
            address,
            port: connect.port,
            protocol,
            claimed_names: state.names.claimed(address).to_vec(),
            names,
            hook: probe::NAMES[usize::from(connect.header.probe) % probe::COUNT],
            socket: connect.socket,
            outside_cgroup: connect.header.flags & flag::OUTSIDE_CGROUP != 0,
            ruling,
            refused_for_secret,
        };
        let process = (connect.header.process.tgid != 0).then_some(process);
        self.happened(&connect.header, process, Activity::Connect(connection), out);
    }

    pub(super) fn dns(&mut self, fixed: &record::Dns, message: &[u8], out: &mut Vec<Notice>) {
        let process = self.sockets.get(&fixed.socket).and_then(|key| self.table.get(*key)).cloned();
        let Some(state) = self.jobs.get_mut(&fixed.header.job) else { return };
        match state.names.take_in(fixed, message, &state.job.policy.egress.resolvers) {
            Ok(message) => self.happened(&fixed.header, process, Activity::Dns(message), out),
            Err(_) => state.unreadable_dns += 1,
        }
    }

    fn remember_socket(&mut self, socket: u64, key: ProcessKey) {
        if socket == 0 || self.sockets.insert(socket, key).is_some() {
            return;
        }
        self.socket_order.push_back(socket);
        if self.socket_order.len() > MAX_SOCKETS
            && let Some(oldest) = self.socket_order.pop_front()
        {
            self.sockets.remove(&oldest);
        }
    }
}

/// The kernel's verdict, if it gave one, and whether a secret was the only reason to refuse.
fn kernel_ruling(job: &Job, connect: &record::Connect, address: IpAddr) -> Option<(Ruling, bool)> {
    let verdict = verdict_of(connect.verdict)?;
    let number = connect.rule;
    let policy = &job.policy.egress;
    let allow = number.checked_sub(rule::FIRST + policy.deny.len() as u32);
    let may_carry = match allow.and_then(|index| policy.allow.get(index as usize)) {
        Some(rule) => rule.may_carry_secrets,
        None => matches!(number, rule::LOOPBACK | rule::RESOLVER),
    };
    let ruling = Ruling {
        verdict,
        rule: if number == rule::DEFAULT { None } else { job.rule_ids.get(number as usize).cloned() },
        class: classify_endpoint(address, connect.port),
        may_carry_secrets: verdict == Verdict::Allowed && may_carry,
    };
    Some((ruling, connect.verdict == verdict::BLOCKED_SECRET))
}

pub(super) fn verdict_of(code: u16) -> Option<Verdict> {
    match code {
        verdict::NONE => None,
        verdict::ALLOWED => Some(Verdict::Allowed),
        _ => Some(Verdict::Blocked),
    }
}

/// Protocol of a connect; system calls seen from outside tell only stream or datagram.
fn protocol_of(connect: &record::Connect) -> Protocol {
    const STREAM: u16 = 1;
    match (connect.protocol, connect.socket_type) {
        // MPTCP is 262 as a socket's protocol.
        (6 | 262, _) | (0, STREAM) => Protocol::Tcp,
        (17 | 136 | 0, _) => Protocol::Udp,
        (other, _) => Protocol::Other(other as u8),
    }
}
