//! Any bytes as a job's questions and an upstream's answers: never a panic, never a question that no rule led to, and
//! never an address that was not admitted first.
//!
//! The input is a row of rounds: seconds since the last one, length of the question, length of the answer (two bytes),
//! then both.
#![no_main]

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use libfuzzer_sys::fuzz_target;
use runner_agent::policy::egress::{EgressPolicy, EgressRule, Ports, ProtocolMatch, Target, classify};
use runner_agent::policy::{AddressClass, HostPattern, Verdict};
use runner_agent::resolver::desk::{Desk, Reply, Step};
use runner_agent::resolver::{Admission, Admit, AdmitError, Limits, Transport};

static POLICY: LazyLock<Arc<EgressPolicy>> = LazyLock::new(|| {
    let rule = |(index, pattern): (usize, &&str)| EgressRule {
        id: format!("fuzz/egress.allow[{index}]").into(),
        target: Target::Host(HostPattern::parse(pattern).expect("the pattern is right")),
        ports: Ports::one(443),
        protocol: ProtocolMatch::Tcp,
        class: AddressClass::Public,
        exe: Vec::new(),
        names: Some(3),
        may_carry_secrets: false,
        why: "fuzzing".into(),
        source: None,
    };
    let allow = ["a.example", "*.b.example", "_s._tcp.example"].iter().enumerate().map(rule).collect();
    Arc::new(EgressPolicy { allow, ..EgressPolicy::default() })
});

#[derive(Default)]
struct Admitted(HashSet<IpAddr>);

impl Admit for Admitted {
    fn admit(&mut self, _: &Arc<str>, addresses: &[Admission]) -> Result<(), AdmitError> {
        assert!(addresses.iter().all(|admission| !admission.rules.is_empty()));
        self.0.extend(addresses.iter().map(|admission| admission.address));
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut desk = Desk::new(POLICY.clone(), &["search.example".to_owned()], &Limits::default());
    let mut admitted = Admitted::default();
    let (mut rest, mut now_ns) = (bytes, 0);
    while let Some((&[seconds, asked, high, low], after)) = rest.split_first_chunk() {
        let (question, after) = after.split_at(usize::from(asked).min(after.len()));
        let (answer, after) = after.split_at(usize::from(u16::from_be_bytes([high, low])).min(after.len()));
        rest = after;
        now_ns += u64::from(seconds) * 1_000_000_000;
        match desk.take(question, Transport::Udp, false, now_ns, &mut admitted) {
            Step::Silent => {}
            Step::Answer(reply) => check(question, &reply, &admitted),
            Step::Ask(waiting) => {
                let (key, name) = (waiting.key(), waiting.name().expect("an allowed name is a name"));
                let Ok(message) = Message::from_vec(answer) else {
                    check(question, &desk.fail(&waiting), &admitted);
                    continue;
                };
                if let Ok(mut entry) = desk.learn(&name, key.1, &message, now_ns) {
                    check(question, &desk.settle(&waiting, &mut entry, now_ns, &mut admitted), &admitted);
                    desk.keep(key, entry, now_ns);
                }
            }
        }
    }
});

fn check(question: &[u8], reply: &Reply, admitted: &Admitted) {
    let message = Message::from_vec(&reply.bytes).expect("an answer of ours can be read");
    assert_eq!(message.metadata.id.to_be_bytes(), question[..2]);
    assert!(reply.bytes.len() <= 4096);
    let answered = &reply.answered;
    assert_eq!(answered.verdict == Verdict::Blocked, answered.refusal.is_some());
    for record in &message.answers {
        let address = match &record.data {
            RData::A(address) => IpAddr::V4(address.0),
            RData::AAAA(address) => IpAddr::V6(address.0).to_canonical(),
            _ => continue,
        };
        assert_eq!(answered.verdict, Verdict::Allowed);
        assert!(answered.addresses.contains(&address));
        assert!(admitted.0.contains(&address) || classify(address) != AddressClass::Public);
    }
}
