use super::*;
use crate::resolver::question::read;
use crate::resolver::tests::{host_rules, question};

fn judge(patterns: &[&str]) -> Judge {
    let search = ["corp.example.".to_owned(), "svc.cluster.example".to_owned()];
    Judge::new(Arc::new(host_rules(patterns)), &search, &Limits::default())
}

fn decide_type(judge: &mut Judge, name: &str, query_type: RecordType) -> Decision {
    judge.decide(&read(&question(1, name, query_type)).unwrap(), 0)
}

fn decide(judge: &mut Judge, name: &str) -> Decision {
    decide_type(judge, name, RecordType::A)
}

fn rules(decision: Decision) -> Vec<usize> {
    match decision {
        Decision::Allow(leave) => leave.rules,
        other => panic!("{other:?}"),
    }
}

fn refusal(decision: Decision) -> Refusal {
    match decision {
        Decision::Refuse(refusal, _) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_rule_that_means_the_name_is_carried_and_the_first_is_named() {
    let mut judge = judge(&["*.example.org", "mirror.example.org", "other.example", "mirror.example.org"]);
    assert_eq!(rules(decide(&mut judge, "Mirror.Example.ORG")), [0, 1, 3]);
    assert_eq!(judge.rule_id(&[0, 1, 3]).as_deref(), Some("test/egress.allow[0]"));
    assert_eq!(judge.counted(), 0);
    assert_eq!(rules(decide(&mut judge, "b.example.org")), [0]);
    assert_eq!(judge.counted(), 1);
    assert_eq!(refusal(decide(&mut judge, "example.org")), Refusal::NoRule);
    assert_eq!(refusal(decide(&mut judge, "drop.example")), Refusal::NoRule);
}

#[test]
fn a_wildcard_without_a_number_stands_for_fifty_names() {
    let mut judge = judge(&["*.example.org"]);
    for i in 0..50 {
        assert_eq!(rules(decide(&mut judge, &format!("host-{i}.example.org"))), [0]);
    }
    assert_eq!(refusal(decide(&mut judge, "host-50.example.org")), Refusal::Budget);
    assert_eq!(rules(decide(&mut judge, "host-7.example.org")), [0]);
}

#[test]
fn a_payload_below_a_wildcard_is_refused_with_its_measures() {
    let mut judge = judge(&["*.example.org"]);
    let name = "nb2hi4b2f4xxo53xfzsxqylnobwgkltdn5wsa5dfpb2a.example.org";
    let Decision::Refuse(Refusal::Tunnel, Some(measures)) = decide(&mut judge, name) else { panic!() };
    assert_eq!((measures.labels, measures.longest_piece), (1, 44));
    assert_eq!(judge.counted(), 0);
}

#[test]
fn an_exact_rule_takes_more_types_than_a_wildcard_and_nobody_may_ask_for_any() {
    let mut judge = judge(&["mirror.example.org", "*.cdn.example"]);
    assert_eq!(rules(decide_type(&mut judge, "mirror.example.org", RecordType::TXT)), [0]);
    assert_eq!(refusal(decide_type(&mut judge, "a.cdn.example", RecordType::TXT)), Refusal::Type);
    assert_eq!(judge.counted(), 0);
    for query_type in [RecordType::ANY, RecordType::AXFR, RecordType::NULL, RecordType::PTR] {
        assert_eq!(refusal(decide_type(&mut judge, "mirror.example.org", query_type)), Refusal::Type);
    }
}

#[test]
fn encrypted_dns_is_refused_below_a_wildcard_and_allowed_by_its_own_name() {
    let mut wild = judge(&["*.cloudflare-dns.com", "*.dns.google"]);
    assert_eq!(refusal(decide(&mut wild, "mozilla.cloudflare-dns.com")), Refusal::EncryptedDns);
    assert_eq!(refusal(decide(&mut wild, "a.dns.google")), Refusal::EncryptedDns);
    let mut exact = judge(&["dns.google", "use-application-dns.net"]);
    assert_eq!(rules(decide(&mut exact, "dns.google")), [0]);
    assert_eq!(rules(decide(&mut exact, "use-application-dns.net")), [1]);
    assert_eq!(refusal(decide(&mut wild, "use-application-dns.net")), Refusal::Canary);
}

#[test]
fn what_search_domains_make_of_allowed_names_is_refused_quietly() {
    let mut judge = judge(&["mirror.example.org", "*.corp.example"]);
    assert_eq!(refusal(decide(&mut judge, "mirror.example.org.corp.example")), Refusal::SearchDomain);
    assert_eq!(refusal(decide(&mut judge, "mirror.example.org.svc.cluster.example")), Refusal::SearchDomain);
    assert_eq!(refusal(decide(&mut judge, "db.svc.cluster.example")), Refusal::SearchDomain);
    assert_eq!(refusal(decide(&mut judge, "drop.example.svc.cluster.example")), Refusal::NoRule);
    assert_eq!(rules(decide(&mut judge, "db.corp.example")), [1]);
    assert_eq!(judge.counted(), 1);
    assert!(Refusal::SearchDomain.is_quiet() && !Refusal::NoRule.is_quiet());
}

#[test]
fn service_labels_in_front_of_an_allowed_name_are_refused_quietly() {
    let mut judge = judge(&["mirror.example.org"]);
    assert_eq!(
        refusal(decide_type(&mut judge, "_http._tcp.mirror.example.org", RecordType::SRV)),
        Refusal::ServiceLabel
    );
    assert_eq!(refusal(decide_type(&mut judge, "_http._tcp.drop.example", RecordType::SRV)), Refusal::NoRule);
    assert_eq!(refusal(decide(&mut judge, "x.mirror.example.org")), Refusal::NoRule);
}

#[test]
fn reverse_names_are_read_as_the_address_they_stand_for() {
    let mut judge = judge(&["*.in-addr.arpa"]);
    let v4 = decide_type(&mut judge, "9.113.0.203.in-addr.arpa", RecordType::PTR);
    assert_eq!(v4, Decision::Reverse([203, 0, 113, 9].into()));
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    assert_eq!(decide_type(&mut judge, v6, RecordType::PTR), Decision::Reverse(address));
    for name in ["113.0.203.in-addr.arpa", "6d79.113.0.203.in-addr.arpa", "1.ip6.arpa", "in-addr.arpa"] {
        assert_eq!(refusal(decide_type(&mut judge, name, RecordType::PTR)), Refusal::Reverse);
    }
    assert_eq!(refusal(decide_type(&mut judge, "9.113.0.203.in-addr.arpa", RecordType::TXT)), Refusal::Reverse);
}

#[test]
fn names_of_this_machine_are_answered_here() {
    let mut judge = judge(&[]);
    assert_eq!(decide(&mut judge, "localhost"), Decision::Loopback);
    assert_eq!(decide(&mut judge, "a.b.LOCALHOST"), Decision::Loopback);
    assert_eq!(refusal(decide(&mut judge, "notlocalhost")), Refusal::NoRule);
}

#[test]
fn a_derived_name_inherits_rules_and_only_types_that_lead_to_addresses() {
    let mut judge = judge(&["www.example.org", "*.edge.example"]);
    judge.derived.grant(&"a.edge.example".into(), &[0], 1, &"www.example.org".into(), 100, 0);
    judge.derived.grant(&"dns.google".into(), &[0], 1, &"www.example.org".into(), 100, 0);
    judge.derived.grant(&"b.example".into(), &[0], 2, &"www.example.org".into(), 100, 0);
    assert_eq!(rules(decide(&mut judge, "a.edge.example")), [0, 1]);
    assert_eq!(refusal(decide(&mut judge, "dns.google")), Refusal::EncryptedDns);
    let Decision::Allow(leave) = decide(&mut judge, "b.example") else { panic!() };
    assert_eq!((leave.rules, leave.depth, leave.derived_from.as_deref()), (vec![0], 2, Some("www.example.org")));
    assert_eq!(refusal(decide_type(&mut judge, "b.example", RecordType::TXT)), Refusal::Type);
}
