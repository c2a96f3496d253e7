//! OCSF 1.8.0: one JSON object for each notice, in the class that means it.
//!
//! Source: the schema of the Open Cybersecurity Schema Framework at version 1.8.0, with the profiles `host` and
//! `security_control`. What it has no attribute for stands in `unmapped`, under the event log's names. The table is in
//! `docs/formats.md`.

mod shape;
mod unmapped;

use shape::{
    Actor, Analytic, Answer, App, ConnectionInfo, Device, Endpoint, Evidence, FileShape, FindingInfo, KernelShape,
    Metadata, Ocsf, PolicyShape, ProcessShape, Product, Query, Related, Remediation, RuleShape, Tag, User,
};
use unmapped::Unmapped;

use super::facts;
use super::format::About;
use super::key_text;
use crate::event::{Activity, Connection, DnsMessage, Event, Finding, Process};
use crate::identity::Hosting;
use crate::notice::{AgentState, Content, Notice};
use crate::policy::{AddressClass, Protocol, Severity, Verdict};
use crate::text::base_name;

const VERSION: &str = "1.8.0";
const PROFILES: &[&str] = &["host", "security_control"];
const PRODUCT: Product =
    Product { name: "runner-agent", vendor_name: "runner-agent", version: env!("CARGO_PKG_VERSION") };

/// Activity and class of a notice, by their numbers in the schema.
struct Class {
    category: u32,
    uid: u32,
    activity: u32,
    /// Only for activity 99, which has no name of its own.
    name: Option<&'static str>,
}

impl Class {
    const fn new(class: u32, activity: u32) -> Self {
        Self { category: class / 1000, uid: class, activity, name: None }
    }

    const fn other(class: u32, name: &'static str) -> Self {
        Self { category: class / 1000, uid: class, activity: 99, name: Some(name) }
    }
}

const FILE: u32 = 1001;
const KERNEL: u32 = 1003;
const PROCESS: u32 = 1007;
const DETECTION: u32 = 2004;
const NETWORK: u32 = 4001;
const DNS: u32 = 4003;
const LIFECYCLE: u32 = 6002;
const ERROR: u32 = 6008;

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let class = class_of(&notice.content);
    let mut event = base(notice, about, &class);
    match &notice.content {
        Content::Event(happened) => of_event(happened, notice, about, &mut event),
        Content::Finding(finding) => of_finding(finding, notice, about, &mut event),
        Content::Loss(loss) => event.count = Some(loss.count),
        Content::JobStarted(_) | Content::Checkpoint(_) | Content::Receipt(_) => event.app = Some(job_app(about)),
        Content::JobEnded(ended) => {
            event.app = Some(job_app(about));
            event.status_code = ended.exit_code.map(|code| code.to_string());
        }
        Content::Agent(_) => {
            event.app = Some(App { name: PRODUCT.name, uid: &about.host, version: Some(PRODUCT.version) });
        }
    }
    super::write(&event, out);
}

fn class_of(content: &Content) -> Class {
    let event = match content {
        Content::Event(event) => event,
        Content::Finding(_) => return Class::new(DETECTION, 1),
        Content::Loss(_) => return Class::new(ERROR, 1),
        Content::JobStarted(_) | Content::Agent(AgentState::Ready { .. }) => return Class::new(LIFECYCLE, 3),
        Content::JobEnded(_) => return Class::new(LIFECYCLE, 4),
        Content::Checkpoint(_) => return Class::other(LIFECYCLE, "Log Signed"),
        Content::Receipt(_) => return Class::other(LIFECYCLE, "Receipt Issued"),
        Content::Agent(AgentState::Changed { state, .. }) => return Class::other(LIFECYCLE, state),
    };
    match &event.activity {
        Activity::Exec { .. } => Class::new(PROCESS, 1),
        Activity::Exit { .. } => Class::new(PROCESS, 2),
        Activity::CgroupMove { .. } => Class::other(PROCESS, "Cgroup Move"),
        // What is seen is the open; only a descriptor that somebody else opened is told when it is read.
        Activity::File(file) if file.inherited && file.read => Class::new(FILE, 2),
        Activity::File(_) | Activity::Device { .. } => Class::new(FILE, 14),
        Activity::Connect(connection) if connection.hook == "packet" => Class::new(NETWORK, 6),
        Activity::Connect(Connection { ruling, .. }) => Class::new(NETWORK, opened(ruling.verdict)),
        Activity::Socket { verdict, .. } => Class::new(NETWORK, opened(*verdict)),
        Activity::Dns(message) => Class::new(DNS, if message.answer_code.is_some() { 2 } else { 1 }),
        Activity::IoUring | Activity::Attempt(_) => Class::new(KERNEL, 4),
    }
}

/// Open, or Refuse.
fn opened(verdict: Verdict) -> u32 {
    if verdict == Verdict::Blocked { 5 } else { 1 }
}

fn base<'a>(notice: &'a Notice, about: &'a About, class: &Class) -> Ocsf<'a> {
    let content = &notice.content;
    let (action_id, disposition_id) = match facts::verdict(content) {
        Some(Verdict::Allowed) => (Some(1), Some(1)),
        // Observed, and logged.
        Some(Verdict::Audited) => (Some(3), Some(17)),
        Some(Verdict::Blocked) => (Some(2), Some(2)),
        None => (None, None),
    };
    let process = facts::process(content);
    let is_cut = process.is_some_and(|process| !facts::arguments(process, content).1);
    Ocsf {
        activity_id: class.activity,
        activity_name: class.name,
        category_uid: class.category,
        class_uid: class.uid,
        type_uid: class.uid * 100 + class.activity,
        severity_id: severity_id(facts::severity(notice)),
        time: milliseconds(notice.at_ns, about),
        message: facts::sentence(notice),
        metadata: Metadata {
            version: VERSION,
            product: PRODUCT,
            uid: about.id(notice),
            correlation_uid: session(about),
            event_code: facts::kind(content),
            sequence: notice.seq,
            log_name: "runner-agent",
            is_truncated: is_cut.then_some(true),
            profiles: PROFILES,
        },
        device: device(about),
        action_id,
        disposition_id,
        policy: PolicyShape { name: &about.policy, uid: &about.policy_sha256 },
        firewall_rule: facts::rule(content).map(|rule| RuleShape { uid: rule }),
        unmapped: Some(Unmapped { content, about }),
        ..Ocsf::default()
    }
}

fn of_event<'a>(event: &'a Event, notice: &'a Notice, about: &'a About, ocsf: &mut Ocsf<'a>) {
    let content = &notice.content;
    let process = event.process.as_deref();
    let who = || process.map(|process| process_shape(process, facts::arguments(process, content).0, about));
    ocsf.actor = Some(Actor::of(who()));
    match &event.activity {
        Activity::Exec { .. } => {
            // The one that forked it, as it was then; of a process whose parent is unknown there is only itself.
            if let Some(parent) = process.and_then(|process| process.parent.as_deref()) {
                ocsf.actor = Some(Actor::of(Some(process_shape(parent, &parent.program.argv, about))));
            }
            ocsf.process = Some(who().unwrap_or_default());
            ocsf.launch_type_id = Some(3);
        }
        Activity::Exit { status } => {
            ocsf.process = Some(who().unwrap_or_default());
            ocsf.exit_code = super::exit_of(*status).code();
        }
        Activity::CgroupMove { by, .. } => {
            ocsf.process = Some(who().unwrap_or_default());
            let mover = ProcessShape { pid: Some(by.tgid), uid: key_text(*by).into(), ..ProcessShape::default() };
            ocsf.actor = Some(Actor::of(Some(mover)));
        }
        Activity::File(file) => {
            ocsf.file = Some(FileShape { confidentiality_id: Some(3), ..FileShape::of(&file.path) });
        }
        Activity::Device { major, minor, .. } => {
            let name = format!("char {major}:{minor}").into();
            ocsf.file = Some(FileShape { name, path: None, type_id: 3, confidentiality_id: None });
        }
        Activity::Connect(connection) => of_connection(connection, ocsf),
        Activity::Socket { protocol, .. } => {
            ocsf.src_endpoint = Some(Endpoint { hostname: Some(&about.host), ..Endpoint::default() });
            ocsf.connection_info =
                Some(ConnectionInfo { direction_id: 0, protocol_num: Some(*protocol), ..ConnectionInfo::default() });
        }
        Activity::Dns(message) => of_dns(message, ocsf),
        Activity::IoUring => {
            ocsf.kernel = Some(KernelShape { name: "io_uring_setup", type_id: 2, path: None });
        }
        Activity::Attempt(attempt) => {
            ocsf.kernel = Some(KernelShape { name: attempt.name(), type_id: 99, path: attempt.path.as_deref() });
        }
    }
}

fn of_connection<'a>(connection: &'a Connection, ocsf: &mut Ocsf<'a>) {
    let (name, number) = match connection.protocol {
        Protocol::Tcp => (Some("tcp"), 6),
        Protocol::Udp => (Some("udp"), 17),
        Protocol::Other(number) => (None, u32::from(number)),
    };
    let class = connection.ruling.class;
    let is_local = matches!(class, AddressClass::Loopback | AddressClass::Unspecified);
    ocsf.connection_info = Some(ConnectionInfo {
        direction_id: if is_local { 4 } else { 2 },
        protocol_name: name,
        protocol_num: Some(number),
        protocol_ver_id: Some(if connection.address.is_ipv4() { 4 } else { 6 }),
        boundary_id: Some(match class {
            AddressClass::Loopback | AddressClass::Unspecified => 1,
            AddressClass::Public => 3,
            AddressClass::Private | AddressClass::LinkLocal | AddressClass::Metadata | AddressClass::Multicast => 2,
        }),
    });
    ocsf.dst_endpoint = Some(Endpoint {
        ip: Some(connection.address),
        port: Some(connection.port),
        hostname: connection.names.first().map(|name| &**name),
    });
    if connection.hook == "packet" {
        // Dropped: there was no call that could have been refused.
        ocsf.disposition_id = Some(6);
    }
}

fn of_dns<'a>(message: &'a DnsMessage, ocsf: &mut Ocsf<'a>) {
    ocsf.dst_endpoint = Some(Endpoint { ip: Some(message.server), port: Some(53), hostname: None });
    ocsf.query = Some(Query { hostname: &message.name, record_type: &message.query_type });
    if let Some(code) = &message.answer_code {
        ocsf.rcode = Some(code);
        ocsf.rcode_id = Some(rcode_id(code));
        ocsf.answers = message
            .addresses
            .iter()
            .map(|&address| Answer { rdata: address, record_type: if address.is_ipv4() { "A" } else { "AAAA" } })
            .collect();
    }
}

/// The schema's numbers are DNS's own (IANA, DNS RCODEs), as far as it has them.
fn rcode_id(code: &str) -> u32 {
    const NAMES: [&str; 11] = [
        "NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused", "YXDomain", "YXRRSet", "NXRRSet", "NotAuth",
        "NotZone",
    ];
    NAMES.iter().position(|name| name.eq_ignore_ascii_case(code)).map_or(99, |number| number as u32)
}

fn of_finding<'a>(finding: &'a Finding, notice: &'a Notice, about: &'a About, ocsf: &mut Ocsf<'a>) {
    let who = finding.process.as_deref().map(|process| process_shape(process, &process.program.argv, about));
    ocsf.is_alert = Some(true);
    ocsf.disposition_id = Some(19);
    ocsf.status_id = Some(1);
    ocsf.remediation = finding.fix.as_deref().map(|desc| Remediation { desc });
    ocsf.finding_info = Some(FindingInfo {
        uid: about.id(notice),
        title: &finding.message,
        types: [finding.id],
        analytic: Analytic { name: finding.id, uid: finding.id, type_id: 1 },
        created_time: ocsf.time,
        related_events: finding.evidence.iter().map(|seq| Related { uid: about.id_of(*seq) }).collect(),
        tags: if finding.techniques.is_empty() {
            Vec::new()
        } else {
            vec![Tag { name: "technique", values: finding.techniques }]
        },
    });
    if who.is_some() {
        ocsf.evidences = vec![Evidence { process: who }];
    }
}

fn job_app(about: &About) -> App<'_> {
    let name = about.identity.as_ref().and_then(|identity| identity.job.as_deref()).unwrap_or("job");
    App { name, uid: &about.job, version: None }
}

/// What tells the job's notices from any other's at the provider too.
fn session(about: &About) -> &str {
    about.identity.as_ref().and_then(|identity| identity.session.as_deref()).unwrap_or(&about.job)
}

fn device(about: &About) -> Device<'_> {
    let identity = about.identity.as_ref();
    let is_virtual = identity.is_some_and(|identity| identity.hosting == Some(Hosting::Hosted));
    Device {
        hostname: &about.host,
        name: identity.and_then(|identity| identity.worker.as_deref()),
        type_id: if is_virtual { 6 } else { 0 },
    }
}

fn process_shape<'a>(process: &'a Process, argv: &'a [String], about: &About) -> ProcessShape<'a> {
    let program = &process.program;
    let exe: &str = &program.exe;
    ProcessShape {
        pid: Some(process.key.tgid),
        uid: key_text(process.key).into(),
        name: (!exe.is_empty()).then(|| base_name(exe)),
        cmd_line: argv,
        created_time: (process.key.start_ns != 0).then(|| milliseconds(process.key.start_ns, about)),
        file: (!exe.is_empty()).then(|| FileShape { type_id: 8, ..FileShape::of(exe) }),
        user: Some(User { uid: program.uid }),
        working_directory: &program.cwd,
        parent_process: process.parent_key.map(|key| shape::Parent { pid: key.tgid, uid: key_text(key) }),
    }
}

fn milliseconds(at_ns: u64, about: &About) -> i64 {
    (about.encoder.since_1970(at_ns) / 1_000_000) as i64
}

fn severity_id(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}
