//! Bodies of requests about networks and volumes.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::ask::Kind;
use super::host::network_name;
use super::json::says_nothing;
use super::judge::{Check, Judge, Reference, any};
use super::mounts::{volume_driver, volume_driver_options};

/// `NetworkingConfig` of a container that is made.
pub fn config(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("EndpointsConfig", endpoints)])
}

fn endpoints(judge: &mut Judge, value: &Value) -> Value {
    let mut passed = Map::new();
    for (name, settings) in value.as_object().into_iter().flatten() {
        let name = network_name(judge, name);
        let settings = endpoint(judge, settings);
        passed.insert(name, settings);
    }
    Value::Object(passed)
}

/// A container's place in a network. What the engine fills in itself comes back from some clients.
fn endpoint(judge: &mut Judge, value: &Value) -> Value {
    let fields: [(&str, Check); 16] = [
        ("IPAMConfig", any),
        ("Links", links),
        ("Aliases", any),
        ("MacAddress", any),
        ("GwPriority", any),
        ("DNSNames", any),
        ("NetworkID", joined_network),
        ("EndpointID", any),
        ("Gateway", any),
        ("IPAddress", any),
        ("IPPrefixLen", any),
        ("IPv6Gateway", any),
        ("GlobalIPv6Address", any),
        ("GlobalIPv6PrefixLen", any),
        ("DriverOpts", driver_options),
        ("EnableIPv6", any),
    ];
    judge.fields(value, &fields)
}

fn links(judge: &mut Judge, value: &Value) -> Value {
    judge.each(value, |judge, item| {
        let text = judge.text(item);
        let (name, alias) = text.split_once(':').unwrap_or((text, text));
        format!("{}:{alias}", judge.resolve(Reference::Container(name.to_owned()))).into()
    })
}

fn joined_network(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value).to_owned();
    if name.is_empty() { value.clone() } else { network_name(judge, &name).into() }
}

fn driver_options(judge: &mut Judge, value: &Value) -> Value {
    if !says_nothing(value) {
        judge.ask(Kind::Network, &value.to_string());
    }
    value.clone()
}

/// A container that joins a network.
pub fn connect(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Container", container), ("EndpointConfig", endpoint)])
}

/// A container that leaves one.
pub fn disconnect(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Container", container), ("Force", any)])
}

fn container(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value).to_owned();
    judge.resolve(Reference::Container(name)).into()
}

/// A network to be made: a bridge of private addresses.
pub fn create(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(
        value,
        &[
            ("Name", any),
            ("CheckDuplicate", any),
            ("Driver", network_driver),
            ("Scope", scope),
            ("EnableIPv4", any),
            ("EnableIPv6", any),
            ("IPAM", ipam),
            ("Internal", any),
            ("Options", network_options),
            ("Labels", any),
        ],
    )
}

fn network_driver(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if !["", "bridge"].contains(&name) {
        judge.ask(Kind::Network, &format!("driver {name}"));
    }
    value.clone()
}

fn scope(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if !["", "local"].contains(&name) {
        judge.ask(Kind::Network, &format!("scope {name}"));
    }
    value.clone()
}

/// Options that concern the bridge alone. Others name interfaces and addresses of the machine.
fn network_options(judge: &mut Judge, value: &Value) -> Value {
    const HARMLESS: [&str; 3] = [
        "com.docker.network.bridge.enable_icc",
        "com.docker.network.bridge.enable_ip_masquerade",
        "com.docker.network.driver.mtu",
    ];
    for (name, _) in value.as_object().into_iter().flatten() {
        if !HARMLESS.contains(&name.as_str()) {
            judge.ask(Kind::Network, name);
        }
    }
    value.clone()
}

fn ipam(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Driver", ipam_driver), ("Config", |judge, value| judge.each(value, pool))])
}

fn ipam_driver(judge: &mut Judge, value: &Value) -> Value {
    let name = judge.text(value);
    if !["", "default"].contains(&name) {
        judge.ask(Kind::Network, &format!("IPAM driver {name}"));
    }
    value.clone()
}

fn pool(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(value, &[("Subnet", subnet), ("IPRange", subnet), ("Gateway", subnet)])
}

/// Addresses that a bridge has are routed to it: it may have private ones alone.
fn subnet(judge: &mut Judge, value: &Value) -> Value {
    let text = judge.text(value);
    let (address, length) = text.split_once('/').unwrap_or((text, "128"));
    let length = length.parse::<u8>().unwrap_or_default();
    let shortest = match address.parse() {
        Ok(IpAddr::V4(address)) if address.is_private() => match address.octets()[0] {
            10 => 8,
            172 => 12,
            _ => 16,
        },
        Ok(IpAddr::V6(address)) if address.is_unique_local() => 8,
        _ => u8::MAX,
    };
    if !text.is_empty() && length < shortest {
        judge.ask(Kind::Network, text);
    }
    value.clone()
}

/// A volume to be made: a folder of the engine's.
pub fn volume(judge: &mut Judge, value: &Value) -> Value {
    judge.fields(
        value,
        &[("Name", any), ("Driver", volume_driver), ("DriverOpts", volume_driver_options), ("Labels", any)],
    )
}
