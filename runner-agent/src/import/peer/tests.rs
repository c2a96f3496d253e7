use super::*;

fn shown(read: Result<Reading, LeftOut>) -> String {
    let rules = |reading: &Reading| -> Vec<String> {
        let shown = |(target, ports): &Meaning| match target {
            Target::Host(host) => format!("{host} {ports}"),
            Target::Cidr(network) => format!("{network} {ports}"),
        };
        reading.rules.iter().map(shown).collect()
    };
    match read {
        Ok(reading) => {
            let left_out = reading.left_out.as_ref().map(|left_out| format!(" ! {}", left_out.message));
            rules(&reading).join(", ") + &left_out.unwrap_or_default()
        }
        Err(left_out) => format!("! {}", left_out.message),
    }
}

#[test]
fn a_name_alone_means_what_its_reader_took_it_for() {
    let all = |entry| Peer::ALL.map(|peer| shown(peer.endpoint(entry)));
    assert_eq!(all("example.org"), ["example.org [443]", "example.org any", "example.org any, *.example.org any"]);
    let [harden_runner, bullfrog, cargowall] = all("*.example.org");
    assert_eq!((harden_runner.as_str(), bullfrog.as_str()), ("*.example.org [443]", "*.example.org any"));
    assert!(cargowall.contains("cargowall means one label below it"), "{cargowall}");
    let [harden_runner, bullfrog, cargowall] = all("**.example.org");
    assert!(harden_runner.contains("every name there is; write *.example.org"), "{harden_runner}");
    assert_eq!((bullfrog.as_str(), cargowall.as_str()), ("*.example.org any", "*.example.org any"));
}

#[test]
fn ports_are_each_peers_own() {
    let all = |entry| Peer::ALL.map(|peer| shown(peer.endpoint(entry)));
    let [harden_runner, bullfrog, cargowall] = all("example.org:8443");
    assert_eq!(harden_runner, "example.org [8443]");
    assert!(bullfrog.contains("bullfrog has no ports"), "{bullfrog}");
    assert_eq!(cargowall, "example.org [8443], *.example.org [8443]");
    let [harden_runner, _, cargowall] = all("example.org:443;80");
    assert!(harden_runner.contains("one port an entry"), "{harden_runner}");
    assert_eq!(cargowall, "example.org [443, 80], *.example.org [443, 80]");
    for wrong in ["example.org:*", "example.org:80-90", "example.org:0", "example.org:"] {
        assert!(all(wrong).iter().all(|read| read.starts_with('!')), "{wrong}: {:?}", all(wrong));
    }
}

#[test]
fn ipv6_is_read_only_where_it_ever_was() {
    assert!(shown(Peer::HardenRunner.endpoint("[2001:db8::1]:443")).contains("reads no IPv6"));
    assert!(shown(Peer::Bullfrog.address("2001:db8::/32")).contains("never worked"));
    assert_eq!(shown(Peer::Cargowall.address("2001:db8::/32")), "2001:db8::/32 any");
    assert_eq!(shown(Peer::Cargowall.address("[2001:db8::]:443;80")), "2001:db8::/128 [443, 80]");
}

#[test]
fn separators_that_a_peer_never_had_are_no_entry() {
    assert!(shown(Peer::HardenRunner.endpoint("a.example.org:443,b.example.org:443")).contains("by spaces alone"));
    for peer in [Peer::Bullfrog, Peer::Cargowall] {
        for text in ["a.example.org b.example.org", "a.example.org,b.example.org"] {
            assert!(shown(peer.endpoint(text)).contains("one on a line"));
        }
    }
}

#[test]
fn no_wildcard_stands_where_anyone_can_have_a_name() {
    for (peer, entry) in [
        (Peer::HardenRunner, "*.github.io:443"),
        (Peer::Bullfrog, "*.co.uk"),
        (Peer::Cargowall, "**.blob.core.windows.net"),
    ] {
        assert!(shown(peer.endpoint(entry)).contains("anyone can register"), "{entry}");
    }
    let kept = shown(Peer::Cargowall.endpoint("blob.core.windows.net"));
    assert!(kept.starts_with("blob.core.windows.net any ! ") && kept.contains("anyone can register"), "{kept}");
    assert!(shown(Peer::Cargowall.endpoint("*.github.io")).contains("anyone can register"));
}
