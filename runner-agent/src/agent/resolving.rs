//! The job's resolver as the agent has it: bound, given its ways into the kernel's maps, and heard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use runner_agent_common::egress::{AskerKey, JobRules, job_flag};

use super::run::{RunError, io_error};
use crate::event::{DecidedName, NameRefusal};
use crate::kernel::egress::Askers;
use crate::kernel::{JobEgress, Kernel, ResolverPorts};
use crate::names::address_of;
use crate::pipeline::Resolved;
use crate::policy::Policy;
use crate::resolver::{self, Admission, Admit, AdmitError, Answered, Asker, Network, Refusal, Resolver, Transport};

/// Something that the resolver told, in the pipeline's words.
pub(super) enum Told {
    /// It answered a question.
    Resolved(Resolved),
    /// Something about it changed.
    Changed {
        /// `upstream-failed`, `upstream-recovered` or `admit-failed`.
        state: &'static str,
        /// What, for people.
        detail: String,
    },
}

/// A resolver for a policy, listening and not answering yet; on the ports of a predecessor if there was one.
pub(super) fn bind_resolver(policy: &Policy, ports: Option<ResolverPorts>) -> std::io::Result<Resolver> {
    let search = crate::kernel::procfs::search_domains(Path::new("/etc/resolv.conf"));
    Resolver::bind(resolver::Options {
        policy: Arc::new(policy.egress.clone()),
        search,
        network: crate::kernel::procfs::own_network(),
        port: ports.map(|ports| ports.v4),
        ..resolver::Options::default()
    })
}

pub(super) fn ports_of(resolver: &Resolver) -> ResolverPorts {
    let endpoints = resolver.endpoints();
    ResolverPorts { v4: endpoints.v4.port(), v6: endpoints.v6.map_or(0, |endpoint| endpoint.port()) }
}

pub(super) fn start(
    resolver: Resolver,
    kernel: &Kernel,
    egress: &JobEgress,
    rules: JobRules,
) -> Result<resolver::Handle, RunError> {
    let askers = ByPort { askers: kernel.askers(), carries: rules.flags & job_flag::CARRY_BLOCK != 0 };
    resolver.start(Box::new(Door(egress.clone())), Box::new(askers)).map_err(io_error("start the resolver's thread"))
}

/// The resolver's way into the rule map.
struct Door(JobEgress);

impl Admit for Door {
    fn admit(&mut self, _: &Arc<str>, addresses: &[Admission]) -> Result<(), AdmitError> {
        let admitted: Vec<_> = addresses.iter().map(|one| (one.address, one.rules.as_slice(), one.until_ns)).collect();
        self.0.learn(&admitted).map_err(|error| AdmitError(error.to_string()))
    }
}

/// The kernel side's memory of who asked.
struct ByPort {
    askers: Askers,
    /// Whether holders of secrets are kept from rules that may not carry any.
    carries: bool,
}

impl resolver::Askers for ByPort {
    fn who(&self, from: SocketAddr, transport: Transport, network: Network) -> Option<Asker> {
        const V4: u8 = 4;
        const V6: u8 = 6;
        const AF_INET: u16 = 2;
        const AF_INET6: u16 = 10;
        let protocol = match transport {
            Transport::Udp => 17,
            Transport::Tcp => 6,
        };
        let family = if from.is_ipv4() { V4 } else { V6 };
        let asker = self.askers.get(AskerKey { port: from.port(), protocol, family, network })?;
        let wanted = address_of(if asker.wanted_family == V4 { AF_INET } else { AF_INET6 }, asker.wanted);
        let holds_secret = self.carries && asker.holds_secret != 0;
        Some(Asker { process: asker.process, wanted, socket: asker.socket, holds_secret })
    }
}

pub(super) fn resolved(answered: Answered) -> Resolved {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let refusal = answered.refusal.map(|refusal| NameRefusal {
        word: refusal.as_str(),
        is_quiet: refusal.is_quiet(),
        is_tunnel: matches!(refusal, Refusal::Budget | Refusal::Tunnel),
    });
    Resolved {
        at_ns: answered.at_ns,
        process: answered.asker.as_ref().map(|asker| asker.process),
        server: answered.asker.as_ref().map_or(unknown, |asker| asker.wanted),
        name: answered.name,
        query_type: answered.query_type,
        answer_code: answered.answer_code,
        addresses: answered.addresses,
        decided: DecidedName { verdict: answered.verdict, rule: answered.rule, refusal },
    }
}
