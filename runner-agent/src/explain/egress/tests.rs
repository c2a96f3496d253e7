use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::check::{AllowLine, check};
use crate::policy::{EgressPolicy, EgressRule, Origin, Written};

/// Without the catalogue of secrets, which takes long to make ready and has no say here.
fn policy(egress: &str) -> Policy {
    let text = format!("version: 1\nname: p\nmode: block\negress:\n{egress}");
    let (draft, problems) = check(Path::new("p.yml"), text.as_bytes());
    let draft = draft.unwrap_or_else(|| panic!("{problems:#?}"));
    let rule = |line| match line {
        AllowLine::Rule(rule) => rule,
        AllowLine::Ecosystem { .. } => panic!("{egress}"),
    };
    let written = |(id, at): (_, crate::config::raw::At)| {
        (id, Written { file: "p.yml".into(), line: at.line, column: at.column })
    };
    let allow = draft.allow.into_iter().map(rule).collect();
    let origin = Origin { written: draft.written.into_iter().map(written).collect(), ..Origin::default() };
    let egress = EgressPolicy { allow, deny: draft.deny, ..EgressPolicy::default() };
    Policy { mode: Mode::Block, egress, origin, ..Policy::default() }
}

fn to(address: &str, port: u16, names: &[&str]) -> Attempt {
    Attempt {
        address: (!address.is_empty()).then(|| address.parse().unwrap()),
        port,
        protocol: Protocol::Tcp,
        names: names.iter().map(|&name| name.into()).collect(),
        exe: None,
        carries: false,
        not_counted: Vec::new(),
    }
}

fn verdict(told: &Explanation) -> (&str, &str) {
    let now = told.now.as_ref().unwrap();
    (&now.verdict, &now.rule)
}

/// The rule that a line becomes when it is pasted.
fn pasted_rule(line: &str) -> EgressRule {
    let text = format!("version: 1\nname: pasted\negress:\n  allow:\n    {line}\n");
    let (draft, problems) = check(Path::new("p.yml"), text.as_bytes());
    match draft.unwrap_or_else(|| panic!("{line}: {problems:#?}")).allow.remove(0) {
        AllowLine::Rule(rule) => rule,
        AllowLine::Ecosystem { .. } => panic!("{line}"),
    }
}

#[test]
fn a_name_is_asked_for_before_it_is_connected_to() {
    let policy = policy("  allow:\n    - { host: \"*.example.org\", ports: [8443], why: test }\n");
    let refused = connect(&policy, &to("", 443, &["drop.example"]));
    assert_eq!(verdict(&refused), ("blocked", "default"));
    assert_eq!(refused.question.as_ref().unwrap().decision.verdict, "blocked");
    assert_eq!(refused.why, "the name is refused, so no address is ever had");
    let asked = connect(&policy, &to("", 443, &["a.example.org"]));
    let question = asked.question.as_ref().unwrap();
    assert_eq!(
        (question.decision.rule.as_str(), question.why.as_str()),
        ("p/egress.allow[0]", "as it lies below example.org")
    );
    assert_eq!(verdict(&asked), ("blocked", "default"));
    assert_eq!(asked.near[0].why, "port 443 is not among its ports [8443]");
    assert_eq!(asked.near[0].rule.at.as_ref().unwrap().line, 6);
    let allowed = connect(&policy, &to("", 8443, &["a.example.org"]));
    assert_eq!((verdict(&allowed), &allowed.allow), (("allowed", "p/egress.allow[0]"), &None));
}

#[test]
fn a_door_around_the_resolver_is_opened_by_its_exact_name_alone() {
    let wild = policy("  allow:\n    - { host: \"*.quad9.net\", why: test }\n");
    let told = connect(&wild, &to("", 443, &["dns.quad9.net"]));
    assert!(told.question.unwrap().why.contains("known server of encrypted DNS"));
    let exact = policy("  allow:\n    - { host: dns.quad9.net, why: test }\n");
    assert_eq!(verdict(&connect(&exact, &to("", 443, &["dns.quad9.net"]))).0, "allowed");
}

#[test]
fn names_that_did_not_count_are_the_nearest_miss() {
    let policy = policy("  allow:\n    - { host: mirror.example.org, why: test }\n");
    let mut attempt = to("198.51.100.7", 443, &[]);
    attempt.not_counted = vec![("mirror.example.org".into(), "the answer at #5 held no longer".into())];
    let told = connect(&policy, &attempt);
    assert_eq!(told.near[0].why, "mirror.example.org does not count for this address: the answer at #5 held no longer");
    assert!(told.notes[0].contains("p/egress.allow[0] would cover it, had the job asked"), "{:?}", told.notes);
}

#[test]
fn what_a_deny_rule_closes_has_no_line_that_opens_it() {
    let policy = policy(
        "  allow:\n    - { cidr: 10.0.0.0/24, ports: [22, 80], class: private, why: test }\n  deny:\n    \
         - { cidr: 10.0.0.0/8, ports: [22], why: test }\n",
    );
    let told = connect(&policy, &to("10.0.0.7", 22, &[]));
    assert_eq!((verdict(&told), &told.allow), (("blocked", "p/egress.deny[0]"), &None));
    assert_eq!(told.why, "deny rules win, also over p/egress.allow[0], which would allow it");
    assert!(told.notes[0].contains("take out or narrow p/egress.deny[0]"));
}

#[test]
fn a_question_has_its_rule_or_the_line_that_would_allow_it() {
    let policy = policy("  allow:\n    - { host: \"*.example.org\", why: test }\n");
    assert_eq!(verdict(&dns(&policy, "a.example.org")), ("allowed", "p/egress.allow[0]"));
    let parent = dns(&policy, "example.org");
    assert_eq!(parent.near[0].why, "*.example.org means the names below example.org, never example.org itself");
    assert_eq!(parent.allow.unwrap().line, "- { host: example.org, why: \"…\" }");
    assert_eq!(dns(&policy, "not a name").allow, None);
}

#[test]
fn a_program_that_holds_a_secret_is_told_which_line_must_say_so() {
    let policy = policy("  allow:\n    - { host: a.example.org, why: \"a reason\" }\n");
    let attempt = Attempt { carries: true, ..to("198.51.100.7", 443, &["a.example.org"]) };
    let allow = connect(&policy, &attempt).allow.unwrap();
    assert_eq!(allow.line, "- { host: a.example.org, may-carry-secrets: true, why: \"a reason\" }");
    assert_eq!(allow.replaces.as_deref(), Some("p/egress.allow[0]"));
    let refused = Attempt { carries: true, ..to("198.51.100.7", 443, &["b.example.org"]) };
    assert!(connect(&policy, &refused).allow.unwrap().line.contains("may-carry-secrets: true"));
}

fn rules() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "- { host: \"*.example.org\", ports: [80, 8443], why: test }",
        "- { host: a.example.org, exe: [node], why: test }",
        "- { cidr: 10.0.0.0/8, ports: [5432], class: private, why: test }",
        "- { cidr: 0.0.0.0/0, ports: [443], protocol: udp, why: test }",
        "- { cidr: \"2001:db8::/32\", ports: any, why: test }",
    ]);
    prop::collection::vec(line, 1..4).prop_map(|lines| format!("  allow:\n    {}\n", lines.join("\n    ")))
}

fn address() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|bytes| Some(bytes.into())),
        any::<[u8; 16]>().prop_map(|bytes| Some(bytes.into())),
        prop::sample::select(vec!["10.1.2.3", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "0.0.0.0", "ff02::1"])
            .prop_map(|text| Some(text.parse().unwrap())),
    ]
}

proptest! {
    #[test]
    fn with_its_line_added_the_policy_allows_what_was_asked_about(
        rules in rules(),
        address in address(),
        port in prop_oneof![Just(0_u16), Just(443_u16), Just(53_u16), any::<u16>()],
        protocol in prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Other(1)]),
        name in prop::sample::select(vec!["a.example.org", "example.org", "drop.example", "localhost"]),
        named: bool,
        exe in prop::option::of(prop::sample::select(vec!["/usr/bin/curl", "/usr/bin/node"])),
        carries: bool,
        mode in prop::sample::select(vec![Mode::Audit, Mode::Block]),
    ) {
        let mut policy = Policy { mode, ..policy(&rules) };
        let named = named || address.is_none();
        let attempt = Attempt {
            address,
            port,
            protocol,
            names: if named { vec![name.into()] } else { Vec::new() },
            exe: exe.map(str::to_owned),
            carries,
            not_counted: Vec::new(),
        };
        let told = connect(&policy, &attempt);
        let is_allowed = verdict(&told).0 == "allowed";
        let Some(allow) = &told.allow else {
            // There is a line for everything but what is allowed, and for questions in mode block.
            let is_question = mode == Mode::Block && port == 53 && protocol != Protocol::Other(1);
            prop_assert!(is_allowed || is_question, "{told:#?}");
            return Ok(());
        };
        let rule = pasted_rule(&allow.line);
        match &allow.replaces {
            Some(id) => {
                let place = policy.egress.allow.iter().position(|known| *known.id == **id).unwrap();
                policy.egress.allow[place] = rule;
            }
            None => policy.egress.allow.push(rule),
        }
        let after = connect(&policy, &attempt);
        prop_assert_eq!(verdict(&after).0, "allowed", "{:#?}", told);
        prop_assert_eq!(&after.allow, &None);
        if let Some(address) = address {
            let to = Destination { address, port, protocol, names: &attempt.names, exe };
            let ruling = policy.egress.judge(mode, &to);
            prop_assert_eq!(ruling.verdict, Verdict::Allowed);
            prop_assert!(!carries || ruling.may_carry_secrets);
        }
    }
}
