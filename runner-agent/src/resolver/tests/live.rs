use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::fake::{ByPort, DEADLINE, Fake, answer, client, start, wait_until};
use super::{host_rules, question};
use crate::policy::Verdict;
use crate::resolver::{Admission, Admit, AdmitError, Limits, Options, Refusal, Report, Resolver, Transport};

const THERE: [u8; 4] = [203, 0, 113, 9];

#[test]
fn an_allowed_name_is_answered_and_a_refused_one_never_leaves_the_machine() {
    let fake = Fake::with_address(60, THERE);
    let mut running = start(host_rules(&["mirror.example.org", "*.cdn.example"]), &[fake.address], Limits::default());
    for (asked, query_type, refusal) in [
        ("drop.example", RecordType::A, Refusal::NoRule),
        ("secret.drop.example", RecordType::TXT, Refusal::NoRule),
        ("mirror.example.org.corp.example", RecordType::A, Refusal::SearchDomain),
        ("mirror.example.org", RecordType::ANY, Refusal::Type),
        ("mirror.example.org", RecordType::NULL, Refusal::Type),
        ("x.cdn.example", RecordType::TXT, Refusal::Type),
        ("nb2hi4b2f4xxo53xfzsxqylnobwgkltdn5wsa5dfpb2a.cdn.example", RecordType::A, Refusal::Tunnel),
        ("1.2.0.192.in-addr.arpa", RecordType::PTR, Refusal::Reverse),
        ("dns.google", RecordType::A, Refusal::EncryptedDns),
    ] {
        let message = running.ask(asked, query_type);
        assert!(message.answers.is_empty());
        let answered = running.answered();
        assert_eq!((answered.refusal, answered.verdict), (Some(refusal), Verdict::Blocked), "{asked}");
    }
    let message = running.ask("MIRROR.example.org", RecordType::A);
    assert_eq!((message.metadata.id, message.answers.len()), (7, 1));
    assert_eq!(fake.names(), ["mirror.example.org."]);
    let answered = running.answered();
    assert_eq!((&*answered.name, answered.query_type.as_str()), ("mirror.example.org", "A"));
    assert_eq!((answered.addresses.as_slice(), answered.from_cache), (&[IpAddr::from(THERE)][..], false));
    let port = running.client.local_addr().unwrap().port();
    assert_eq!(answered.asker.unwrap().socket, u64::from(port));
    assert_eq!(running.admit.addresses(), [IpAddr::from(THERE)]);
    running.ask("mirror.example.org", RecordType::A);
    assert!(running.answered().from_cache);
    assert_eq!(fake.names().len(), 1);
}

/// Says when it is asked, and waits to be let go on.
struct Held {
    asked: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Admit for Held {
    fn admit(&mut self, _: &Arc<str>, _: &[Admission]) -> Result<(), AdmitError> {
        self.asked.send(()).unwrap();
        self.go_on.recv_timeout(DEADLINE).map_err(|error| AdmitError(error.to_string()))
    }
}

#[test]
fn an_answer_is_held_until_its_addresses_are_admitted() {
    let fake = Fake::with_address(60, THERE);
    let policy = Arc::new(host_rules(&["mirror.example.org"]));
    let options = Options { policy, upstreams: Some(vec![fake.address]), ..Options::default() };
    let ((asked, is_asked), (let_go, go_on)) = (mpsc::channel(), mpsc::channel());
    let handle = Resolver::bind(options).unwrap().start(Box::new(Held { asked, go_on }), Box::new(ByPort)).unwrap();
    let client = client(handle.endpoints().v4);
    client.send(&question(7, "mirror.example.org", RecordType::A)).unwrap();
    is_asked.recv_timeout(DEADLINE).unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.recv(&mut [0; 512]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    let_go.send(()).unwrap();
    assert!(client.recv(&mut [0; 512]).unwrap() > 12);
}

#[test]
fn what_goes_upstream_has_nothing_of_the_clients_but_name_and_type() {
    let fake = Fake::with_address(60, THERE);
    let running = start(host_rules(&["mirror.example.org"]), &[fake.address], Limits::default());
    let mut asked = Message::from_vec(&question(0x4242, "mIrRoR.example.org", RecordType::A)).unwrap();
    asked.metadata.checking_disabled = true;
    let mut edns = Edns::new();
    edns.set_max_payload(4000);
    edns.options_mut().insert(EdnsOption::Unknown(65_001, b"payload".to_vec()));
    asked.set_edns(edns);
    let bytes = [asked.to_vec().unwrap(), b"trailing payload".to_vec()].concat();
    running.client.send(&bytes).unwrap();
    let message = running.receive();
    assert_eq!(message.metadata.id, 0x4242);
    assert_eq!(message.queries[0].name.to_ascii(), "mIrRoR.example.org.");
    let seen = fake.seen.lock().unwrap();
    let (upstream, transport) = &seen[0];
    assert_eq!((upstream.queries[0].name.to_ascii().as_str(), *transport), ("mirror.example.org.", Transport::Udp));
    assert!(upstream.metadata.recursion_desired && !upstream.metadata.checking_disabled);
    let edns = upstream.edns.as_ref().unwrap();
    assert_eq!(edns.max_payload(), 1232);
    assert!(edns.option(EdnsCode::Unknown(65_001)).is_none());
}

#[test]
fn questions_for_one_name_and_type_wait_for_one_upstream_question() {
    let (let_go, go_on) = mpsc::channel::<()>();
    let go_on = Mutex::new(go_on);
    let fake = Fake::new(Arc::new(move |asked, _, _| {
        go_on.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        vec![answer(asked, 60, THERE)]
    }));
    let limits = Limits { in_flight: 1, upstream_timeout: DEADLINE, ..Limits::default() };
    let running = start(host_rules(&["mirror.example.org", "other.example.org"]), &[fake.address], limits);
    for id in 0..20 {
        running.send(id, "mirror.example.org", RecordType::A);
    }
    // Questions of one socket are taken in order: when this one is answered, the others wait.
    let message = running.ask("other.example.org", RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    let_go.send(()).unwrap();
    let mut ids: Vec<u16> = (0..20).map(|_| running.receive().metadata.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
    assert_eq!(fake.names(), ["mirror.example.org."]);
}

#[test]
fn forged_answers_are_passed_over() {
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let fake = Fake::new(Arc::new(move |asked, _, from| {
        let evil = answer(asked, 60, [198, 51, 100, 66]);
        stranger.send_to(&evil.to_vec().unwrap(), from).unwrap();
        let mut wrong_id = evil.clone();
        wrong_id.metadata.id = evil.metadata.id.wrapping_add(1);
        let mut wrong_name = evil.clone();
        wrong_name.queries[0].name = super::name("drop.example");
        let mut wrong_type = evil.clone();
        wrong_type.queries[0].query_type = RecordType::AAAA;
        vec![wrong_id, wrong_name, wrong_type, asked.clone(), answer(asked, 60, THERE)]
    }));
    let mut running = start(host_rules(&["mirror.example.org"]), &[fake.address], Limits::default());
    running.ask("mirror.example.org", RecordType::A);
    assert_eq!(running.answered().addresses, [IpAddr::from(THERE)]);
    assert_eq!(running.admit.addresses(), [IpAddr::from(THERE)]);
}

#[test]
fn a_cut_answer_is_fetched_again_over_tcp() {
    let fake = Fake::new(Arc::new(|asked, transport, _| {
        let mut answer = answer(asked, 60, THERE);
        if transport == Transport::Udp {
            answer.metadata.truncation = true;
            answer.answers.clear();
        }
        vec![answer]
    }));
    let mut running = start(host_rules(&["mirror.example.org"]), &[fake.address], Limits::default());
    let message = running.ask("mirror.example.org", RecordType::A);
    assert_eq!((message.answers.len(), message.metadata.truncation), (1, false));
    assert_eq!(running.answered().addresses, [IpAddr::from(THERE)]);
    let over: Vec<Transport> = fake.seen.lock().unwrap().iter().map(|(_, transport)| *transport).collect();
    assert_eq!(over, [Transport::Udp, Transport::Tcp]);
}

#[test]
fn a_silent_upstream_is_servfail_in_time_told_once_and_its_return_too() {
    let is_there = Arc::new(AtomicBool::new(false));
    let answers = is_there.clone();
    let fake =
        Fake::new(Arc::new(
            move |asked, _, _| {
                if answers.load(Ordering::SeqCst) { vec![answer(asked, 60, THERE)] } else { Vec::new() }
            },
        ));
    let limits = Limits { upstream_timeout: Duration::from_millis(50), ..Limits::default() };
    let mut running = start(host_rules(&["a.example", "b.example", "c.example"]), &[fake.address], limits);
    let begin = Instant::now();
    for asked in ["a.example", "b.example"] {
        assert_eq!(running.ask(asked, RecordType::A).metadata.response_code, ResponseCode::ServFail);
    }
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());
    wait_until("the last question", || fake.names().len() == 6);
    let Report::UpstreamFailed { detail } = running.report() else { panic!() };
    assert!(detail.contains("no answer within 50ms"), "{detail}");
    for _ in 0..2 {
        let answered = running.answered();
        assert_eq!((answered.answer_code.as_str(), answered.verdict), ("ServFail", Verdict::Allowed));
    }
    is_there.store(true, Ordering::SeqCst);
    assert_eq!(running.ask("c.example", RecordType::A).answers.len(), 1);
    assert_eq!(running.report(), Report::UpstreamRecovered);
    assert_eq!(running.answered().answer_code, "NoError");
}

#[test]
fn all_tries_end_a_second_before_a_stub_resolver_asks_again() {
    let Limits { upstream_timeout, upstream_tries, .. } = Limits::default();
    assert!(upstream_timeout * upstream_tries <= Duration::from_secs(4));
}

#[test]
fn an_upstream_that_will_not_is_passed_over_and_is_no_outage() {
    let unwilling = Fake::new(Arc::new(|asked, _, _| {
        let mut answer = answer(asked, 60, THERE);
        answer.metadata.response_code = ResponseCode::Refused;
        vec![answer]
    }));
    let willing = Fake::with_address(60, THERE);
    let policy = || host_rules(&["a.example"]);
    let running = start(policy(), &[unwilling.address, willing.address], Limits::default());
    assert_eq!(running.ask("a.example", RecordType::A).answers.len(), 1);
    let mut alone = start(policy(), &[unwilling.address], Limits::default());
    assert_eq!(alone.ask("a.example", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(alone.answered().answer_code, "ServFail");
    assert!(alone.handle.reports().try_recv().is_err());
}

#[test]
fn a_port_where_nobody_listens_and_no_upstream_at_all_are_servfail_at_once() {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for upstreams in [&[nobody][..], &[]] {
        let limits = Limits { upstream_timeout: DEADLINE, ..Limits::default() };
        let mut running = start(host_rules(&["a.example"]), upstreams, limits);
        let begin = Instant::now();
        assert_eq!(running.ask("a.example", RecordType::A).metadata.response_code, ResponseCode::ServFail);
        assert!(begin.elapsed() < DEADLINE, "it waited for a try's end");
        assert!(matches!(running.report(), Report::UpstreamFailed { .. }));
    }
}

#[test]
fn what_cannot_be_admitted_is_servfail_and_told() {
    let fake = Fake::with_address(60, THERE);
    let mut running = start(host_rules(&["a.example"]), &[fake.address], Limits::default());
    running.admit.refuse(true);
    assert_eq!(running.ask("a.example", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    let told = Report::AdmitFailed { name: "a.example".into(), detail: "the map is full".to_owned() };
    assert_eq!(running.report(), told);
    assert_eq!(running.answered().answer_code, "ServFail");
}

#[test]
fn reports_that_nobody_reads_are_counted_and_hold_nothing_up() {
    let limits = Limits { reports: 2, ..Limits::default() };
    let running = start(host_rules(&[]), &[], limits);
    for _ in 0..10 {
        running.ask("drop.example", RecordType::A);
    }
    assert_eq!(running.handle.lost(), 8);
}

#[test]
fn garbage_is_answered_or_dropped_and_the_next_question_is_answered() {
    let running = start(host_rules(&["mirror.example.org"]), &[], Limits::default());
    let whole = question(7, "localhost", RecordType::A);
    for cut in 0..whole.len() {
        running.client.send(&whole[..cut]).unwrap();
    }
    running.client.send(&[0xff; 3000]).unwrap();
    running.send(9, "localhost", RecordType::A);
    while running.receive().metadata.id != 9 {}
    assert!(running.handle.is_alive());
}

#[test]
fn both_families_have_one_port_and_a_successor_can_take_it() {
    let mut running = start(host_rules(&[]), &[], Limits::default());
    let endpoints = running.handle.endpoints();
    if let Some(v6) = endpoints.v6 {
        assert_eq!(v6.port(), endpoints.v4.port());
        let client = client(v6);
        client.send(&question(7, "localhost", RecordType::AAAA)).unwrap();
        assert!(client.recv(&mut [0; 512]).unwrap() > 12);
    }
    let mut open = std::net::TcpStream::connect(endpoints.v4).unwrap();
    std::io::Write::write_all(&mut open, &super::fake::framed(&question(1, "localhost", RecordType::A))).unwrap();
    super::fake::read_framed(&mut open).unwrap();
    running.handle.stop();
    assert!(!running.handle.is_alive());
    let options = Options { port: Some(endpoints.v4.port()), ..Options::default() };
    let successor = Resolver::bind(options).unwrap();
    assert_eq!(successor.endpoints(), endpoints);
}

#[test]
fn a_flood_of_questions_leaves_the_resolver_answering() {
    let fake = Fake::with_address(60, THERE);
    let mut running = start(host_rules(&["*.example.org"]), &[fake.address], Limits::default());
    for i in 0..5000_u16 {
        running.send(i, &format!("n{i}.example.org"), RecordType::A);
        let _ = running.handle.reports().try_recv();
    }
    wait_until("all answers of the flood came or were lost", || {
        running.send(60_000, "localhost", RecordType::A);
        running.receive().metadata.id == 60_000
    });
    assert!(fake.names().len() <= 50);
}
