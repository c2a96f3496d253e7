use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::config::check::{AllowLine, check};
use crate::policy::AddressClass;

fn imported(from: Peer, text: &str) -> Result<Imported, Vec<Problem>> {
    import(&Request { from, file: Path::new("dir/w.yml"), job: None, name: None }, text.as_bytes())
}

/// The rules of a file as the loader has them.
fn read_back(yaml: &str) -> (Mode, Vec<EgressRule>, Vec<DenyRule>) {
    let (draft, problems) = check(Path::new("p.yml"), yaml.as_bytes());
    assert!(problems.iter().all(|problem| !problem.is_error()), "{yaml}\n{problems:#?}");
    let draft = draft.unwrap();
    let rule = |line| match line {
        AllowLine::Rule(rule) => EgressRule { id: "".into(), ..rule },
        AllowLine::Ecosystem { .. } => panic!("{yaml}"),
    };
    let denied = draft.deny.into_iter().map(|rule| DenyRule { id: "".into(), ..rule }).collect();
    (draft.mode, draft.allow.into_iter().map(rule).collect(), denied)
}

fn round(imported: &Imported) {
    let (mode, rules, denied) = read_back(&imported.yaml());
    assert_eq!(mode, imported.mode);
    assert_eq!(denied, imported.denied);
    assert_eq!(rules, imported.rules().cloned().collect::<Vec<_>>());
}

fn messages(problems: &[Problem]) -> String {
    problems.iter().flat_map(|problem| [problem.to_string(), "\n".to_owned()]).collect()
}

#[test]
fn a_list_alone_has_its_peers_mode() {
    let found = imported(Peer::HardenRunner, "a.example.org:8443 b.example.org\n").unwrap();
    assert_eq!((found.mode, found.rules().count()), (Mode::Block, 2));
    assert_eq!(imported(Peer::Bullfrog, "a.example.org").unwrap().mode, Mode::Audit);
    assert_eq!(imported(Peer::Cargowall, "198.51.100.7").unwrap().mode, Mode::Block);
    round(&found);
}

#[test]
fn each_warning_stands_at_its_entry() {
    let text =
        "with:\n  allowed-hosts: |\n    a.example.org\n    # é\n    *.b.example.org:443\n  sudo-lockdown: true\n";
    let found = imported(Peer::Cargowall, text).unwrap();
    assert!(
        messages(&found.problems)
            .starts_with("dir/w.yml:5:5: warning: allowed-hosts: \"*.b.example.org:443\": cargowall means one")
    );
    assert!(found.no_sudo);
    let yaml = found.yaml();
    assert!(yaml.contains("    # - { host: \"*.b.example.org\", ports: [443], why: "), "{yaml}");
    assert!(yaml.contains("(w.yml:3)\" }\n"), "{yaml}");
    round(&found);
}

#[test]
fn an_expression_is_no_entry_and_no_mode() {
    let text = "egress-policy: ${{ inputs.mode }}\nallowed-endpoints: a.example.org:443 ${{ vars.HOSTS }} ${{ x }}:443\n\
                disable-sudo: ${{ inputs.sudo }}\n";
    let found = imported(Peer::HardenRunner, text).unwrap();
    assert_eq!((found.mode, found.rules().count(), found.no_sudo), (Mode::Block, 1, false));
    assert_eq!(messages(&found.problems).matches("is an expression").count(), 4);
    round(&found);
}

#[test]
fn a_comment_that_hides_entries_is_told() {
    let text = "allowed-domains: >\n  a.example.org # one\n  b.example.org\n";
    let found = imported(Peer::Bullfrog, text).unwrap();
    let told = messages(&found.problems);
    assert!(told.contains("w.yml:2:3: warning") && told.contains("hides all that follows"), "{told}");
    assert!(found.yaml().contains("b.example.org"), "{}", found.yaml());
}

#[test]
fn what_a_list_cannot_open_stays_closed() {
    let found = imported(
        Peer::Cargowall,
        "allowed-cidrs: |\n  169.254.169.254/32:80\n  168.63.129.16/32\n  0.0.0.0/0\n  100.64.0.0/10\n",
    )
    .unwrap();
    let told = messages(&found.problems);
    assert!(told.contains("is metadata, which a list doesn't open"), "{told}");
    assert!(told.contains("\"0.0.0.0/0\" holds loopback and private"), "{told}");
    let classes: Vec<AddressClass> = found.rules().map(|rule| rule.class).collect();
    assert_eq!(classes, [AddressClass::Public, AddressClass::Private]);
    round(&found);
}

#[test]
fn nothing_is_made_of_nothing() {
    let told = |from, text| messages(&imported(from, text).unwrap_err());
    assert!(
        told(Peer::HardenRunner, "**.example.org:443").contains("no entry of the list has a rule that means the same")
    );
    assert!(told(Peer::HardenRunner, "use-policy-store: true\n").contains("the step has no list of its own"));
    assert!(told(Peer::Cargowall, "config-file: a.json\n").contains("the step has no list of its own"));
    assert!(
        told(Peer::Bullfrog, "egress-policy: strict\n")
            .contains("w.yml:1:16: egress-policy: \"strict\" is not one of audit, block")
    );
    assert!(told(Peer::Bullfrog, "allowed-domains: a\nenable-sudo: perhaps\n").contains("write true or false"));
    let many: String =
        (0..1001).flat_map(|index| ["h".to_owned(), index.to_string(), ".example.org\n".to_owned()]).collect();
    assert!(told(Peer::Bullfrog, &many).contains("1001 rules"));
}

#[test]
fn a_step_without_a_list_is_a_mode_and_what_github_needs() {
    let found =
        imported(Peer::HardenRunner, "uses: step-security/harden-runner@v2\nwith: { egress-policy: audit }\n").unwrap();
    assert_eq!((found.mode, found.rules().count(), found.problems.len()), (Mode::Audit, 0, 0));
    round(&found);
}

#[test]
fn an_input_that_there_never_was_is_told() {
    let found = imported(Peer::Bullfrog, "allowed-domain: a.example.org\nallowed-domains: b.example.org\n").unwrap();
    assert!(messages(&found.problems).contains("allowed-domain: is no input of bullfrog"));
    assert!(found.yaml().contains("did you mean"), "{}", found.yaml());
}

#[test]
fn a_policy_is_named_as_its_job_as_far_as_it_can_be() {
    assert_eq!(name_of(None), "imported");
    assert_eq!(name_of(Some("Unit_Tests")), "unit-tests");
    assert_eq!(name_of(Some("build")), "imported-build", "a shipped policy has the name");
    assert_eq!(name_of(Some("__")), "imported");
    assert!(right_name("My").is_err() && right_name("npm").is_err() && right_name("my-2").is_ok());
}

/// What is made of a file of cargowall's with these rules: values that are allowed, or with a minus denied.
fn of_config(rules: &[&str]) -> (Vec<String>, String) {
    let rule = |text: &&str| {
        let (action, value) = text.strip_prefix('-').map_or(("allow", *text), |value| ("deny", value));
        let kind = if entry::is_address(value) { "cidr" } else { "hostname" };
        format!("{{\"type\": \"{kind}\", \"value\": \"{value}\", \"action\": \"{action}\"}}")
    };
    let rules: Vec<String> = rules.iter().map(rule).collect();
    let text = format!("{{\"rules\": [{}]}}", rules.join(",\n"));
    let found = imported(Peer::Cargowall, &text).unwrap_or_else(|problems| panic!("{text}\n{}", messages(&problems)));
    round(&found);
    let target = |rule: &EgressRule| match &rule.target {
        crate::policy::egress::Target::Host(name) => name.to_string(),
        crate::policy::egress::Target::Cidr(network) => network.to_string(),
    };
    (found.rules().map(target).collect(), messages(&found.problems))
}

#[test]
fn what_may_hold_a_denied_name_is_left_out_and_nothing_else() {
    let kept = |rules: &[&str]| of_config(&[&["also.example.org"], rules].concat()).0.split_off(2);
    assert_eq!(kept(&["a.example.net"]), ["a.example.net", "*.a.example.net"]);
    assert_eq!(kept(&["a.example.net", "-x.a.example.net"]), ["a.example.net"]);
    assert_eq!(kept(&["a.example.net", "-*.a.example.net"]), ["a.example.net"]);
    assert_eq!(kept(&["a.example.net", "-bad.*.example.net"]), ["a.example.net"], "bad.a.example.net may be below it");
    assert_eq!(kept(&["a.example.net", "-A.example.net"]), Vec::<String>::new());
    assert_eq!(kept(&["a.example.net", "-ba.example.net", "-net"]), ["a.example.net", "*.a.example.net"]);
    assert_eq!(kept(&["**.a.example.net", "-example.net"]), Vec::<String>::new(), "a longer pattern is no longer name");
    assert_eq!(of_config(&["a.example.net", "-**"]).0, ["a.example.net"]);
}

#[test]
fn a_network_within_a_denied_one_is_left_out() {
    let (kept, told) = of_config(&["10.0.0.0/8", "-10.1.0.0/16", "10.1.2.0/24"]);
    assert_eq!(kept, ["10.0.0.0/8"]);
    assert!(told.contains("\"10.1.2.0/24\" lies in 10.1.0.0/16, which is denied"), "{told}");
    let (kept, _) = of_config(&["-10.1.0.0/16"]);
    assert_eq!(kept, Vec::<String>::new(), "a file that only closes is a policy too");
}

fn peer() -> impl Strategy<Value = Peer> {
    prop::sample::select(Peer::ALL.to_vec())
}

/// Pieces of which entries and files are made, and what could end a line, a quote or a comment.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "example.org",
            "*.",
            "**.",
            ":443",
            ":443;80",
            "198.51.100.7",
            "10.0.0.0/8",
            "2001:db8::/32",
            " ",
            "\n",
            "#",
            " # ",
            "\"",
            "'",
            "}",
            "{",
            ", why: ",
            "${{ x }}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\t",
            "\\",
            "\r\n",
            "allowed-hosts: |\n  ",
            "allowed-domains: >\n  ",
            "\n- uses: bullfrogsec/bullfrog@v0\n",
            "é",
            "\u{0}",
            "\u{202e}",
            "---",
            "{\"rules\": [{\"type\": \"cidr\", \"action\": \"deny\", \"value\": \"",
            "\"}]}",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn whatever_is_read_what_is_written_is_a_policy_with_the_same_rules(
        from in peer(),
        pieces in prop::collection::vec(piece(), 0..12),
        file in any::<String>(),
    ) {
        let text = pieces.concat();
        let request = Request { from, file: &PathBuf::from(file), job: None, name: None };
        if let Ok(found) = import(&request, text.as_bytes()) {
            round(&found);
        }
    }

    #[test]
    fn hostile_inputs_and_jobs_write_no_line_of_their_own(
        from in peer(),
        hostile in any::<String>(),
        entry in "\\PC{0,12}",
    ) {
        let quoted = crate::policy::egress::smallest::quoted;
        let list = format!("ok.example.org\n{entry}");
        let (names, mode) = (from.inputs()[0].0, if from == Peer::Cargowall { "mode" } else { "egress-policy" });
        let text = format!(
            "jobs:\n  {}:\n    steps:\n      - uses: {}@v1\n        with: {{ {mode}: audit, {}: x, {names}: {} }}\n",
            quoted(&format!("j{hostile}")), from.action(), quoted(&format!("i{hostile}")), quoted(&list),
        );
        let request = Request { from, file: Path::new("w.yml"), job: None, name: None };
        let found = import(&request, text.as_bytes()).map_err(|problems| TestCaseError::fail(messages(&problems)))?;
        let rules = found.rules().count();
        prop_assert!(rules >= 1);
        round(&found);
        let keys = found.yaml().lines().filter(|line| !line.trim_start().starts_with(['#', '-'])).count();
        prop_assert_eq!(keys, 6);
    }
}
