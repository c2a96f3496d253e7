use std::net::IpAddr;

use hickory_proto::op::Edns;
use hickory_proto::rr::{RData, Record};
use proptest::prelude::*;

use super::*;
use crate::policy::egress::RefuseWith;
use crate::policy::{AddressClass, Verdict};
use crate::resolver::Admission;
use crate::resolver::tests::{
    Remembering, a, answer_to, cname, host_rule, host_rules, https, name, no_such_name, question, srv,
};

const SECOND: u64 = 1_000_000_000;

struct Room {
    desk: Desk,
    admit: Remembering,
    asked: usize,
}

impl Room {
    fn new(policy: EgressPolicy) -> Self {
        Self::with(policy, &Limits::default())
    }

    fn with(policy: EgressPolicy, limits: &Limits) -> Self {
        let search = ["corp.example".to_owned()];
        Self { desk: Desk::new(Arc::new(policy), &search, limits), admit: Remembering::default(), asked: 0 }
    }

    /// Asks, and answers for the upstream with these records where it is asked.
    fn ask(&mut self, asked: &str, query_type: RecordType, at_s: u64, upstream: Vec<Record>) -> (Message, Answered) {
        let message = answer_to(asked, query_type, upstream);
        self.ask_message(&question(77, asked, query_type), at_s, &message)
    }

    fn ask_message(&mut self, bytes: &[u8], at_s: u64, upstream: &Message) -> (Message, Answered) {
        let now_ns = at_s * SECOND;
        let reply = match self.desk.take(bytes, Transport::Udp, false, now_ns, &mut self.admit) {
            Step::Silent => panic!("no answer"),
            Step::Answer(reply) => *reply,
            Step::Ask(waiting) => {
                self.asked += 1;
                let (name, query_type) = (waiting.name().unwrap(), waiting.key().1);
                let mut entry = self.desk.learn(&name, query_type, upstream, now_ns).unwrap();
                let reply = self.desk.settle(&waiting, &mut entry, now_ns, &mut self.admit);
                self.desk.keep(waiting.key(), entry, now_ns);
                reply
            }
        };
        (Message::from_vec(&reply.bytes).unwrap(), reply.answered)
    }

    fn a(&mut self, asked: &str, at_s: u64, upstream: Vec<Record>) -> (Message, Answered) {
        self.ask(asked, RecordType::A, at_s, upstream)
    }
}

fn address(message: &Message) -> Vec<IpAddr> {
    let one = |record: &Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        _ => None,
    };
    message.answers.iter().filter_map(one).collect()
}

const THERE: [u8; 4] = [203, 0, 113, 9];

#[test]
fn an_allowed_name_is_admitted_and_its_rule_is_named() {
    let mut room = Room::new(host_rules(&["other.example", "mirror.example.org", "*.example.org"]));
    let (message, answered) = room.a("mirror.example.org", 10, vec![a("mirror.example.org", 300, THERE)]);
    assert_eq!((message.metadata.id, address(&message)), (77, vec![THERE.into()]));
    assert_eq!(answered.rule.as_deref(), Some("test/egress.allow[1]"));
    assert_eq!((answered.verdict, answered.answer_code.as_str()), (Verdict::Allowed, "NoError"));
    let admitted = room.admit.admitted.lock().unwrap();
    let (name, admissions) = &admitted[0];
    assert_eq!(&**name, "mirror.example.org");
    let until_ns = (10 + 300 + 60) * SECOND;
    assert_eq!(admissions, &[Admission { address: THERE.into(), rules: vec![1, 2], until_ns }]);
}

#[test]
fn a_refused_name_is_answered_as_the_policy_says_and_nobody_is_asked() {
    for (refuse_with, code) in [(RefuseWith::Nxdomain, "NXDomain"), (RefuseWith::Refused, "Refused")] {
        let mut room = Room::new(EgressPolicy { refuse_with, ..host_rules(&["mirror.example.org"]) });
        let (_, answered) = room.a("drop.example", 0, Vec::new());
        assert_eq!((answered.answer_code.as_str(), answered.verdict), (code, Verdict::Blocked));
        assert_eq!((answered.refusal, answered.rule), (Some(Refusal::NoRule), None));
        let (_, quiet) = room.a("mirror.example.org.corp.example", 0, Vec::new());
        assert_eq!((quiet.answer_code.as_str(), quiet.refusal), ("NXDomain", Some(Refusal::SearchDomain)));
        assert_eq!(room.asked, 0);
    }
}

#[test]
fn a_chain_to_a_foreign_name_is_admitted_under_the_asked_names_rule() {
    let mut room = Room::new(host_rules(&["cdn.example"]));
    let upstream = vec![cname("cdn.example", 60, "edge.example.net"), a("edge.example.net", 60, THERE)];
    let (message, answered) = room.a("cdn.example", 0, upstream);
    assert_eq!((message.answers.len(), answered.rule.as_deref()), (2, Some("test/egress.allow[0]")));
    assert_eq!(&*room.admit.admitted.lock().unwrap()[0].0, "cdn.example");

    let (_, direct) = room.a("edge.example.net", 1, vec![a("edge.example.net", 60, THERE)]);
    assert_eq!(direct.rule.as_deref(), Some("test/egress.allow[0]"));
    assert_eq!(direct.derived_from.as_deref(), Some("cdn.example"));
    let (_, beside) = room.a("other.example.net", 1, Vec::new());
    assert_eq!(beside.refusal, Some(Refusal::NoRule));
    let (_, late) = room.a("edge.example.net", 1000, Vec::new());
    assert_eq!(late.refusal, Some(Refusal::NoRule));
}

#[test]
fn a_chain_of_questions_ends_after_eight_steps() {
    let mut room = Room::new(host_rules(&["n0.example"]));
    for step in 0..9 {
        let (asked, next) = (format!("n{step}.example"), format!("n{}.example", step + 1));
        let (_, answered) = room.ask(&asked, RecordType::CNAME, 0, vec![cname(&asked, 60, &next)]);
        assert_eq!(answered.verdict, Verdict::Allowed, "{asked}");
    }
    let (_, answered) = room.ask("n9.example", RecordType::CNAME, 0, Vec::new());
    assert_eq!(answered.refusal, Some(Refusal::NoRule));
}

#[test]
fn hints_are_admitted_and_targets_of_services_may_be_asked_for() {
    let mut room = Room::new(host_rules(&["www.example", "_api._tcp.example"]));
    let records = vec![https("www.example", "front.example.net", [203, 0, 113, 7])];
    let (_, answered) = room.ask("www.example", RecordType::HTTPS, 0, records);
    assert_eq!(answered.addresses, [IpAddr::from([203, 0, 113, 7])]);
    assert_eq!(room.admit.addresses(), [IpAddr::from([203, 0, 113, 7])]);
    assert_eq!(room.a("front.example.net", 0, Vec::new()).1.verdict, Verdict::Allowed);
    room.ask("_api._tcp.example", RecordType::SRV, 0, vec![srv("_api._tcp.example", "node.example.net")]);
    let (_, target) = room.a("node.example.net", 0, vec![a("node.example.net", 60, THERE)]);
    assert_eq!(target.rule.as_deref(), Some("test/egress.allow[1]"));
}

#[test]
fn a_remembered_answer_grows_old_and_ends() {
    let mut room = Room::new(host_rules(&["mirror.example.org"]));
    let upstream = || vec![a("mirror.example.org", 100, THERE)];
    room.a("mirror.example.org", 0, upstream());
    let (message, answered) = room.a("mirror.example.org", 40, upstream());
    assert_eq!((message.answers[0].ttl, answered.from_cache, room.asked), (60, true, 1));
    let (message, answered) = room.a("mirror.example.org", 100, upstream());
    assert_eq!((message.answers[0].ttl, answered.from_cache, room.asked), (100, false, 2));
    // Admitted once for each answer that was learnt: the first lasted for as long as it was handed out.
    assert_eq!(room.admit.addresses().len(), 2);
}

#[test]
fn a_remembered_answer_is_admitted_anew_when_its_admission_would_end_first() {
    let limits = Limits { grace_s: 0, floor_s: 30, ..Limits::default() };
    let mut room = Room::with(host_rules(&["mirror.example.org"]), &limits);
    let upstream = || vec![a("mirror.example.org", 100, THERE)];
    room.a("mirror.example.org", 0, upstream());
    room.a("mirror.example.org", 50, upstream());
    assert_eq!(room.admit.addresses().len(), 1);
    room.a("mirror.example.org", 90, upstream());
    let admitted = room.admit.admitted.lock().unwrap();
    assert_eq!(admitted.iter().map(|(_, it)| it[0].until_ns / SECOND).collect::<Vec<_>>(), [100, 120]);
}

#[test]
fn an_answer_that_cannot_be_admitted_is_held_back_and_tried_again() {
    let mut room = Room::new(host_rules(&["mirror.example.org"]));
    room.admit.refuse(true);
    for _ in 0..2 {
        let (message, answered) = room.a("mirror.example.org", 0, vec![a("mirror.example.org", 100, THERE)]);
        assert_eq!((answered.answer_code.as_str(), answered.verdict), ("ServFail", Verdict::Allowed));
        assert!(message.answers.is_empty() && answered.addresses.is_empty());
    }
    room.admit.refuse(false);
    let (message, _) = room.a("mirror.example.org", 0, Vec::new());
    assert_eq!((address(&message), room.asked), (vec![THERE.into()], 1));
}

#[test]
fn an_address_of_another_class_than_the_rules_is_answered_and_not_admitted() {
    let private = crate::policy::EgressRule { class: AddressClass::Private, ..host_rule(1, "*.example.org") };
    let mut policy = host_rules(&["db.example.org"]);
    policy.allow.push(private);
    let mut room = Room::new(policy);
    let upstream = vec![a("db.example.org", 60, [10, 0, 0, 5]), a("db.example.org", 60, [169, 254, 169, 254])];
    let (message, _) = room.a("db.example.org", 0, upstream);
    assert_eq!(message.answers.len(), 2);
    let admitted = room.admit.admitted.lock().unwrap();
    let rules: Vec<_> = admitted[0].1.iter().map(|it| (it.address, it.rules.clone())).collect();
    assert_eq!(rules, [([10, 0, 0, 5].into(), vec![1])]);
}

#[test]
fn a_reverse_name_is_known_for_what_was_admitted_and_for_nothing_else() {
    let mut room = Room::new(host_rules(&["mirror.example.org"]));
    let reverse = "9.113.0.203.in-addr.arpa";
    let (_, before) = room.ask(reverse, RecordType::PTR, 0, Vec::new());
    assert_eq!((before.refusal, before.answer_code.as_str()), (Some(Refusal::Reverse), "NXDomain"));
    room.a("mirror.example.org", 0, vec![a("mirror.example.org", 60, THERE)]);
    let (message, after) = room.ask(reverse, RecordType::PTR, 1, Vec::new());
    assert_eq!(after.rule.as_deref(), Some("test/egress.allow[0]"));
    assert_eq!(message.answers[0].data.to_string(), "mirror.example.org.");
    let (message, _) = room.ask("1.0.0.127.in-addr.arpa", RecordType::PTR, 1, Vec::new());
    assert_eq!(message.answers[0].data.to_string(), "localhost.");
    assert_eq!(room.asked, 1);
}

#[test]
fn localhost_is_this_machine_and_nobody_is_asked() {
    let mut room = Room::new(host_rules(&[]));
    let (message, answered) = room.a("a.localhost", 0, Vec::new());
    assert_eq!((address(&message), answered.rule.as_deref()), (vec![[127, 0, 0, 1].into()], Some("loopback")));
    let (message, _) = room.ask("localhost", RecordType::TXT, 0, Vec::new());
    assert_eq!((message.answers.len(), message.metadata.response_code), (0, ResponseCode::NoError));
    assert_eq!(room.asked, 0);
}

#[test]
fn a_no_is_remembered_for_a_short_time() {
    let mut room = Room::new(host_rules(&["gone.example"]));
    let upstream = no_such_name("gone.example", RecordType::A);
    for at_s in [0, 4, 5] {
        let (message, answered) = room.ask_message(&question(1, "gone.example", RecordType::A), at_s, &upstream);
        assert_eq!((answered.answer_code.as_str(), message.authorities.len()), ("NXDomain", 1));
        assert_eq!(answered.verdict, Verdict::Allowed);
    }
    assert_eq!(room.asked, 2);
}

#[test]
fn every_size_of_datagram_is_kept() {
    let mut room = Room::new(host_rules(&["mirror.example.org"]));
    let upstream: Vec<Record> = (0..60).map(|last| a("mirror.example.org", 60, [203, 0, 113, last])).collect();
    for (size, is_cut) in [(None, true), (Some(0), true), (Some(900), true), (Some(1232), false), (Some(65_535), false)]
    {
        let mut asked = Message::from_vec(&question(5, "mirror.example.org", RecordType::A)).unwrap();
        if let Some(size) = size {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            asked.set_edns(edns);
        }
        let upstream = answer_to("mirror.example.org", RecordType::A, upstream.clone());
        let (message, _) = room.ask_message(&asked.to_vec().unwrap(), 0, &upstream);
        assert_eq!(message.metadata.truncation, is_cut, "{size:?}");
        assert_eq!(message.edns.is_some(), size.is_some());
    }
}

#[test]
fn a_hundred_thousand_refused_names_leave_nothing_behind() {
    let mut room = Room::new(host_rules(&["mirror.example.org", "*.example.net"]));
    for i in 0..100_000 {
        let (_, answered) = room.a(&format!("x{i}.drop.example"), 0, Vec::new());
        assert_eq!(answered.refusal, Some(Refusal::NoRule));
    }
    assert_eq!(room.desk.sizes(), Sizes { counted: 0, derived: 0, cache: 0, reverse: 0 });
}

#[test]
fn a_hundred_thousand_allowed_names_keep_every_table_bounded() {
    let limits = Limits::default();
    let names = |index, pattern: &str| {
        let names = Some(1_000_000);
        crate::policy::EgressRule { names, ..host_rule(index, pattern) }
    };
    let allow = vec![names(0, "*.example.net"), names(1, "*.example.org")];
    let mut room = Room::new(EgressPolicy { allow, ..EgressPolicy::default() });
    for i in 0..100_000_u32 {
        let asked = format!("x{i}.example.{}", if i % 2 == 0 { "net" } else { "org" });
        let target = format!("t{i}.example.com");
        let address = [203, (i >> 16) as u8, (i >> 8) as u8, i as u8];
        let upstream = vec![cname(&asked, 3600, &target), a(&target, 3600, address)];
        room.a(&asked, u64::from(i / 10_000), upstream);
        let sizes = room.desk.sizes();
        assert!(sizes.counted <= limits.counted_names && sizes.derived <= limits.derived_names, "{sizes:?}");
        assert!(sizes.cache <= limits.cache_entries && sizes.reverse <= limits.reverse_addresses, "{sizes:?}");
    }
    assert_eq!(room.desk.sizes().counted, limits.counted_names);
}

#[test]
fn a_message_without_a_question_is_answered_by_its_code_and_told() {
    let mut room = Room::new(host_rules(&["mirror.example.org"]));
    let mut two = Message::from_vec(&question(9, "mirror.example.org", RecordType::A)).unwrap();
    two.add_query(two.queries[0].clone());
    let (message, answered) = room.ask_message(&two.to_vec().unwrap(), 0, &two);
    assert_eq!((message.metadata.id, message.metadata.response_code), (9, ResponseCode::FormErr));
    assert_eq!((&*answered.name, answered.refusal), ("", Some(Refusal::Malformed)));
    let garbage = [0xff; 40];
    assert!(matches!(room.desk.take(&garbage, Transport::Udp, false, 0, &mut room.admit), Step::Silent));
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer_of_their_own_id_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut room = Room::new(host_rules(&["mirror.example.org"]));
        if let Step::Answer(reply) = room.desk.take(&bytes, Transport::Udp, false, 0, &mut room.admit) {
            let message = Message::from_vec(&reply.bytes).unwrap();
            prop_assert_eq!(message.metadata.id.to_be_bytes(), [bytes[0], bytes[1]]);
        }
    }

    #[test]
    fn whatever_an_upstream_says_every_address_that_is_answered_was_admitted(
        records in proptest::collection::vec((0_u8..5, 0_u8..5, any::<bool>(), any::<u32>()), 0..12),
    ) {
        let host = |index: u8| format!("n{index}.example");
        let record = |(owner, other, is_alias, ttl): (u8, u8, bool, u32)| {
            if is_alias { cname(&host(owner), ttl, &host(other)) } else { a(&host(owner), ttl, [203, 0, 113, other]) }
        };
        let message = answer_to("n0.example", RecordType::A, records.into_iter().map(record).collect());
        let mut room = Room::new(host_rules(&["n0.example"]));
        let bytes = question(1, "n0.example", RecordType::A);
        let Step::Ask(waiting) = room.desk.take(&bytes, Transport::Tcp, false, 0, &mut room.admit) else { panic!() };
        if let Ok(mut entry) = room.desk.learn(&name("n0.example"), RecordType::A, &message, 0) {
            let reply = room.desk.settle(&waiting, &mut entry, 0, &mut room.admit);
            let answer = Message::from_vec(&reply.bytes).unwrap();
            let admitted = room.admit.addresses();
            prop_assert!(address(&answer).iter().all(|address| admitted.contains(address)));
            prop_assert_eq!(address(&answer).len(), reply.answered.addresses.len());
        }
    }
}
