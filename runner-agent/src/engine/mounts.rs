//! What a container sees of the machine's files: binds, mounts and volumes.

use serde_json::Value;

use super::ask::Kind;
use super::json::{fold, says_nothing};
use super::judge::{Check, Judge, Reference, any};

/// Options of a bind that change nothing about what is mounted.
const BIND_OPTIONS: [&str; 8] = ["rw", "ro", "z", "Z", "nocopy", "cached", "delegated", "consistent"];

/// `SOURCE:TARGET[:OPTIONS]`, where the source is a path of the machine or a volume, or `TARGET` alone.
pub fn binds(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, |judge, item| {
        let text = judge.text(item);
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => return target_alone(judge, target),
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => {
                judge.ask(Kind::Ambiguous, text);
                return item.clone();
            }
        };
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            read_only |= option == "ro";
            if !BIND_OPTIONS.contains(&option) {
                judge.ask(Kind::HostMount, &format!("{source} with {option}"));
            }
        }
        let source = this_source(judge, source, !read_only);
        let passed = [source.as_str(), target, options].join(":");
        passed.trim_end_matches(':').into()
    })
}

fn target_alone(judge: &mut Judge, target: &str) -> Value {
    if !target.starts_with('/') {
        judge.ask(Kind::Ambiguous, target);
    }
    target.into()
}

/// A path of the machine, or the name of a volume.
fn this_source(judge: &mut Judge, source: &str, writable: bool) -> String {
    if source.starts_with('/') {
        judge.resolve(Reference::Path(source.to_owned(), writable))
    } else {
        volume_name(judge, source)
    }
}

fn volume_name(judge: &mut Judge, name: &str) -> String {
    // Podman takes more than a name: relative paths, and options in front.
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.starts_with('.') || !name.bytes().all(is_usual) {
        judge.ask(Kind::HostMount, name);
        return name.to_owned();
    }
    if name.is_empty() { String::new() } else { judge.resolve(Reference::Volume(name.to_owned())) }
}

pub fn mounts(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, mount)
}

fn mount(judge: &mut Judge, value: &Value) -> Value {
    const COMMON: [(&str, Check); 4] = [("Type", any), ("Target", any), ("ReadOnly", any), ("Consistency", any)];
    // The type decides what the other fields mean, so it is looked for first, under its folded name like all others.
    let field = |name: &str| {
        value.as_object().and_then(|object| object.iter().find(|(key, _)| fold(key) == name).map(|(_, value)| value))
    };
    let kind = field("type").and_then(Value::as_str).unwrap_or_default();
    let read_only = field("readonly").is_some_and(|value| *value == Value::Bool(true));
    let fields: &[(&str, Check)] = match (kind, read_only) {
        ("bind", true) => {
            &[("Source", |judge, value| source_of_bind(judge, value, false)), ("BindOptions", bind_options)]
        }
        ("bind", false) => {
            &[("Source", |judge, value| source_of_bind(judge, value, true)), ("BindOptions", bind_options)]
        }
        ("volume", _) => &[("Source", source_of_volume), ("VolumeOptions", volume_options)],
        ("tmpfs", _) => &[("TmpfsOptions", tmpfs_options)],
        ("image", _) => &[("Source", any), ("ImageOptions", any)],
        (other, _) => {
            judge.ask(Kind::HostMount, &format!("of type {other}"));
            return Value::Null;
        }
    };
    judge.fields(value, &[&COMMON, fields].concat())
}

fn source_of_bind(judge: &mut Judge, value: &Value, writable: bool) -> Value {
    let source = judge.text(value);
    if source.starts_with('/') {
        return judge.resolve(Reference::Path(source.to_owned(), writable)).into();
    }
    judge.ask(Kind::HostMount, source);
    value.clone()
}

fn source_of_volume(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value).to_owned();
    volume_name(judge, &name).into()
}

fn bind_options(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Propagation", propagation), ("NonRecursive", any), ("CreateMountpoint", any)])
}

fn propagation(judge: &mut Judge, value: &Value) -> Value {
    let word = judge.text(value);
    if !["", "rprivate", "private"].contains(&word) {
        judge.ask(Kind::HostMount, &format!("with {word} propagation"));
    }
    value.clone()
}

fn volume_options(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("NoCopy", any), ("Labels", any), ("Subpath", any), ("DriverConfig", driver_config)])
}

fn driver_config(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Name", volume_driver), ("Options", volume_driver_options)])
}

/// Options of a driver: with `local` they are mount(8)'s.
pub fn volume_driver_options(judge: &mut Judge, value: &Value) -> Value {
    if !says_nothing(value) {
        judge.ask(Kind::Volume, &value.to_string());
    }
    value.clone()
}

fn tmpfs_options(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("SizeBytes", any), ("Mode", any)])
}

/// A driver of volumes: the engine's own alone.
pub fn volume_driver(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if !["", "local"].contains(&name) {
        judge.ask(Kind::Volume, &format!("driver {name}"));
    }
    value.clone()
}
