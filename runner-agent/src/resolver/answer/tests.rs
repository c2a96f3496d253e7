use proptest::prelude::*;

use super::*;
use crate::resolver::tests::{a, answer_to, cname, https, name, no_such_name, srv};

fn taken(asked: &str, query_type: RecordType, records: Vec<Record>) -> Result<Taken, Unusable> {
    take(&answer_to(asked, query_type, records), &name(asked), query_type, &Limits::default())
}

fn targets(taken: &Taken) -> Vec<(&str, u8)> {
    taken.targets.iter().map(|(target, steps)| (&**target, *steps)).collect()
}

#[test]
fn only_the_chain_of_the_question_is_taken() {
    let records = vec![
        a("edge.example.net", 60, [203, 0, 113, 9]),
        cname("cdn.example", 300, "edge.example.net"),
        a("drop.example", 60, [198, 51, 100, 1]),
        cname("drop.example", 60, "edge.example.net"),
    ];
    let taken = taken("cdn.example", RecordType::A, records).unwrap();
    assert_eq!(taken.addresses, [IpAddr::from([203, 0, 113, 9])]);
    assert_eq!(taken.answers.len(), 2);
    assert_eq!(taken.ttl_s, 60);
    assert_eq!(targets(&taken), [("edge.example.net", 1)]);
}

#[test]
fn a_circle_and_a_long_chain_of_aliases_are_unusable() {
    let circle = vec![cname("a.example", 60, "b.example"), cname("b.example", 60, "a.example")];
    assert_eq!(taken("a.example", RecordType::A, circle), Err(Unusable::Chain));
    let chain = |steps: u32| {
        let mut records: Vec<Record> =
            (0..steps).map(|i| cname(&format!("n{i}.example"), 60, &format!("n{}.example", i + 1))).collect();
        records.push(a(&format!("n{steps}.example"), 60, [203, 0, 113, 9]));
        taken("n0.example", RecordType::A, records)
    };
    assert_eq!(chain(8).unwrap().addresses.len(), 1);
    assert_eq!(chain(9), Err(Unusable::Chain));
}

#[test]
fn hints_count_as_addresses_and_services_name_their_targets() {
    let taken = taken("www.example", RecordType::HTTPS, vec![https("www.example", ".", [203, 0, 113, 7])]).unwrap();
    assert_eq!(taken.addresses, [IpAddr::from([203, 0, 113, 7])]);
    assert!(taken.targets.is_empty());
    let records = vec![srv("_x._tcp.example", "node.example.net"), srv("_x._tcp.example", "bad\\.label.example")];
    let taken = self::taken("_x._tcp.example", RecordType::SRV, records).unwrap();
    assert_eq!(targets(&taken), [("node.example.net", 1)]);
}

#[test]
fn ttls_are_bounded_on_both_sides() {
    let of = |ttl| taken("a.example", RecordType::A, vec![a("a.example", ttl, [203, 0, 113, 9])]).unwrap();
    assert_eq!((of(0).ttl_s, of(90).ttl_s, of(1_000_000).ttl_s), (1, 90, 3600));
    assert_eq!(of(1_000_000).answers[0].ttl, 3600);
}

#[test]
fn a_no_is_good_for_as_long_as_its_own_zone_says() {
    let soa = |owner: &str, ttl, minimum| {
        let data = SOA::new(name("ns.example"), name("mail.example"), 1, 1, 1, 1, minimum);
        Record::from_rdata(name(owner), ttl, RData::SOA(data))
    };
    let ttl = |records: Vec<Record>| {
        let mut message = no_such_name("a.b.example", RecordType::A);
        message.add_authorities(records);
        let taken = take(&message, &name("a.b.example"), RecordType::A, &Limits::default()).unwrap();
        assert_eq!((taken.code, taken.authorities.len()), (ResponseCode::NXDomain, 1));
        taken.ttl_s
    };
    assert_eq!(ttl(vec![soa("b.example", 120, 60)]), 60);
    assert_eq!(ttl(vec![soa("b.example", 20, 60)]), 20);
    assert_eq!(ttl(vec![soa("b.example", 86_400, 86_400)]), 300);
    assert_eq!(ttl(vec![soa("drop.example", 120, 60)]), NO_SOA_TTL_S);
    assert_eq!(ttl(Vec::new()), NO_SOA_TTL_S);
}

#[test]
fn more_addresses_than_are_admitted_are_left_out_of_the_answer() {
    let records = (0..200).map(|last| a("a.example", 60, [203, 0, 113, last])).collect();
    let taken = taken("a.example", RecordType::A, records).unwrap();
    assert_eq!((taken.addresses.len(), taken.answers.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
}

#[test]
fn a_code_that_is_no_answer_is_unusable() {
    let mut message = answer_to("a.example", RecordType::A, Vec::new());
    message.metadata.response_code = ResponseCode::Refused;
    let taken = take(&message, &name("a.example"), RecordType::A, &Limits::default());
    assert_eq!(taken, Err(Unusable::Code(ResponseCode::Refused)));
}

#[test]
fn an_answer_belongs_to_a_question_by_id_name_type_and_direction() {
    let message = answer_to("a.example", RecordType::A, Vec::new());
    assert!(is_answer_to(&message, 0, &name("A.example"), RecordType::A));
    assert!(!is_answer_to(&message, 1, &name("a.example"), RecordType::A));
    assert!(!is_answer_to(&message, 0, &name("b.example"), RecordType::A));
    assert!(!is_answer_to(&message, 0, &name("a.example"), RecordType::AAAA));
    let mut question = message.clone();
    question.metadata.message_type = MessageType::Query;
    assert!(!is_answer_to(&question, 0, &name("a.example"), RecordType::A));
}

proptest! {
    #[test]
    fn any_bytes_that_are_a_message_can_be_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Message::from_vec(&bytes) {
            let _ = take(&message, &name("a.example"), RecordType::A, &Limits::default());
        }
    }
}
