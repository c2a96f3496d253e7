//! Names: destinations carry what the job resolved, and rules about hosts hold for it.

use std::process::Command;

use end_to_end::{Helper, Job, Namespace, needs};

use crate::{ACT, shell};

const CONFIGURED: &str = "192.0.2.53";
const OTHER: &str = "192.0.2.54";
const POLICY: &str = "version: 1\nname: names\nguard: { network: allow }\negress:\n  allow:\n    - { host: good.test, ports: [443], \
                      why: \"the host of this test\" }\n";

fn resolver(namespace: &Namespace, address: &str, names: &[&str]) -> Helper {
    namespace.address(&format!("{address}/32"));
    let mut command: Command = namespace.command(ACT);
    Helper::start(command.args(["resolver", "serve", address]).args(names))
}

/// A job in that namespace, on a runner whose resolver is [`CONFIGURED`].
fn configured(job: Job, namespace: &Namespace) -> Job {
    let job = job.file("resolv.conf", &format!("nameserver {CONFIGURED}\n")).policy(POLICY);
    let file = job.path("resolv.conf");
    let enter = format!("--net={}", namespace.file().display());
    let mount = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    job.by(["nsenter", &enter, "unshare", "--mount", "--propagation", "private", "sh", "-c", mount, &file])
}

#[test]
fn a_destination_carries_the_name_that_the_job_resolved_and_a_rule_about_the_host_allows_it() {
    needs!();
    let namespace = Namespace::create();
    let _resolver = resolver(&namespace, CONFIGURED, &["good.test=203.0.113.5"]);
    let run = configured(shell("\"$ACT\" net by-name good.test 443"), &namespace).run().whole();
    let connect = run.log.connect("203.0.113.5", 443);
    assert_eq!(connect.list("/destination/names"), ["good.test"]);
    assert_eq!((connect.text("verdict"), connect.text("rule")), ("allowed", "names/egress.allow[0]"));
    let answer = run.log.of("dns").find(|line| line.list("/addresses") == ["203.0.113.5"]).expect("the answer");
    assert_eq!((answer.text("name"), answer.text("server")), ("good.test", CONFIGURED));
    assert!(answer.is("trusted"));
    assert_eq!(answer.text("answer_code"), "NoError");
    assert_eq!(answer.key(), connect.key(), "the answer belongs to who asked");
    assert_eq!(run.log.finding_ids(), Vec::<&str>::new());
}

#[test]
fn another_port_of_an_allowed_host_and_another_host_are_not_allowed() {
    needs!();
    let namespace = Namespace::create();
    let _resolver = resolver(&namespace, CONFIGURED, &["good.test=203.0.113.5", "other.test=203.0.113.6"]);
    let script = "\"$ACT\" net by-name good.test 8443; \"$ACT\" net by-name other.test 443";
    let run = configured(shell(script), &namespace).run().whole();
    for (address, port, name) in [("203.0.113.5", 8443, "good.test"), ("203.0.113.6", 443, "other.test")] {
        let connect = run.log.connect(address, port);
        assert_eq!(connect.list("/destination/names"), [name]);
        assert_eq!((connect.text("verdict"), connect.text("rule")), ("audited", "default"));
    }
}

#[test]
fn what_another_resolver_claims_is_told_and_opens_nothing() {
    needs!();
    let namespace = Namespace::create();
    let _resolver = resolver(&namespace, OTHER, &["good.test=203.0.113.66"]);
    let script =
        "[ \"$(\"$ACT\" resolver ask 192.0.2.54 good.test)\" = 203.0.113.66 ] && \"$ACT\" net tcp 203.0.113.66 443";
    let run = configured(shell(script), &namespace).run().whole();
    let connect = run.log.connect("203.0.113.66", 443);
    assert_eq!(connect.list("/destination/names"), Vec::<&str>::new());
    assert_eq!(connect.list("/destination/claimed_names"), ["good.test"]);
    assert_eq!((connect.text("verdict"), connect.text("rule")), ("audited", "default"));
    let answer = run.log.of("dns").find(|line| !line.list("/addresses").is_empty()).expect("the answer");
    assert_eq!(answer.at("/trusted"), false);
    assert_eq!(run.log.connect(OTHER, 53).text("verdict"), "audited", "the question itself is no use of the resolver");
}

#[test]
fn a_name_that_does_not_exist_is_asked_for_in_the_log() {
    needs!();
    let namespace = Namespace::create();
    let _resolver = resolver(&namespace, CONFIGURED, &[]);
    let run = configured(shell("\"$ACT\" net by-name nobody.test 443; true"), &namespace).run().whole();
    let answer = run.log.of("dns").find(|line| line.0["answer_code"] == "NXDomain").expect("the answer");
    assert_eq!(answer.text("name"), "nobody.test");
    assert_eq!(run.log.connect(CONFIGURED, 53).text("rule"), "resolver");
}

#[test]
fn names_are_answered_in_network_namespaces_that_the_job_makes() {
    needs!();
    let namespace = Namespace::create();
    let _resolver = resolver(&namespace, CONFIGURED, &["good.test=203.0.113.5"]);
    // A client of its own in each: the first has its network by unshare(2), the second by ip(8), as engines do. The resolver
    // comes a moment after the namespace, as it does for a container.
    let script = r#"
        ask() {
            ip link set lo up
            SECONDS=0; until "$ACT" dns udp 192.0.2.53 good.test A || [ $SECONDS -ge 60 ]; do :; done
            "$ACT" dns tcp 192.0.2.53 good.test A
            "$ACT" dns udp 192.0.2.53 bad.test A || echo refused
        }
        export -f ask
        unshare --net bash -c ask
        ip netns add "ra-e2e-$$" && ip netns exec "ra-e2e-$$" bash -c ask; ip netns del "ra-e2e-$$"
        true
    "#;
    let run = configured(shell(script).option("--mode").option("block"), &namespace).run().whole();
    let answers = run.stdout.lines().filter(|line| *line == "answered 203.0.113.5").count();
    let refusals = run.stdout.lines().filter(|line| *line == "refused").count();
    assert_eq!((answers, refusals), (4, 2), "{}{}", run.stdout, run.stderr);
    let networks =
        run.log.of("dns").filter(|line| line.text("name") == "good.test" && line.text("verdict") == "allowed");
    assert!(networks.count() >= 4);
}
