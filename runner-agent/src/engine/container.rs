//! Bodies of requests about containers and about processes in them.

use serde_json::Value;

use super::ask::Kind;
use super::judge::{Check, Judge, any};
use super::{host, network, resources};

/// `Config`: what a container is by itself. Older engines read fields of `HostConfig` here too; they may not be set.
const CONFIG: &[(&str, Check)] = &[
    ("Hostname", any),
    ("Domainname", any),
    ("User", any),
    ("AttachStdin", any),
    ("AttachStdout", any),
    ("AttachStderr", any),
    ("ExposedPorts", any),
    ("Tty", any),
    ("OpenStdin", any),
    ("StdinOnce", any),
    ("Env", any),
    ("Cmd", any),
    ("Healthcheck", any),
    ("ArgsEscaped", any),
    ("Image", image),
    ("Volumes", volumes),
    ("WorkingDir", any),
    ("Entrypoint", any),
    ("NetworkDisabled", any),
    ("MacAddress", any),
    ("OnBuild", any),
    ("Labels", any),
    ("StopSignal", any),
    ("StopTimeout", any),
    ("Shell", any),
];

/// `Config` alone, as a commit has it.
pub fn config(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, CONFIG)
}

/// A container to be made.
pub fn create(judge: &mut Judge, value: &Value) -> Value {
    let more: [(&str, Check); 2] = [("HostConfig", host::config), ("NetworkingConfig", network::config)];
    judge.fields(value, &[CONFIG, &more].concat())
}

/// New limits for a container.
pub fn update(judge: &mut Judge, value: &Value) -> Value {
    let more: [(&str, Check); 1] = [("RestartPolicy", any)];
    judge.fields(value, &[resources::FIELDS, &more].concat())
}

/// A process to be started in a container.
pub fn exec(judge: &mut Judge, value: &Value) -> Value {
    let fields: [(&str, Check); 11] = [
        ("User", any),
        ("Privileged", host::privileged),
        ("Tty", any),
        ("ConsoleSize", any),
        ("AttachStdin", any),
        ("AttachStderr", any),
        ("AttachStdout", any),
        ("DetachKeys", any),
        ("Env", any),
        ("WorkingDir", any),
        ("Cmd", any),
    ];
    let detach: [(&str, Check); 1] = [("Detach", any)];
    judge.fields(value, &[&fields[..], &detach].concat())
}

/// A process that starts now.
pub fn exec_start(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Detach", any), ("Tty", any), ("ConsoleSize", any)])
}

/// An image by name. Podman takes paths of the machine too, behind the name of a transport.
fn image(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if is_elsewhere(name) {
        judge.ask(Kind::Fetch, name);
    }
    value.clone()
}

/// Whether an image's name leads past the registries.
pub fn is_elsewhere(name: &str) -> bool {
    name.contains(":/") || name.starts_with(['/', '.'])
}

/// Places of volumes within the container. Podman takes `SOURCE:TARGET` here too.
fn volumes(judge: &mut Judge, value: &Value) -> Value {
    for (place, _) in value.as_object().into_iter().flatten() {
        if !place.starts_with('/') || place.contains(':') {
            judge.ask(Kind::HostMount, place);
        }
    }
    value.clone()
}
