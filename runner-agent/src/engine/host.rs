//! What a container gets of the machine: `HostConfig`, field by field. What isn't in the table may not be set.

use serde_json::Value;

use super::ask::Kind;
use super::json::says_nothing;
use super::judge::{Check, Judge, Reference, any};
use super::{mounts, resources};

/// Fields beside the limits.
const FIELDS: &[(&str, Check)] = &[
    ("Binds", mounts::binds),
    ("ContainerIDFile", any),
    ("LogConfig", log_config),
    ("NetworkMode", network_mode),
    ("PortBindings", any),
    ("RestartPolicy", any),
    ("AutoRemove", any),
    ("VolumeDriver", mounts::volume_driver),
    ("VolumesFrom", volumes_from),
    ("ConsoleSize", any),
    ("CapAdd", capabilities),
    ("CapDrop", any),
    ("CgroupnsMode", cgroupns_mode),
    ("Dns", any),
    ("DnsOptions", any),
    ("DnsSearch", any),
    ("ExtraHosts", any),
    ("GroupAdd", groups),
    ("IpcMode", ipc_mode),
    ("Links", links),
    ("OomScoreAdj", oom_score),
    ("PidMode", pid_mode),
    ("Privileged", privileged),
    ("PublishAllPorts", any),
    ("ReadonlyRootfs", any),
    ("SecurityOpt", security_options),
    ("StorageOpt", storage_options),
    ("Tmpfs", any),
    ("UTSMode", uts_mode),
    ("UsernsMode", userns_mode),
    ("ShmSize", any),
    ("Sysctls", sysctls),
    ("Runtime", runtime),
    ("Isolation", isolation),
    ("MaskedPaths", default_paths),
    ("ReadonlyPaths", default_paths),
    ("Init", any),
    ("Mounts", mounts::mounts),
];

/// `HostConfig`.
pub fn config(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[FIELDS, resources::FIELDS].concat())
}

pub(super) fn privileged(judge: &mut Judge, value: &Value) -> Value {
    if !says_nothing(value) {
        judge.ask(Kind::Privileged, "");
    }
    value.clone()
}

/// Capabilities that engines give every container.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, |judge, item| {
        let name = judge.text(item).to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        if !DEFAULT_CAPABILITIES.contains(&name) {
            judge.ask(Kind::Capability, name);
        }
        item.clone()
    })
}

fn network_mode(judge: &mut Judge, value: &Value) -> Value {
    let mode = judge.text(value);
    match mode {
        "" | "default" | "bridge" | "none" | "private" => value.clone(),
        "host" => {
            judge.ask(Kind::HostNetwork, "");
            value.clone()
        }
        _ => match mode.strip_prefix("container:") {
            Some(name) => joined(judge, name),
            None => network_name(judge, mode).into(),
        },
    }
}

/// A network by name. Podman reads more into a mode than a name: `ns:/proc/1/ns/net`, options, lists.
pub(super) fn network_name(judge: &mut Judge, name: &str) -> String {
    if name == "host" {
        judge.ask(Kind::HostNetwork, "");
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        judge.ask(Kind::Network, name);
    } else if !["default", "bridge", "none"].contains(&name) {
        return judge.resolve(Reference::Network(name.to_owned()));
    }
    name.to_owned()
}

/// The namespace of another container.
fn joined(judge: &mut Judge, name: &str) -> Value {
    format!("container:{}", judge.resolve(Reference::Container(name.to_owned()))).into()
}

fn namespace(judge: &mut Judge, value: &Value, own: &[&str], kind: Kind) -> Value {
    let mode = judge.text(value);
    if own.contains(&mode) {
        return value.clone();
    }
    if let Some(name) = mode.strip_prefix("container:") {
        return joined(judge, name);
    }
    judge.ask(kind, if mode == "host" { "" } else { mode });
    value.clone()
}

fn pid_mode(judge: &mut Judge, value: &Value) -> Value {
    namespace(judge, value, &["", "private"], Kind::HostPid)
}

fn ipc_mode(judge: &mut Judge, value: &Value) -> Value {
    namespace(judge, value, &["", "none", "private", "shareable"], Kind::HostIpc)
}

fn uts_mode(judge: &mut Judge, value: &Value) -> Value {
    namespace(judge, value, &["", "private"], Kind::HostUts)
}

fn userns_mode(judge: &mut Judge, value: &Value) -> Value {
    namespace(judge, value, &[""], Kind::HostUserns)
}

fn cgroupns_mode(judge: &mut Judge, value: &Value) -> Value {
    namespace(judge, value, &["", "private"], Kind::HostCgroup)
}

fn security_options(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, |judge, item| {
        let option = judge.text(item);
        let more = ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"];
        let default = ["seccomp=builtin", "apparmor=docker-default"];
        if !more.contains(&option) && !default.contains(&option) {
            judge.ask(Kind::Unconfined, option);
        }
        item.clone()
    })
}

/// Paths of `/proc` and `/sys` that a container doesn't see: null leaves them to the engine, a list takes them away.
fn default_paths(judge: &mut Judge, value: &Value) -> Value {
    if !value.is_null() {
        judge.ask(Kind::Unconfined, "systempaths");
    }
    value.clone()
}

fn sysctls(judge: &mut Judge, value: &Value) -> Value {
    for (name, _) in value.as_object().into_iter().flatten() {
        // The engine takes slashes for dots.
        let name = name.replace('/', ".");
        let own = ["net.", "kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix));
        if !own && name != "kernel.sem" {
            judge.ask(Kind::Sysctl, &name);
        }
    }
    only_object(judge, value)
}

fn storage_options(judge: &mut Judge, value: &Value) -> Value {
    for (name, _) in value.as_object().into_iter().flatten() {
        if name != "size" {
            judge.ask(Kind::UnknownSetting, &format!("StorageOpt {name}"));
        }
    }
    only_object(judge, value)
}

fn only_object(judge: &mut Judge, value: &Value) -> Value {
    if !value.is_object() && !value.is_null() {
        judge.ask(Kind::Ambiguous, &format!("{value} where an object belongs"));
    }
    value.clone()
}

fn runtime(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if !["", "runc", "crun", "io.containerd.runc.v2"].contains(&name) {
        judge.ask(Kind::Runtime, name);
    }
    value.clone()
}

fn isolation(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if !["", "default"].contains(&name) {
        judge.ask(Kind::Runtime, &format!("isolation {name}"));
    }
    value.clone()
}

/// Less than 0 has others ended in its place when memory runs out.
fn oom_score(judge: &mut Judge, value: &Value) -> Value {
    if value.as_i64().is_some_and(|score| score < 0) {
        judge.ask(Kind::UnknownSetting, &format!("OomScoreAdj {value}"));
    }
    value.clone()
}

fn log_config(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Type", log_driver), ("Config", log_options)])
}

/// Options of the drivers above. Podman has one that names a file of the machine.
fn log_options(judge: &mut Judge, value: &Value) -> Value {
    const OPTIONS: [&str; 8] =
        ["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"];
    for (name, _) in value.as_object().into_iter().flatten() {
        if !OPTIONS.contains(&name.as_str()) {
            judge.ask(Kind::LogDriver, &format!("option {name}"));
        }
    }
    only_object(judge, value)
}

/// Groups within the container; podman has a word for those of the engine.
fn groups(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, |judge, item| {
        if judge.text(item) == "keep-groups" {
            judge.ask(Kind::UnknownSetting, "GroupAdd keep-groups");
        }
        item.clone()
    })
}

fn log_driver(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if !["", "json-file", "local", "none"].contains(&name) {
        judge.ask(Kind::LogDriver, name);
    }
    value.clone()
}

/// `NAME[:OPTIONS]`.
fn volumes_from(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, |judge, item| {
        let text = judge.text(item);
        let (name, options) = text.split_once(':').map_or((text, ""), |(name, options)| (name, options));
        let name = judge.resolve(Reference::Container(name.to_owned()));
        if options.is_empty() { name.into() } else { format!("{name}:{options}").into() }
    })
}

/// `NAME[:ALIAS]`; the container that is linked to gives its environment away.
fn links(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, |judge, item| {
        let text = judge.text(item);
        let (name, alias) = text.split_once(':').unwrap_or((text, text));
        let name = judge.resolve(Reference::Container(name.to_owned()));
        format!("{name}:{}", alias.trim_start_matches('/')).into()
    })
}
