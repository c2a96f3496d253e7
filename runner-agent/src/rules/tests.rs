use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use runner_agent_common::decide::{Asking, Destination as Wanted, FAMILY_V4, FAMILY_V6, decide};
use runner_agent_common::egress::verdict;

use super::*;
use crate::policy::egress::{DenyRule, Ports, ProtocolMatch, normalise};
use crate::policy::{AddressClass, CarryPolicy, Destination, EgressRule, HostPattern, Protocol, Verdict};

/// The map, as the kernel has it.
#[derive(Default)]
struct Trie(HashMap<(u32, RuleKey), RuleEntry>);

impl Trie {
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(bits, key, entry) => drop(self.0.insert((*bits, *key), *entry)),
                Change::Remove(bits, key) => {
                    assert!(self.0.remove(&(*bits, *key)).is_some(), "only what is there is removed");
                }
            }
        }
    }

    fn longest(&self, bits: u32, key: &RuleKey) -> Option<&RuleEntry> {
        (KEY_BITS..=bits).rev().find_map(|bits| {
            let mut key = *key;
            let whole = ((bits - KEY_BITS) / 8) as usize;
            if whole < 16 {
                key.address[whole] &= !(0xff_u32 >> ((bits - KEY_BITS) % 8)) as u8;
                key.address[whole + 1..].fill(0);
            }
            self.0.get(&(bits, key))
        })
    }
}

struct Job {
    policy: Policy,
    table: RuleTable,
    trie: Trie,
}

impl Job {
    fn new(policy: Policy) -> Self {
        let table = RuleTable::new(1, &policy).unwrap();
        let mut trie = Trie::default();
        trie.apply(&table.entries().unwrap());
        Self { policy, table, trie }
    }

    fn learn(&mut self, address: &str, rules: &[usize], until_ns: u64) {
        let changes = self.table.learn(&[(address.parse().unwrap(), rules, until_ns)]).unwrap();
        self.trie.apply(&changes);
    }

    /// Verdict and the id of its rule.
    fn decide(&self, address: IpAddr, port: u16, protocol: u8, exe: Option<&str>, now_ns: u64) -> (u16, &str) {
        self.decide_as(address, port, protocol, exe, now_ns, false)
    }

    fn decide_as(
        &self,
        address: IpAddr,
        port: u16,
        protocol: u8,
        exe: Option<&str>,
        now_ns: u64,
        needs_carry: bool,
    ) -> (u16, &str) {
        let lists = self.table.exe_lists().iter().enumerate();
        let bits = lists.filter(|(_, list)| exe.is_some_and(|exe| list.iter().any(|name| *name.0 == *exe)));
        let exes = bits.fold(ANY_EXE, |bits, (index, _)| bits | 1 << (index + 1));
        let asking = Asking { job: 1, flags: self.table.flags(), now_ns, exes, needs_carry, zero: 0 };
        let wanted = match address {
            IpAddr::V4(four) => {
                let words = [u32::from_ne_bytes(four.octets()), 0, 0, 0];
                Wanted { words, port, family: FAMILY_V4, protocol }
            }
            IpAddr::V6(six) => {
                let bytes = six.octets();
                let words = [0, 4, 8, 12]
                    .map(|at| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
                Wanted::from_v6(words, port, protocol)
            }
        };
        assert!(matches!(wanted.family, FAMILY_V4 | FAMILY_V6));
        let ruling = decide(&asking, &wanted, |bits, key| self.trie.longest(bits, key));
        (ruling.verdict, &self.table.ids()[ruling.rule as usize])
    }
}

fn rule(index: usize, target: Target) -> EgressRule {
    EgressRule {
        id: format!("p/egress.allow[{index}]").into(),
        target,
        ports: Ports::one(443),
        protocol: ProtocolMatch::Tcp,
        class: AddressClass::Public,
        exe: Vec::new(),
        names: None,
        may_carry_secrets: false,
        why: "test".into(),
        source: None,
    }
}

fn host(index: usize, name: &str) -> EgressRule {
    rule(index, Target::Host(HostPattern::parse(name).unwrap()))
}

fn cidr(index: usize, network: &str) -> EgressRule {
    rule(index, Target::Cidr(network.parse().unwrap()))
}

fn policy(allow: Vec<EgressRule>) -> Policy {
    Policy { mode: Mode::Block, egress: EgressPolicy { allow, ..EgressPolicy::default() }, ..Policy::default() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const TCP: u8 = 6;

#[test]
fn an_address_is_open_from_its_answer_until_it_expires() {
    let mut job = Job::new(policy(vec![host(0, "a.example"), cidr(1, "198.51.100.0/24")]));
    let to = ip("198.51.100.7");
    assert_eq!(job.decide(to, 443, TCP, None, 0), (verdict::ALLOWED, "p/egress.allow[1]"));
    job.learn("198.51.100.7", &[0], 100);
    assert_eq!(job.decide(to, 443, TCP, None, 99), (verdict::ALLOWED, "p/egress.allow[0]"));
    assert_eq!(
        job.decide(to, 443, TCP, None, 100),
        (verdict::ALLOWED, "p/egress.allow[1]"),
        "the network is still open"
    );
    job.learn("203.0.113.9", &[0], 100);
    assert_eq!(job.decide(ip("203.0.113.9"), 443, TCP, None, 99).0, verdict::ALLOWED);
    assert_eq!(job.decide(ip("203.0.113.9"), 443, TCP, None, 100), (verdict::BLOCKED, "default"));
    assert_eq!(job.decide(ip("203.0.113.9"), 80, TCP, None, 99).0, verdict::BLOCKED);
    let current: HashMap<_, _> = job
        .table
        .current()
        .unwrap()
        .into_iter()
        .map(|change| match change {
            Change::Put(bits, key, entry) => ((bits, key), entry),
            Change::Remove(..) => unreachable!("what should be there is put"),
        })
        .collect();
    assert_eq!(current, job.trie.0, "what should be in the map is what was put there");
    let changes = job.table.forget(100);
    job.trie.apply(&changes);
    assert_eq!((job.table.learnt(), job.trie.0.len()), (0, 1), "the network's own entry is left");
}

#[test]
fn a_name_never_opens_an_address_of_another_class() {
    let mut job = Job::new(policy(vec![host(0, "a.example")]));
    for address in ["10.0.0.1", "169.254.169.254", "127.0.0.1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"] {
        job.learn(address, &[0], 100);
    }
    assert_eq!((job.table.learnt(), job.trie.0.len()), (0, 0));
}

#[test]
fn more_rules_at_one_place_than_fit_are_refused_with_their_names() {
    let mut rules: Vec<EgressRule> = (0..9).map(|index| cidr(index, "198.51.100.0/24")).collect();
    for (index, rule) in rules.iter_mut().enumerate() {
        rule.exe = vec![ExeName(format!("tool{index}").into())];
    }
    let table = RuleTable::new(1, &policy(rules.clone())).unwrap();
    let error = table.entries().unwrap_err().to_string();
    assert!(error.starts_with("9 rules meet at 198.51.100.0/24"), "{error}");
    for rule in &mut rules {
        rule.exe.clear();
    }
    let table = RuleTable::new(1, &policy(rules)).unwrap();
    assert_eq!(table.entries().unwrap().len(), 1, "rules that can never decide take no room");
}

#[test]
fn learning_is_bounded_and_refuses_what_does_not_fit_whole() {
    let mut job = Job::new(policy(vec![host(0, "*.a.example")]));
    for number in 0..MAX_LEARNT as u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0800_0000 + number));
        job.table.learn(&[(address, &[0], 100)]).unwrap();
    }
    let beyond = [(ip("8.255.0.1"), [0].as_slice(), 200), (ip("8.0.0.1"), [0].as_slice(), 200)];
    assert_eq!(job.table.learn(&beyond), Err(LearnError::Full));
    assert!(job.table.learn(&beyond[1..]).is_ok(), "what is known already takes no more room");
    assert_eq!(job.table.forget(100).len(), MAX_LEARNT - 1, "all go but the one that was renewed");
    assert_eq!(job.table.learnt(), 1);
    assert!(job.table.learn(&beyond).is_ok());
}

#[test]
fn a_holder_of_secrets_needs_a_rule_that_may_carry_them() {
    let mut open = cidr(1, "0.0.0.0/0");
    open.may_carry_secrets = true;
    let mut policy = policy(vec![cidr(0, "198.51.100.0/24"), open]);
    policy.carry = CarryPolicy { after_secret_read: Mode::Block };
    let job = Job::new(policy.clone());
    let to = ip("198.51.100.7");
    assert_eq!(job.decide_as(to, 443, TCP, None, 0, true), (verdict::ALLOWED, "p/egress.allow[1]"));
    assert_eq!(job.decide_as(ip("127.0.0.1"), 1, TCP, None, 0, true), (verdict::ALLOWED, "loopback"));
    policy.egress.allow.pop();
    let job = Job::new(policy);
    assert_eq!(job.decide_as(to, 443, TCP, None, 0, true), (verdict::BLOCKED_SECRET, "p/egress.allow[0]"));
    assert_eq!(job.decide_as(ip("203.0.113.1"), 443, TCP, None, 0, true), (verdict::BLOCKED, "default"));
}

fn ports() -> impl Strategy<Value = Ports> {
    let range = prop_oneof![
        prop::sample::select(vec![22_u16, 80, 443]).prop_map(|port| port..=port),
        (1_u16..90, 0_u16..500).prop_map(|(low, more)| low..=low + more),
    ];
    prop_oneof![1 => Just(Ports::Any), 4 => prop::collection::vec(range, 1..3).prop_map(Ports::List)]
}

fn network() -> impl Strategy<Value = IpNet> {
    let four = (prop::sample::select(vec![0x0800_0000_u32, 0x0a00_0000, 0xa9fe_a9fe, 0x7f00_0001]), 0_u8..=32)
        .prop_map(|(bits, length)| IpNet::new_assert(Ipv4Addr::from_bits(bits).into(), length).trunc());
    let six = (prop::sample::select(vec!["2001:db8::1", "fd00::1", "::1", "fd00:ec2::254"]), 0_u8..=128)
        .prop_map(|(text, length)| IpNet::new_assert(text.parse::<Ipv6Addr>().unwrap().into(), length).trunc());
    prop_oneof![four, six]
}

fn class() -> impl Strategy<Value = AddressClass> {
    use AddressClass::{LinkLocal, Loopback, Metadata, Private, Public};
    prop_oneof![4 => Just(Public), 1 => prop::sample::select(vec![Loopback, Private, LinkLocal, Metadata])]
}

fn protocol() -> impl Strategy<Value = ProtocolMatch> {
    prop::sample::select(vec![ProtocolMatch::Tcp, ProtocolMatch::Udp, ProtocolMatch::Any])
}

fn allow_rule() -> impl Strategy<Value = EgressRule> {
    let target = prop_oneof![
        2 => network().prop_map(Target::Cidr),
        1 => prop::sample::select(vec!["a.example", "b.example"])
            .prop_map(|name| Target::Host(HostPattern::parse(name).unwrap())),
    ];
    let exe = prop_oneof![3 => Just(Vec::new()), 1 => Just(vec![ExeName("node".into())])];
    (target, ports(), protocol(), class(), exe).prop_map(|(target, ports, protocol, class, exe)| EgressRule {
        ports,
        protocol,
        class,
        exe,
        ..rule(0, target)
    })
}

fn deny_rule() -> impl Strategy<Value = DenyRule> {
    let place = prop_oneof![
        class().prop_map(|class| (Some(class), None)),
        network().prop_map(|network| (None, Some(network))),
        (class(), network()).prop_map(|(class, network)| (Some(class), Some(network))),
    ];
    (place, ports(), protocol()).prop_map(|((class, cidr), ports, protocol)| DenyRule {
        id: "".into(),
        class,
        cidr,
        ports,
        protocol,
        why: "test".into(),
    })
}

fn destination() -> impl Strategy<Value = (IpAddr, u16, u8, Option<&'static str>)> {
    let addresses = vec![
        "8.0.0.0",
        "8.0.0.1",
        "10.0.0.0",
        "10.9.9.9",
        "169.254.169.254",
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "9.9.9.9",
        "2001:db8::1",
        "2001:db8::2",
        "fd00::1",
        "fd00:ec2::254",
        "::1",
        "::ffff:8.0.0.1",
        "64:ff9b::a00:1",
    ];
    let port = prop_oneof![prop::sample::select(vec![22_u16, 80, 443, 8080]), 1_u16..600]
        .prop_filter("questions never reach the rules", |port| *port != 53);
    let exe = prop::sample::select(vec![None, Some("node"), Some("curl")]);
    (prop::sample::select(addresses).prop_map(ip), port, prop::sample::select(vec![6_u8, 17]), exe)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// The map and the model are two ways to say one thing: whatever the policy, they decide alike and name one rule.
    #[test]
    fn the_kernel_side_decides_as_the_model_does(
        allow in prop::collection::vec(allow_rule(), 0..7),
        deny in prop::collection::vec(deny_rule(), 0..2),
        wanted in prop::collection::vec(destination(), 1..20),
        learnt in prop::collection::vec((0_usize..16, prop::sample::select(vec!["a.example", "b.example"])), 0..4),
    ) {
        let mut policy = policy(allow);
        policy.egress.deny = deny;
        for (index, rule) in policy.egress.allow.iter_mut().enumerate() {
            rule.id = format!("p/egress.allow[{index}]").into();
        }
        for (index, rule) in policy.egress.deny.iter_mut().enumerate() {
            rule.id = format!("p/egress.deny[{index}]").into();
        }
        let mut job = Job::new(policy.clone());
        let mut names: HashMap<IpAddr, Vec<Arc<str>>> = HashMap::new();
        for (at, name) in learnt {
            let Some((address, ..)) = wanted.get(at) else { continue };
            let address = normalise(*address);
            let matching: Vec<usize> = (0..policy.egress.allow.len())
                .filter(|&index| matches!(&policy.egress.allow[index].target, Target::Host(pattern) if pattern.matches(name)))
                .collect();
            job.learn(&address.to_string(), &matching, 1000);
            names.entry(address).or_default().push(name.into());
        }
        for (address, port, protocol, exe) in wanted {
            let none = Vec::new();
            let expected = policy.egress.judge(Mode::Block, &Destination {
                address,
                port,
                protocol: if protocol == 6 { Protocol::Tcp } else { Protocol::Udp },
                names: names.get(&normalise(address)).unwrap_or(&none),
                exe,
            });
            let verdict = if expected.verdict == Verdict::Allowed { verdict::ALLOWED } else { verdict::BLOCKED };
            let found = job.decide(address, port, protocol, exe, 10);
            prop_assert_eq!(found, (verdict, expected.rule.as_deref().unwrap_or("default")), "{} {}", address, port);
        }
        let _ = job.policy;
    }
}
