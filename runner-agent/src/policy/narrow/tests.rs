//! Narrowing by tables; `property` asks the procedures that judge.

mod property;

use std::net::IpAddr;
use std::path::PathBuf;

use super::*;
use crate::policy::egress::{DenyRule, EgressRule, ExeName, Ports, ProtocolMatch, RefuseWith, Target};
use crate::policy::secret::{Place, ReaderPattern, SecretClass, SecretPolicy, SecretSpec};
use crate::policy::{
    Access, AddressClass, AppliesTo, EgressPolicy, EngineAccess, GuardPolicy, HostPattern, Mode, Reader, Service, Trust,
};

fn to(target: &str, ports: Ports) -> EgressRule {
    let target = match target.parse() {
        Ok(network) => Target::Cidr(network),
        Err(_) => Target::Host(HostPattern::parse(target).unwrap()),
    };
    EgressRule {
        id: "repo/egress.allow[0]".into(),
        target,
        ports,
        protocol: ProtocolMatch::Tcp,
        class: AddressClass::Public,
        exe: Vec::new(),
        names: None,
        may_carry_secrets: false,
        why: "test".into(),
        source: None,
    }
}

fn https(target: &str) -> EgressRule {
    to(target, Ports::one(443))
}

fn allowing(allow: impl IntoIterator<Item = EgressRule>) -> Policy {
    let egress = EgressPolicy { allow: allow.into_iter().collect(), ..EgressPolicy::default() };
    Policy { name: "repo".to_owned(), egress, ..Policy::default() }
}

fn written(policy: &mut Policy, file: &str) {
    for (index, rule) in policy.egress.allow.iter_mut().enumerate() {
        rule.id = format!("{}/egress.allow[{index}]", policy.name).into();
        let line = 10 + index as u32;
        policy.origin.written.insert(rule.id.clone(), Written { file: file.into(), line, column: 7 });
    }
}

fn class(id: &str, patterns: &[&str], readers: &[&str]) -> SecretClass {
    let spec = SecretSpec {
        id: id.into(),
        title: "a secret".into(),
        severity: Severity::High,
        patterns: patterns.iter().map(|&text| text.to_owned()).collect(),
        readers: readers.iter().map(|text| ReaderPattern::parse(text).unwrap()).collect(),
        why: "test".into(),
    };
    let place = Place { homes: vec!["/home/runner".to_owned()], ..Place::default() };
    SecretClass::new(spec, &Arc::new(place)).unwrap()
}

fn keeping(classes: impl IntoIterator<Item = SecretClass>) -> Policy {
    Policy { secrets: SecretPolicy::new(classes.into_iter().collect(), Mode::Audit), ..Policy::default() }
}

fn told(floor: &Policy, wanted: Policy) -> Vec<String> {
    narrow(floor, wanted).map(|narrowed| narrowed.kept).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_rule_within_one_of_the_floors_is_kept_and_the_floors_others_are_gone() {
    let floor = allowing([https("*.example.org"), to("198.51.100.0/24", Ports::Any)]);
    let narrowed = narrow(&floor, allowing([https("a.example.org"), to("198.51.100.7/32", Ports::one(22))])).unwrap();
    assert_eq!(narrowed.policy.egress.allow.len(), 2);
    assert!(narrowed.kept.is_empty());
    let nothing = narrow(&floor, allowing([])).unwrap();
    assert!(nothing.policy.egress.allow.is_empty());
}

#[test]
fn everything_in_which_a_rule_goes_beyond_the_floor_is_named() {
    let curl = |rule: EgressRule| EgressRule { exe: vec![ExeName("curl".into())], ..rule };
    let floor = allowing([curl(https("a.example.org"))]);
    let fine = curl(https("a.example.org"));
    let table = [
        (https("b.example.org"), "allows what the floor doesn't"),
        (https("*.example.org"), "allows what the floor doesn't"),
        (https("*.a.example.org"), "allows what the floor doesn't"),
        (https("198.51.100.0/24"), "allows what the floor doesn't"),
        (https("a.example.org"), "goes beyond the floor in the programs"),
        (EgressRule { ports: Ports::List(vec![443..=444]), ..fine.clone() }, "goes beyond the floor in the ports"),
        (EgressRule { ports: Ports::Any, ..fine.clone() }, "goes beyond the floor in the ports"),
        (EgressRule { protocol: ProtocolMatch::Any, ..fine.clone() }, "goes beyond the floor in the protocol"),
        (EgressRule { protocol: ProtocolMatch::Udp, ..fine.clone() }, "goes beyond the floor in the protocol"),
        (EgressRule { class: AddressClass::Private, ..fine.clone() }, "goes beyond the floor in the class of address"),
        (EgressRule { may_carry_secrets: true, ..fine.clone() }, "goes beyond the floor in that it may carry secrets"),
    ];
    for (rule, what) in table {
        let widenings = narrow(&floor, allowing([rule.clone(), fine.clone()])).map(|_| ()).unwrap_err();
        assert_eq!(widenings.len(), 1, "{rule:?}");
        assert!(widenings[0].what.ends_with(what), "{}", widenings[0]);
        assert_eq!(widenings[0].id, rule.id);
    }
    assert!(narrow(&floor, allowing([fine])).is_ok());
}

#[test]
fn a_message_has_the_place_the_rule_and_what_the_floor_would_allow() {
    let mut floor = allowing([https("a.example.org"), to("203.0.113.0/24", Ports::Any)]);
    floor.name = "image".to_owned();
    written(&mut floor, "image.yml");
    let mut wanted = allowing([to("a.example.org", Ports::Any), https("elsewhere.example")]);
    written(&mut wanted, "repo.yml");
    assert_eq!(
        told(&floor, wanted),
        [
            "repo.yml:10: repo/egress.allow[0]: { host: a.example.org, ports: any, why: \"test\" } goes beyond the floor in the \
         ports; the floor allows image/egress.allow[0] { host: a.example.org, why: \"test\" } (image.yml:10)",
            "repo.yml:11: repo/egress.allow[1]: { host: elsewhere.example, why: \"test\" } allows what the floor doesn't; the \
         floor allows nothing there",
        ]
    );
}

#[test]
fn wildcards_have_no_more_names_together_than_the_one_that_covers_them() {
    let with = |target: &str, names| EgressRule { names, ..https(target) };
    let floor = allowing([with("*.example.org", Some(8))]);
    for (wanted, fits) in [
        (vec![with("*.a.example.org", Some(4)), with("*.b.example.org", Some(4))], true),
        (vec![with("*.a.example.org", Some(5)), with("*.b.example.org", Some(4))], false),
        (vec![with("*.example.org", None)], false),
        (vec![with("a.example.org", None), with("b.example.org", None)], true),
    ] {
        assert_eq!(narrow(&floor, allowing(wanted.clone())).is_ok(), fits, "{wanted:?}");
    }
    let unsaid = allowing([https("*.example.org")]);
    assert!(narrow(&unsaid, allowing([with("*.example.org", Some(51))])).is_err());
    assert!(narrow(&unsaid, allowing([https("*.example.org")])).is_ok());
}

#[test]
fn a_wildcard_of_the_floor_opens_no_server_of_encrypted_dns_by_name() {
    let floor = allowing([https("*.quad9.net")]);
    assert!(narrow(&floor, allowing([https("dns.quad9.net")])).is_err());
    let open = allowing([https("dns.quad9.net")]);
    assert!(narrow(&open, allowing([https("dns.quad9.net")])).is_ok());
}

#[test]
fn an_id_of_the_floors_is_not_taken_by_another_rule() {
    let mut floor = allowing([https("a.example.org")]);
    written(&mut floor, "image.yml");
    let mut wanted = allowing([https("a.example.org")]);
    written(&mut wanted, "repo.yml");
    assert_eq!(
        told(&floor, wanted),
        [
            "repo.yml:10: repo/egress.allow[0]: is also the id of a rule of the floor; the floor's is written in image.yml:10; \
         give the policy a `name` of its own"
        ]
    );
    assert!(narrow(&floor, floor.clone()).is_ok(), "both may include one and the same file");
}

#[test]
fn deny_rules_add_up_and_the_stricter_of_two_settings_holds_and_is_said() {
    let deny = |port| DenyRule {
        id: format!("p/egress.deny[{port}]").into(),
        class: None,
        cidr: None,
        ports: Ports::one(port),
        protocol: ProtocolMatch::Any,
        why: "test".into(),
    };
    let floor = Policy {
        mode: Mode::Block,
        applies_to: AppliesTo { trust: vec![Trust::Untrusted], ..AppliesTo::default() },
        egress: EgressPolicy {
            deny: vec![deny(1)],
            resolvers: vec![IpAddr::from([192, 0, 2, 1])],
            ..EgressPolicy::default()
        },
        carry: CarryPolicy { after_secret_read: Mode::Block },
        guard: GuardPolicy { sudo: Access::Deny, docker: EngineAccess::Gate, ..GuardPolicy::default() },
        ..Policy::default()
    };
    let wanted = Policy {
        egress: EgressPolicy {
            deny: vec![deny(1), deny(2)],
            refuse_with: RefuseWith::Refused,
            ..EgressPolicy::default()
        },
        guard: GuardPolicy { docker: EngineAccess::Deny, ..GuardPolicy::default() },
        ..Policy::default()
    };
    let Narrowed { policy, kept } = narrow(&floor, wanted).unwrap();
    assert_eq!((policy.mode, policy.carry.after_secret_read), (Mode::Block, Mode::Block));
    assert_eq!((policy.guard.sudo, policy.guard.docker), (Access::Deny, EngineAccess::Deny));
    assert_eq!(policy.egress.deny, [deny(1), deny(2)]);
    assert_eq!((policy.egress.refuse_with, &policy.egress.resolvers), (RefuseWith::Refused, &floor.egress.resolvers));
    assert_eq!(policy.applies_to, AppliesTo::default());
    assert_eq!(
        kept,
        [
            "mode: the floor's block stays over audit",
            "carry.after-secret-read: the floor's block stays over audit",
            "guard.sudo: the floor's deny stays over allow",
        ]
    );
    assert_eq!(policy.origin.sha256.len(), 64);
}

#[test]
fn files_of_the_floor_keep_their_readers_and_others_are_added() {
    let aws = || class("secrets/aws", &["~/.aws/credentials", "~/.aws/*.json"], &["aws", "terraform"]);
    let floor = keeping([aws()]);
    let added = class("repo/deploy", &["~/.config/deploy/token"], &["deploy"]);
    let Narrowed { policy, kept } = narrow(&floor, keeping([added, aws()])).unwrap();
    assert!(kept.is_empty(), "{kept:?}");
    assert_eq!(policy.secrets.classes.len(), 2, "the catalogue that both have stands there once");
    assert_eq!(&*policy.secrets.classify("/home/runner/.aws/credentials").unwrap().id, "secrets/aws");
    assert_eq!(&*policy.secrets.classify("/home/runner/.config/deploy/token").unwrap().id, "repo/deploy");
    for patterns in
        [&["~/.aws/credentials"][..], &["/home/runner/.aws/credentials"], &["~/.aws/x.json"], &["~/.aws/*.json"]]
    {
        let wider = class("repo/aws", patterns, &["aws", "evil"]);
        let told = told(&floor, keeping([wider]));
        assert_eq!(
            told,
            [
                "repo/aws: adds the readers evil to files that the floor has; the floor lets aws, terraform read secrets/aws"
            ]
        );
        let Narrowed { policy, kept } = narrow(&floor, keeping([class("repo/aws", patterns, &["aws"])])).unwrap();
        assert_eq!(kept, ["repo/aws: files that are secrets/aws keep the readers that the floor names"]);
        assert_eq!(&*policy.secrets.classes[0].id, "secrets/aws");
    }
    // A pattern that reaches over the floor's files from further away gives them to nobody else either.
    let around = class("repo/all", &["**/credentials"], &["evil"]);
    let Narrowed { policy, .. } = narrow(&floor, keeping([around])).unwrap();
    let reader = Reader { exe: "/usr/bin/evil", argv: &[], pid: 1, path: "/home/runner/.aws/credentials" };
    assert!(!policy.secrets.classify(reader.path).unwrap().may_read(&reader));
}

#[test]
fn no_detector_is_silenced_or_quietened_and_no_service_is_exempt() {
    let service = |cgroup: &str, exe: &str| Service {
        cgroup: cgroup.to_owned(),
        exes: vec![PathBuf::from(exe)],
        why: "test".into(),
    };
    let mut floor = Policy { platform: vec![service("/init.scope", "/sbin/init")], ..Policy::default() };
    floor.detect.disable.insert("io-uring".to_owned());
    floor.detect.severity.insert("dns-tunnel".to_owned(), Severity::High);
    let mut wanted = Policy::default();
    wanted.detect.disable.insert("io-uring".to_owned());
    wanted.detect.severity.insert("dns-tunnel".to_owned(), Severity::Critical);
    wanted.detect.severity.insert("secret-read".to_owned(), Severity::Critical);
    wanted.platform = vec![service("/init.scope", "/sbin/init")];
    let narrowed = narrow(&floor, wanted.clone()).unwrap().policy;
    assert_eq!(narrowed.detect, wanted.detect);
    assert_eq!(narrowed.platform, floor.platform);
    wanted.detect.disable.insert("raw-socket".to_owned());
    wanted.detect.severity.insert("dns-tunnel".to_owned(), Severity::Low);
    wanted.detect.severity.insert("secret-read".to_owned(), Severity::High);
    wanted.platform = vec![service("/init.scope", "/usr/bin/evil"), service("/job", "/sbin/init")];
    assert_eq!(
        told(&floor, wanted),
        [
            "platform: exempts /init.scope; the floor exempts /init.scope",
            "platform: exempts /job; the floor exempts /init.scope",
            "detect.disable: silences raw-socket; the floor wants to hear it",
            "detect.severity: grades dns-tunnel low; the floor grades it high or worse",
            "detect.severity: grades secret-read high; the floor leaves the grade to the detector, and only critical is never lower",
        ]
    );
}
