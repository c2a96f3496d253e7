//! The verdict on requests: what each asks for too much, evasions included.

use serde_json::{Value, json};

use crate::engine::ask::{Ask, Kind};
use crate::engine::judge::{Judged, Known, Meaning, Reference, Request, judge};
use crate::engine::routes::{self, ROUTES};
use crate::engine::target::Target;

/// What an engine and a job know in these tests: the job's own container, and everything else is others'.
fn meaning(reference: &Reference) -> Meaning {
    match reference {
        Reference::Container(name) if name == "own" => Meaning::Is("id-of-own".to_owned()),
        Reference::Container(name) if name == "nowhere" => Meaning::Missing,
        Reference::Container(name) | Reference::Exec(name) => Meaning::Not(Ask::new(Kind::ContainerOfOthers, name)),
        Reference::Volume(name) if name == "of-root" => Meaning::Not(Ask::new(Kind::Volume, name)),
        Reference::Network(name) if name == "id-of-host" => Meaning::Not(Ask::new(Kind::HostNetwork, name)),
        Reference::Volume(name) | Reference::Network(name) => Meaning::Is(name.clone()),
        Reference::Path(path, false) if path == "/home/runner/checkout" => Meaning::Is("/held/0".to_owned()),
        Reference::Path(path, _) => Meaning::Not(Ask::new(Kind::HostMount, path)),
    }
}

fn judged(method: &str, target: &str, body: &[u8]) -> Judged {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let target = Target::parse(path, query);
    let route = target.as_ref().map_or(&routes::UNKNOWN, |target| routes::find(method, &target.path));
    let mut known = Known::new();
    loop {
        let judged = judge(route, Request { target: target.as_ref(), body }, &known);
        if judged.needs.is_empty() {
            return judged;
        }
        known.extend(judged.needs.into_iter().map(|reference| (reference.clone(), meaning(&reference))));
    }
}

fn asks(method: &str, target: &str, body: &[u8]) -> Vec<String> {
    judged(method, target, body).asks.iter().map(ToString::to_string).collect()
}

fn create(body: &str) -> Judged {
    judged("POST", "/v1.43/containers/create?name=a", body.as_bytes())
}

/// What a container with this `HostConfig` asks for.
fn host(config: Value) -> Vec<String> {
    create(&json!({ "Image": "a", "HostConfig": config }).to_string()).asks.iter().map(ToString::to_string).collect()
}

#[test]
fn what_gives_the_machine_away_is_asked_for_by_name() {
    for (config, expected) in [
        (json!({ "Privileged": true }), "privileged"),
        (json!({ "Privileged": 1 }), "privileged"),
        (json!({ "Binds": ["/:/host"] }), "host-mount /"),
        (json!({ "Binds": ["/etc:/etc:ro"] }), "host-mount /etc"),
        (json!({ "Binds": ["/home/runner/checkout:/w"] }), "host-mount /home/runner/checkout"),
        (json!({ "Binds": ["../..:/w"] }), "host-mount ../.."),
        (json!({ "Binds": ["of-root:/w"] }), "volume of-root"),
        (json!({ "Binds": ["/home/runner/checkout:/w:ro,rshared"] }), "host-mount /home/runner/checkout with rshared"),
        (json!({ "Mounts": [{ "Type": "bind", "Source": "/", "Target": "/h" }] }), "host-mount /"),
        (json!({ "Mounts": [{ "type": "bind", "source": "/", "target": "/h" }] }), "host-mount /"),
        (json!({ "Mounts": [{ "Type": "npipe", "Source": "x", "Target": "/h" }] }), "host-mount of type npipe"),
        (json!({ "Mounts": [{ "Source": "/", "Target": "/h" }] }), "host-mount of type "),
        (
            json!({ "Mounts": [{ "Type": "volume", "VolumeOptions": { "DriverConfig": { "Options": { "o": "bind" } } } }] }),
            "volume {\"o\":\"bind\"}",
        ),
        (json!({ "NetworkMode": "host" }), "host-network"),
        (json!({ "NetworkMode": "id-of-host" }), "host-network id-of-host"),
        (json!({ "NetworkMode": "ns:/proc/1/ns/net" }), "network ns:/proc/1/ns/net"),
        (json!({ "NetworkMode": "container:other" }), "container-of-others other"),
        (json!({ "PidMode": "host" }), "host-pid"),
        (json!({ "PidMode": "ns:/proc/1/ns/pid" }), "host-pid ns:/proc/1/ns/pid"),
        (json!({ "PidMode": "container:other" }), "container-of-others other"),
        (json!({ "IpcMode": "host" }), "host-ipc"),
        (json!({ "UTSMode": "host" }), "host-uts"),
        (json!({ "UsernsMode": "host" }), "host-userns"),
        (json!({ "CgroupnsMode": "host" }), "host-cgroup"),
        (json!({ "CapAdd": ["SYS_ADMIN"] }), "capability SYS_ADMIN"),
        (json!({ "CapAdd": ["cap_sys_ptrace"] }), "capability SYS_PTRACE"),
        (json!({ "CapAdd": ["ALL"] }), "capability ALL"),
        (json!({ "DeviceRequests": [{ "Count": -1 }] }), "device [{\"Count\":-1}]"),
        (json!({ "DeviceCgroupRules": ["a *:* rwm"] }), "device [\"a *:* rwm\"]"),
        (json!({ "SecurityOpt": ["seccomp=unconfined"] }), "unconfined seccomp=unconfined"),
        (json!({ "SecurityOpt": ["label:disable"] }), "unconfined label:disable"),
        (json!({ "MaskedPaths": [] }), "unconfined systempaths"),
        (json!({ "ReadonlyPaths": [] }), "unconfined systempaths"),
        (json!({ "CgroupParent": "/" }), "cgroup-parent /"),
        (json!({ "Sysctls": { "kernel.core_pattern": "|/x" } }), "sysctl kernel.core_pattern"),
        (json!({ "Sysctls": { "kernel/core_pattern": "|/x" } }), "sysctl kernel.core_pattern"),
        (json!({ "OomKillDisable": true }), "unknown-setting OomKillDisable"),
        (json!({ "OomScoreAdj": -1000 }), "unknown-setting OomScoreAdj -1000"),
        (json!({ "VolumesFrom": ["other:ro"] }), "container-of-others other"),
        (json!({ "VolumeDriver": "nfs" }), "volume driver nfs"),
        (json!({ "Links": ["other:db"] }), "container-of-others other"),
        (json!({ "Runtime": "/tmp/mine" }), "runtime /tmp/mine"),
        (json!({ "LogConfig": { "Type": "syslog" } }), "log-driver syslog"),
        (json!({ "LogConfig": { "Config": { "path": "/etc/cron.d/x" } } }), "log-driver option path"),
        (json!({ "GroupAdd": ["keep-groups"] }), "unknown-setting GroupAdd keep-groups"),
        (json!({ "Annotations": { "a": "b" } }), "unknown-setting Annotations"),
        (json!({ "FromTomorrow": "x" }), "unknown-setting FromTomorrow"),
    ] {
        assert_eq!(host(config.clone()), [expected], "{config}");
    }
    let device = json!({ "Devices": [{ "PathOnHost": "/dev/sda" }] });
    assert_eq!(host(device), ["device [{\"PathOnHost\":\"/dev/sda\"}]"]);
}

#[test]
fn keys_that_go_understands_are_understood() {
    for body in [
        r#"{"hostconfig":{"privileged":true}}"#,
        r#"{"HOSTCONFIG":{"PRIVILEGED":true}}"#,
        r#"{"HostConfig":{"Privileged":true}}"#,
        "{\"Ho\u{17f}tConfig\":{\"Privileged\":true}}",
    ] {
        assert_eq!(create(body).asks, [Ask::new(Kind::Privileged, "")], "{body}");
    }
    let written = create(r#"{"hostconfig":{"memory":5,"CAPDROP":["ALL"]},"image":"a"}"#).body.unwrap();
    assert_eq!(written, json!({ "HostConfig": { "Memory": 5, "CapDrop": ["ALL"] }, "Image": "a" }));
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    for body in [
        r#"{"HostConfig":{"Privileged":true},"HostConfig":{}}"#,
        r#"{"HostConfig":{"Privileged":true},"hostconfig":{}}"#,
        r#"{"HostConfig":{"Privileged":false,"privileged":false}}"#,
        r#"{"Image":"a"} {"HostConfig":{"Privileged":true}}"#,
        r#"{"HostConfig":[{"Privileged":true}]}"#,
        r#"{"HostConfig":{"NetworkMode":["host"]}}"#,
        "{\"Image\":\"a\"\u{0}}",
        "[]",
    ] {
        assert!(create(body).asks.iter().any(|ask| ask.kind == Kind::Ambiguous), "{body}");
    }
}

#[test]
fn fields_of_the_host_have_no_place_beside_it() {
    // Old engines read them there; podman reads binds out of volumes.
    assert_eq!(asks("POST", "/v1.18/containers/create", br#"{"Privileged":true}"#), ["unknown-setting Privileged"]);
    assert_eq!(asks("POST", "/containers/create", br#"{"Binds":["/:/h"]}"#), ["unknown-setting Binds"]);
    assert_eq!(asks("POST", "/containers/create", br#"{"Volumes":{"/:/h":{}}}"#), ["host-mount /:/h"]);
    let network = br#"{"NetworkingConfig":{"EndpointsConfig":{"host":{}}}}"#;
    assert_eq!(asks("POST", "/containers/create", network), ["host-network"]);
}

#[test]
fn an_ordinary_container_is_passed_on_as_it_is() {
    let body = json!({
        "Hostname": "", "AttachStdout": true, "Env": ["A=1"], "Cmd": ["sh"], "Image": "alpine", "Volumes": {},
        "Labels": { "a": "1", "A": "2" },
        "HostConfig": {
            "Binds": ["cache:/cache", "/home/runner/checkout:/w:ro"], "NetworkMode": "default", "Privileged": false,
            "PortBindings": { "80/tcp": [{ "HostIp": "", "HostPort": "8080" }] }, "AutoRemove": true,
            "CapAdd": ["CAP_CHOWN"], "CapDrop": null, "SecurityOpt": ["no-new-privileges"], "Devices": [],
            "Memory": 1_073_741_824_u64, "MaskedPaths": null, "PidMode": "container:own",
            "Sysctls": { "net.core.somaxconn": "1024" }, "VolumesFrom": ["own:ro"],
            "Mounts": [{ "Type": "tmpfs", "Target": "/t" }, { "Type": "volume", "Source": "cache", "Target": "/c" }]
        },
        "NetworkingConfig": { "EndpointsConfig": { "default": { "Aliases": ["a"] } } }
    });
    let judged = create(&body.to_string());
    assert_eq!(judged.asks, []);
    let mut expected = body;
    expected["HostConfig"]["Binds"][1] = "/held/0:/w:ro".into();
    expected["HostConfig"]["PidMode"] = "container:id-of-own".into();
    expected["HostConfig"]["VolumesFrom"][0] = "id-of-own:ro".into();
    assert_eq!(judged.body, Some(expected));
    assert_eq!(judged.target.written(), "/v1.43/containers/create?name=a");
}

#[test]
fn a_container_goes_by_the_id_that_was_judged_and_others_containers_go_by_none() {
    assert_eq!(judged("POST", "/containers/own/start", b"").target.written(), "/containers/id-of-own/start");
    assert_eq!(judged("POST", "/containers/nowhere/start", b"").missing, ["nowhere"]);
    for (method, target) in [
        ("POST", "/containers/other/exec"),
        ("GET", "/containers/other/json"),
        ("GET", "/containers/other/archive?path=/etc"),
        ("PUT", "/containers/other/archive?path=/"),
        ("POST", "/containers/other/attach"),
        ("DELETE", "/containers/other"),
        ("POST", "/commit?container=other"),
        ("POST", "/exec/other/start"),
    ] {
        let expected = "container-of-others other";
        assert_eq!(asks(method, target, b""), [expected], "{method} {target}");
    }
    let join = br#"{"container":"other"}"#;
    assert_eq!(asks("POST", "/networks/mine/connect", join), ["container-of-others other"]);
}

#[test]
fn other_requests_are_judged_too() {
    for (method, target, body, expected) in [
        ("POST", "/containers/own/exec", r#"{"Cmd":["sh"],"privileged":true}"#, "privileged"),
        ("POST", "/containers/own/update", r#"{"Devices":[1]}"#, "device [1]"),
        ("POST", "/containers/own/update", r#"{"Privileged":true}"#, "unknown-setting Privileged"),
        ("POST", "/volumes/create", r#"{"DriverOpts":{"device":"/"}}"#, "volume {\"device\":\"/\"}"),
        ("POST", "/networks/create", r#"{"Driver":"macvlan"}"#, "network driver macvlan"),
        ("POST", "/networks/create", r#"{"IPAM":{"Config":[{"Subnet":"8.8.8.0/24"}]}}"#, "network 8.8.8.0/24"),
        ("POST", "/networks/create", r#"{"IPAM":{"Config":[{"Subnet":"172.16.0.0/8"}]}}"#, "network 172.16.0.0/8"),
        ("POST", "/build?networkmode=host", "", "host-network networkmode=host"),
        ("POST", "/build?networkmode=default&NetworkMode=host", "", "host-network networkmode=host"),
        ("POST", "/build?remote=http://169.254.169.254/", "", "fetch remote=http://169.254.169.254/"),
        ("POST", "/build?version=2&session=x", "", "opaque-stream version=2"),
        ("POST", "/build?nsoptions=%5B1%5D", "", "unknown-setting nsoptions"),
        ("POST", "/build?volume=/:/h", "", "host-mount volume=/:/h"),
        ("POST", "/images/create?fromSrc=http://a.example/", "", "fetch fromSrc=http://a.example/"),
        ("POST", "/images/create?fromImage=docker-archive:/srv/x.tar", "", "fetch fromImage=docker-archive:/srv/x.tar"),
        ("POST", "/containers/create", r#"{"Image":"oci:/srv/x"}"#, "fetch oci:/srv/x"),
        ("POST", "/session", "", "opaque-stream"),
        ("POST", "/v1.43/grpc", "", "opaque-stream"),
        ("POST", "/v4.0.0/libpod/containers/create", r#"{"privileged":true}"#, "podman-api"),
        ("POST", "/plugins/pull?remote=x", "", "unknown-request"),
        ("POST", "/swarm/init", "{}", "unknown-request"),
        ("POST", "/services/create", "{}", "unknown-request"),
        ("POST", "/containers/own/checkpoints", "{}", "unknown-request"),
        ("GET", "/containers/own/attach/ws", "", "unknown-request"),
        ("POST", "/containers/a/b/start", "", "unknown-request"),
        ("PATCH", "/containers/create", "{}", "unknown-request"),
        ("POST", "/v1.43/v1.43/containers/create", "{}", "unknown-request"),
        ("POST", "//containers/create", "{}", "ambiguous a path that isn't plain"),
        ("POST", "/x/../containers/create", "{}", "ambiguous a path that isn't plain"),
        ("POST", "/containers/%2e%2e/create", "{}", "ambiguous a path that isn't plain"),
    ] {
        assert_eq!(asks(method, target, body.as_bytes())[0], expected, "{method} {target} {body}");
    }
}

#[test]
fn a_path_that_is_encoded_is_the_path_that_it_means() {
    let body = br#"{"HostConfig":{"Privileged":true}}"#;
    assert_eq!(asks("POST", "/%63ontainers/cr%65ate", body), ["privileged"]);
    assert_eq!(asks("POST", "/v1.43%2Fcontainers%2Fcreate", body), ["privileged"]);
}

#[test]
fn a_body_that_nobody_expects_is_not_passed_on() {
    // Old engines took a whole HostConfig here.
    let judged = judged("POST", "/containers/own/start", br#"{"Privileged":true}"#);
    assert_eq!((judged.asks, judged.body), (vec![], None));
}

#[test]
fn every_route_but_those_that_are_never_passed_finds_itself() {
    for route in ROUTES.iter().filter(|route| route.never.is_none()) {
        let path: Vec<String> = route.path.split('/').skip(1).map(|piece| piece.replace(['{', '}'], "")).collect();
        let found = routes::find(route.method, &path);
        assert_eq!((found.method, found.path), (route.method, route.path));
    }
}
