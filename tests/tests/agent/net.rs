//! Destinations: whatever way leads to one, the log has it once, with address, port and protocol.

use end_to_end::{Cgroup, Line, Namespace, needs};

use crate::{ACT, act};

const PORT: u16 = 9;

/// Runs a trick against a loopback address; returns its one connect line.
fn reached(trick: &str, address: &str, logged_as: &str, protocol: &str, hook: &str) -> Line {
    let run = act(&["net", trick, address, &PORT.to_string()]).run().whole();
    let connect = run.log.connect(logged_as, PORT).clone();
    assert_eq!(connect.at("/destination/protocol"), protocol, "{:?}", connect.0);
    assert_eq!(connect.text("hook"), hook);
    assert_eq!(connect.at("/destination/class"), "loopback");
    assert_eq!((connect.text("verdict"), connect.text("rule")), ("allowed", "loopback"));
    assert_eq!(connect.at("/process/exe"), &ACT);
    assert!(!connect.is("outside_cgroup"));
    connect
}

macro_rules! reaches {
    ($($test:ident: $trick:literal $address:literal as $logged:literal over $protocol:literal by $hook:literal;)*) => {
        $(#[test]
        fn $test() {
            needs!();
            reached($trick, $address, $logged, $protocol, $hook);
        })*
    };
}

reaches! {
    a_tcp_connect_over_ipv4_is_recorded: "tcp" "127.0.0.9" as "127.0.0.9" over "tcp" by "connect4";
    a_tcp_connect_over_ipv6_is_recorded: "tcp" "::1" as "::1" over "tcp" by "connect6";
    a_tcp_connect_to_a_mapped_address_is_recorded_as_ipv4: "tcp-mapped" "127.0.0.9" as "127.0.0.9" over "tcp" by "connect6";
    a_tcp_fast_open_is_recorded_though_no_connect_is_called: "tcp-fast-open" "127.0.0.9" as "127.0.0.9" over "tcp" by "connect4";
    a_tcp_fast_open_over_ipv6_is_recorded: "tcp-fast-open" "::1" as "::1" over "tcp" by "connect6";
    a_datagram_by_sendto_is_recorded: "udp-sendto" "127.0.0.9" as "127.0.0.9" over "udp" by "sendmsg4";
    a_datagram_by_sendto_over_ipv6_is_recorded: "udp-sendto" "::1" as "::1" over "udp" by "sendmsg6";
    a_datagram_by_sendmsg_is_recorded: "udp-sendmsg" "127.0.0.9" as "127.0.0.9" over "udp" by "sendmsg4";
    a_datagram_by_sendmsg_over_ipv6_is_recorded: "udp-sendmsg" "::1" as "::1" over "udp" by "sendmsg6";
    a_connected_datagram_socket_is_recorded_at_its_connect: "udp-connected" "127.0.0.9" as "127.0.0.9" over "udp" by "connect4";
    a_connected_datagram_socket_over_ipv6_is_recorded_at_its_connect: "udp-connected" "::1" as "::1" over "udp" by "connect6";
    a_datagram_to_a_mapped_address_is_recorded_as_ipv4: "udp-mapped" "127.0.0.9" as "127.0.0.9" over "udp" by "sendmsg4";
}

/// IPPROTO_MPTCP on a stream; kernels before 5.6 don't know it, and some later ones are built without it.
fn has_mptcp() -> bool {
    end_to_end::host::can(ACT, &["net", "socket", "2", "1", "262"])
}

#[test]
fn an_mptcp_connect_is_recorded_as_tcp() {
    needs!(has_mptcp(), "this kernel has no MPTCP");
    reached("mptcp", "127.0.0.9", "127.0.0.9", "tcp", "connect4");
}

#[test]
fn each_datagram_of_one_sendmmsg_is_recorded() {
    needs!();
    let run = act(&["net", "udp-sendmmsg", "127.0.0.9", "9"]).run().whole();
    assert_eq!(run.log.connects("127.0.0.9", PORT).len(), 3);
}

#[test]
fn a_connect_by_io_uring_is_recorded_and_the_ring_is_found() {
    needs!(end_to_end::host::can(ACT, &["uring", "setup"]), "io_uring is switched off");
    let run = act(&["uring", "connect", "127.0.0.9", "9"]).run().whole();
    assert_eq!(run.log.connect("127.0.0.9", PORT).at("/process/exe"), &ACT);
    assert_eq!(run.log.of("io-uring").count(), 1);
    assert_eq!(run.log.findings("io-uring").count(), 1);
}

#[test]
fn a_connect_by_a_32_bit_call_is_recorded() {
    needs!(end_to_end::host::can(ACT, &["compat", "open", "/dev/null"]), "this kernel has no 32-bit system calls");
    let run = act(&["compat", "connect", "127.0.0.9", "9"]).run().whole();
    assert_eq!(run.log.connect("127.0.0.9", PORT).at("/destination/protocol"), "tcp");
}

/// Makes a socket that no rule about addresses can judge; returns its line.
fn odd_socket(family: i32, socket_type: i32, protocol: i32) -> Line {
    let numbers = [family, socket_type, protocol].map(|number| number.to_string());
    let run = act(&["net", "socket", &numbers[0], &numbers[1], &numbers[2]]).run().whole();
    let sockets: Vec<&Line> = run.log.of("socket").collect();
    let [socket] = sockets.as_slice() else { panic!("one socket line: {sockets:?}") };
    assert_eq!(
        (socket.number("family"), socket.number("socket_type"), socket.number("protocol")),
        (family as u64, socket_type as u64, protocol as u64)
    );
    let findings: Vec<&Line> = run.log.findings("raw-socket").collect();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].evidence().contains(&socket.number("seq")));
    (*socket).clone()
}

#[test]
fn a_raw_socket_is_found() {
    needs!();
    odd_socket(2, 3, 1);
}

#[test]
fn a_raw_socket_of_ipv6_is_found() {
    needs!();
    odd_socket(10, 3, 58);
}

#[test]
fn a_packet_socket_is_found() {
    needs!();
    odd_socket(17, 3, 0x0300);
}

#[test]
fn a_vsock_socket_is_found() {
    needs!(end_to_end::host::can(ACT, &["net", "socket", "40", "1", "0"]), "this kernel has no VSOCK");
    odd_socket(40, 1, 0);
}

#[test]
fn an_sctp_socket_is_found() {
    needs!();
    if !end_to_end::host::can(ACT, &["net", "socket", "2", "1", "132"]) {
        end_to_end::report::needs_guest(end_to_end::test_name!(), "this kernel has no SCTP");
        return;
    }
    odd_socket(2, 1, 132);
}

#[test]
fn a_ping_socket_is_found() {
    needs!();
    let namespace = Namespace::create();
    namespace.sysctl("ipv4.ping_group_range", "0 0");
    let enter = format!("--net={}", namespace.file().display());
    let run = crate::job(&["nsenter", &enter, ACT, "net", "ping", "127.0.0.9"]).run().whole();
    let socket = run.log.of("socket").next().expect("a socket line");
    assert_eq!((socket.number("family"), socket.number("protocol")), (2, 1));
    assert_eq!(run.log.findings("raw-socket").count(), 1);
}

#[test]
fn unix_and_netlink_sockets_are_no_findings() {
    needs!();
    let run = crate::shell("\"$ACT\" net socket 1 1 0 && \"$ACT\" net socket 16 3 0").run().whole();
    assert_eq!(run.log.of("socket").count(), 0);
    assert_eq!(run.log.finding_ids(), Vec::<&str>::new());
}

#[test]
fn a_process_that_leaves_the_cgroup_is_found_and_its_connect_recorded() {
    needs!();
    let elsewhere = Cgroup::create();
    let cgroup = elsewhere.path().to_str().unwrap().to_owned();
    let run = act(&["space", "leave-cgroup", &cgroup, ACT, "net", "tcp", "127.0.0.9", "9"]).run().whole();
    let moved: Vec<&Line> = run.log.of("cgroup").filter(|line| !line.is("inside")).collect();
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].number("to"), inode(elsewhere.path()));
    let connect = run.log.connect("127.0.0.9", PORT);
    assert!(connect.is("outside_cgroup"));
    assert_eq!(connect.text("hook"), "syscall-connect");
    assert_eq!(connect.at("/destination/protocol"), "tcp");
    let found: Vec<&Line> = run.log.findings("cgroup-escape").collect();
    assert!(found.iter().any(|finding| finding.evidence().contains(&moved[0].number("seq"))), "{found:?}");
    assert!(elsewhere.processes().is_empty());
}

#[test]
fn every_way_to_a_destination_from_outside_the_cgroup_is_recorded() {
    needs!();
    let mut tricks = vec!["udp-sendto", "udp-sendmsg", "udp-sendmmsg", "udp-connected", "tcp-fast-open"];
    tricks.extend(has_mptcp().then_some("mptcp"));
    for trick in tricks {
        for address in ["127.0.0.9", "::1"] {
            let elsewhere = Cgroup::create();
            let cgroup = elsewhere.path().to_str().unwrap().to_owned();
            let run = act(&["space", "leave-cgroup", &cgroup, ACT, "net", trick, address, "9"]).run().whole();
            let connect = run.log.connect(address, PORT);
            assert!(connect.is("outside_cgroup"), "{trick}");
        }
    }
}

#[test]
fn a_raw_socket_from_outside_the_cgroup_is_found_once() {
    needs!();
    let elsewhere = Cgroup::create();
    let cgroup = elsewhere.path().to_str().expect("a path of this machine's is text").to_owned();
    for [family, protocol] in [["2", "1"], ["10", "58"]] {
        let run = act(&["space", "leave-cgroup", &cgroup, ACT, "net", "socket", family, "3", protocol]).run().whole();
        assert_eq!(run.log.of("socket").count(), 1);
        assert_eq!(run.log.findings("raw-socket").count(), 1);
    }
}

#[test]
fn a_process_that_stays_outside_the_cgroup_is_ended_with_the_job() {
    needs!();
    let elsewhere = Cgroup::create();
    let cgroup = elsewhere.path().to_str().unwrap().to_owned();
    let run =
        crate::job(&[ACT, "exec", "daemon", ACT, "space", "leave-cgroup", &cgroup, "sleep", "1000"]).run().whole();
    assert_eq!(run.log.ended().list("/leftovers").len(), 1);
    assert!(elsewhere.processes().is_empty(), "it lives on in the other cgroup");
}

fn inode(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).expect("the cgroup is there").ino()
}

#[test]
fn the_metadata_service_and_private_addresses_are_found() {
    needs!();
    let namespace = Namespace::create();
    let enter = format!("--net={}", namespace.file().display());
    let script =
        "\"$ACT\" net tcp 169.254.169.254 80 && \"$ACT\" net tcp 10.20.30.40 22 && \"$ACT\" net tcp 192.0.2.77 443";
    let run = crate::job(&["nsenter", &enter, "bash", "-c", script]).variable("ACT", ACT).run().whole();
    for (address, port, class, finding) in
        [("169.254.169.254", 80, "metadata", "metadata-access"), ("10.20.30.40", 22, "private", "lateral-movement")]
    {
        let connect = run.log.connect(address, port);
        assert_eq!(connect.at("/destination/class"), class);
        assert_eq!((connect.text("verdict"), connect.text("rule")), ("audited", "default"));
        let found: Vec<&Line> = run.log.findings(finding).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].evidence().contains(&connect.number("seq")));
    }
    let elsewhere = run.log.connect("192.0.2.77", 443);
    assert_eq!(elsewhere.at("/destination/class"), "public");
    assert_eq!(run.log.findings("egress-denied").next().unwrap().evidence().last(), Some(&elsewhere.number("seq")));
}
