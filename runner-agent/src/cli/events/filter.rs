//! Which lines are wanted.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::str::FromStr;

use clap::ValueEnum;
use ipnet::IpNet;

use crate::policy::Severity;
use crate::sink::wire::read::Entry;
use crate::text::base_name;

/// The kinds of lines, by their names in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Agent,
    Job,
    Exec,
    Exit,
    File,
    Connect,
    Socket,
    Device,
    IoUring,
    Attempt,
    Cgroup,
    Dns,
    Finding,
    Loss,
    Checkpoint,
}

/// A destination as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct To {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Net(IpNet),
    Name(String),
    /// Every name below this one, with its leading dot.
    Below(String),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no destination; a name, `*.name`, an address or a network is, with `:PORT` behind it if \
                 wanted (IPv6 then in brackets)"
            )
        };
        let port = |port: &str| port.parse().map_err(|_| wrong());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            match rest.strip_prefix(':') {
                Some(rest) => (host, Some(port(rest)?)),
                None if rest.is_empty() => (host, None),
                None => return Err(wrong()),
            }
        } else if text.matches(':').count() == 1 {
            let (host, rest) = text.split_once(':').ok_or_else(wrong)?;
            (host, Some(port(rest)?))
        } else {
            // More than one colon is an IPv6 address without a port.
            (text, None)
        };
        let host = if let Ok(net) = host.parse::<IpNet>() {
            Host::Net(net)
        } else if let Ok(address) = host.parse::<IpAddr>() {
            Host::Net(address.into())
        } else {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            let (is_below, labels) = match name.strip_prefix("*.") {
                Some(labels) => (true, labels),
                None => (false, name.as_str()),
            };
            let is_label = |label: &str| {
                !label.is_empty() && label.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))
            };
            if !labels.split('.').all(is_label) {
                return Err(wrong());
            }
            if is_below { Host::Below(format!(".{labels}")) } else { Host::Name(labels.to_owned()) }
        };
        Ok(Self { host, port })
    }
}

impl To {
    fn is_host<'a>(&self, address: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
        match &self.host {
            Host::Net(net) => address.parse::<IpAddr>().is_ok_and(|address| net.contains(&address)),
            Host::Name(name) => names.any(|known| known == name),
            Host::Below(suffix) => names.any(|known| known.ends_with(suffix.as_str())),
        }
    }

    /// Connects to it; with no port also DNS messages about it.
    fn is_of(&self, entry: &Entry) -> bool {
        match entry.kind() {
            "connect" => {
                let names = entry.texts("destination.names").chain(entry.texts("destination.claimed_names"));
                let port = entry.number("destination.port");
                self.port.is_none_or(|wanted| port == Some(wanted.into()))
                    && self.is_host(entry.text("destination.ip"), names)
            }
            "dns" if self.port.is_none() => {
                let name = || std::iter::once(entry.text("name"));
                self.is_host("", name()) || entry.texts("addresses").any(|address| self.is_host(address, name()))
            }
            _ => false,
        }
    }
}

/// Connects to a wanted destination that are remembered, for the findings that stand on them.
const MAX_REMEMBERED: usize = 100_000;

/// All conditions at once; a line must meet each.
#[derive(Debug)]
pub(super) struct Filter {
    kinds: Vec<String>,
    process: Option<String>,
    to: Option<To>,
    severity: Option<Severity>,
    /// Lines about the wanted destination: a finding that stands on one is about it too.
    about: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Filter {
    pub(super) fn new(kinds: &[Kind], process: Option<String>, to: Option<To>, severity: Option<Severity>) -> Self {
        let kinds = kinds.iter().filter_map(|kind| Some(kind.to_possible_value()?.get_name().to_owned())).collect();
        Self { kinds, process, to, severity, about: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether a line is wanted. Each line must be asked for once, in order.
    pub(super) fn wants(&mut self, entry: &Entry) -> bool {
        let is_about = self.is_about(entry);
        is_about
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == entry.kind()))
            && self.process.as_deref().is_none_or(|wanted| is_process(entry, wanted))
            && self.severity.is_none_or(|least| {
                entry.kind() == "finding"
                    && entry.text("severity").parse::<Severity>().is_ok_and(|found| found >= least)
            })
    }

    fn is_about(&mut self, entry: &Entry) -> bool {
        let Some(to) = &self.to else { return true };
        if entry.kind() == "finding" {
            return entry.numbers("evidence").any(|seq| self.about.contains(&seq));
        }
        let is_about = to.is_of(entry);
        if is_about && self.about.insert(entry.seq()) {
            self.order.push_back(entry.seq());
            if self.order.len() > MAX_REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.about.remove(&oldest);
            }
        }
        is_about
    }
}

/// By pid, by key, by the executable's name, or by the name it was called.
fn is_process(entry: &Entry, wanted: &str) -> bool {
    let argv0 = entry.texts("process.argv").next().unwrap_or_default();
    match entry.number("process.pid") {
        None => false,
        Some(pid) => {
            wanted == entry.text("process.key")
                || wanted.parse() == Ok(pid)
                || [entry.text("process.exe"), argv0].iter().any(|path| base_name(path) == wanted || *path == wanted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::wire::read::LogReader;

    fn entry(line: &str) -> Entry {
        LogReader::default().take(line.as_bytes()).entry.unwrap()
    }

    fn connect(seq: u64, ip: &str, port: u16, name: &str) -> Entry {
        entry(&format!(
            r#"{{"kind":"connect","seq":{seq},"process":{{"pid":7,"key":"7-1","exe":"/usr/bin/curl","argv":["fetch"]}},
                "destination":{{"ip":"{ip}","port":{port},"names":["{name}"]}}}}"#
        ))
    }

    fn to(text: &str) -> Filter {
        Filter::new(&[], None, Some(text.parse().unwrap()), None)
    }

    #[test]
    fn a_destination_is_a_name_a_suffix_an_address_or_a_network_with_or_without_a_port() {
        let line = connect(1, "192.0.2.7", 443, "www.drop.example");
        for text in
            ["www.drop.example", "*.drop.example", "192.0.2.7", "192.0.2.0/24", "192.0.2.7:443", "*.example:443"]
        {
            assert!(to(text).wants(&line), "{text}");
        }
        for text in ["drop.example", "192.0.2.8", "198.51.100.0/24", "192.0.2.7:80", "www.drop.example:22"] {
            assert!(!to(text).wants(&line), "{text}");
        }
        assert!(to("[2001:db8::1]:443").wants(&connect(2, "2001:db8::1", 443, "")));
        assert!(to("2001:db8::/32").wants(&connect(3, "2001:db8::1", 443, "")));
    }

    #[test]
    fn what_is_no_destination_is_refused_with_what_would_be_right() {
        for text in ["", "a b", "host:port", "[::1", "[::1]x", "*.", "192.0.2.7:70000", "a..b"] {
            assert!(text.parse::<To>().unwrap_err().contains("is no destination"), "{text}");
        }
    }

    #[test]
    fn a_finding_is_about_a_destination_when_its_evidence_is() {
        let mut filter = to("drop.example");
        assert!(filter.wants(&connect(4, "192.0.2.7", 443, "drop.example")));
        assert!(filter.wants(&entry(r#"{"kind":"finding","seq":5,"evidence":[2,4],"severity":"high"}"#)));
        assert!(!filter.wants(&entry(r#"{"kind":"finding","seq":6,"evidence":[2],"severity":"high"}"#)));
    }

    #[test]
    fn a_process_is_found_by_pid_key_name_and_by_what_it_was_called() {
        let line = connect(1, "192.0.2.7", 443, "");
        for wanted in ["7", "7-1", "curl", "/usr/bin/curl", "fetch"] {
            assert!(Filter::new(&[], Some(wanted.into()), None, None).wants(&line), "{wanted}");
        }
        assert!(!Filter::new(&[], Some("cur".into()), None, None).wants(&line));
        assert!(!Filter::new(&[], Some("7".into()), None, None).wants(&entry(r#"{"kind":"job"}"#)));
    }

    #[test]
    fn a_severity_leaves_findings_only() {
        let mut filter = Filter::new(&[], None, None, Some(Severity::High));
        assert!(filter.wants(&entry(r#"{"kind":"finding","severity":"critical"}"#)));
        assert!(!filter.wants(&entry(r#"{"kind":"finding","severity":"medium"}"#)));
        assert!(!filter.wants(&entry(r#"{"kind":"exec"}"#)));
    }
}
