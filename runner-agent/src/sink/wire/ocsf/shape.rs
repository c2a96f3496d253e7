//! The schema's objects, as far as they are used. Fields have its names; what is unknown is left out.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::unmapped::Unmapped;
use crate::text::base_name;

#[derive(Serialize, Default)]
pub(super) struct Ocsf<'a> {
    pub(super) activity_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) activity_name: Option<&'static str>,
    pub(super) category_uid: u32,
    pub(super) class_uid: u32,
    pub(super) type_uid: u32,
    pub(super) severity_id: u32,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    pub(super) message: String,
    pub(super) metadata: Metadata<'a>,
    pub(super) device: Device<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<Actor<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<ProcessShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) launch_type_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<FileShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<KernelShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) src_endpoint: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dst_endpoint: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connection_info: Option<ConnectionInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<Query<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) answers: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rcode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rcode_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finding_info: Option<FindingInfo<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) evidences: Vec<Evidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remediation: Option<Remediation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<App<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_alert: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disposition_id: Option<u32>,
    pub(super) policy: PolicyShape<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) firewall_rule: Option<RuleShape<'a>>,
    pub(super) unmapped: Option<Unmapped<'a>>,
}

#[derive(Serialize, Default)]
pub(super) struct Metadata<'a> {
    pub(super) version: &'static str,
    pub(super) product: Product,
    pub(super) uid: String,
    pub(super) correlation_uid: &'a str,
    pub(super) event_code: &'static str,
    pub(super) sequence: u64,
    pub(super) log_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_truncated: Option<bool>,
    pub(super) profiles: &'static [&'static str],
}

#[derive(Serialize, Default)]
pub(super) struct Product {
    pub(super) name: &'static str,
    pub(super) vendor_name: &'static str,
    pub(super) version: &'static str,
}

#[derive(Serialize, Default)]
pub(super) struct Device<'a> {
    pub(super) hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) type_id: u32,
}

/// The schema wants one of several attributes: where nobody is known, that is said.
#[derive(Serialize)]
pub(super) struct Actor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoked_by: Option<&'static str>,
}

impl<'a> Actor<'a> {
    pub(super) fn of(process: Option<ProcessShape<'a>>) -> Self {
        let invoked_by = process.is_none().then_some("unknown");
        Self { process, invoked_by }
    }
}

#[derive(Serialize)]
pub(super) struct ProcessShape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    pub(super) uid: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty", serialize_with = "as_command")]
    pub(super) cmd_line: &'a [String],
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<FileShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<User>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) working_directory: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_process: Option<Parent>,
}

impl Default for ProcessShape<'_> {
    /// A process of which nothing is known.
    fn default() -> Self {
        Self {
            pid: None,
            uid: "unknown".into(),
            name: None,
            cmd_line: &[],
            created_time: None,
            file: None,
            user: None,
            working_directory: "",
            parent_process: None,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Parent {
    pub(super) pid: u32,
    pub(super) uid: String,
}

#[derive(Serialize)]
pub(super) struct User {
    #[serde(serialize_with = "as_text")]
    pub(super) uid: u32,
}

#[derive(Serialize)]
pub(super) struct FileShape<'a> {
    pub(super) name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
    pub(super) type_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confidentiality_id: Option<u32>,
}

impl<'a> FileShape<'a> {
    /// A file of unknown type.
    pub(super) fn of(path: &'a str) -> Self {
        Self { name: base_name(path).into(), path: Some(path), type_id: 0, confidentiality_id: None }
    }
}

#[derive(Serialize)]
pub(super) struct KernelShape<'a> {
    pub(super) name: &'static str,
    pub(super) type_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
}

#[derive(Serialize, Default)]
pub(super) struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<&'a str>,
}

#[derive(Serialize, Default)]
pub(super) struct ConnectionInfo {
    pub(super) direction_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol_num: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol_ver_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boundary_id: Option<u32>,
}

#[derive(Serialize)]
pub(super) struct Query<'a> {
    pub(super) hostname: &'a str,
    #[serde(rename = "type")]
    pub(super) record_type: &'a str,
}

#[derive(Serialize)]
pub(super) struct Answer {
    pub(super) rdata: IpAddr,
    #[serde(rename = "type")]
    pub(super) record_type: &'static str,
}

#[derive(Serialize)]
pub(super) struct FindingInfo<'a> {
    pub(super) uid: String,
    pub(super) title: &'a str,
    pub(super) types: [&'static str; 1],
    pub(super) analytic: Analytic,
    /// Milliseconds since 1970.
    pub(super) created_time: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) related_events: Vec<Related>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<Tag>,
}

#[derive(Serialize)]
pub(super) struct Analytic {
    pub(super) name: &'static str,
    pub(super) uid: &'static str,
    pub(super) type_id: u32,
}

#[derive(Serialize)]
pub(super) struct Related {
    pub(super) uid: String,
}

#[derive(Serialize)]
pub(super) struct Tag {
    pub(super) name: &'static str,
    pub(super) values: &'static [&'static str],
}

#[derive(Serialize)]
pub(super) struct Evidence<'a> {
    pub(super) process: Option<ProcessShape<'a>>,
}

#[derive(Serialize)]
pub(super) struct Remediation<'a> {
    pub(super) desc: &'a str,
}

#[derive(Serialize)]
pub(super) struct App<'a> {
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
}

#[derive(Serialize, Default)]
pub(super) struct PolicyShape<'a> {
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

#[derive(Serialize)]
pub(super) struct RuleShape<'a> {
    pub(super) uid: &'a str,
}

/// The schema has one string for a command: arguments that a shell would take apart stand in quotes.
fn as_command<S: Serializer>(argv: &&[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Command(argv))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn as_text<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Arguments as they would be typed.
struct Command<'a>(&'a [String]);

impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte) || byte >= 0x80;
        for (index, argument) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            if !argument.is_empty() && argument.bytes().all(is_plain) {
                f.write_str(argument)?;
            } else {
                write!(f, "'{}'", argument.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_taken_apart_again_by_a_shell() {
        let argv = ["sh", "-c", "echo 'a b'", ""].map(String::from);
        assert_eq!(Command(&argv).to_string(), r"sh -c 'echo '\''a b'\''' ''");
    }
}
