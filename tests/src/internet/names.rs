//! Names of a test's internet: a zone as text, and answers from it (RFC 1035).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Port of DNS.
pub const PORT: u16 = 53;

/// How far aliases are followed.
const MAX_CHAIN: usize = 8;

/// A record's value.
#[derive(Clone, Debug)]
enum Value {
    Address(IpAddr),
    /// `CNAME` or `PTR`, by type number.
    Name(u16, String),
    Text(String),
    /// Another name's address, which comes along unasked.
    Beside(String, IpAddr),
}

/// What a resolver knows.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    /// Name, seconds to live, value. A name that begins with `*.` stands for all below it.
    records: Vec<(String, u32, Value)>,
}

/// A question, and where it ends in the message.
pub struct Question {
    /// In lower case, without the last dot.
    pub name: String,
    /// Type number.
    pub kind: u16,
    end: usize,
}

impl Zone {
    /// Adds a record: `NAME TTL A|AAAA|CNAME|PTR|TXT VALUE`, or `NAME TTL BESIDE OTHER=ADDRESS` for one that comes along.
    pub fn add(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, seconds, kind, value] = words[..] else { panic!("NAME TTL TYPE VALUE is the form: {line}") };
        let value = match kind {
            "A" | "AAAA" => Value::Address(value.parse().expect("an address")),
            "CNAME" => Value::Name(5, value.to_owned()),
            "PTR" => Value::Name(12, value.to_owned()),
            "TXT" => Value::Text(value.to_owned()),
            "BESIDE" => {
                let (other, address) = value.split_once('=').expect("OTHER=ADDRESS is the form");
                Value::Beside(other.to_owned(), address.parse().expect("an address"))
            }
            _ => panic!("a type that this zone doesn't know: {line}"),
        };
        self.records.push((name.to_ascii_lowercase(), seconds.parse().expect("a number of seconds"), value));
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a (String, u32, Value)> {
        self.records.iter().filter(move |(known, ..)| match known.strip_prefix('*') {
            Some(suffix) => name.strip_suffix(suffix).is_some_and(|front| !front.is_empty()),
            None => known == name,
        })
    }

    /// The answer to a message; `None` for what is no question.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let asked = question(message)?;
        let mut records = Vec::new();
        let mut count = 0_u8;
        let mut name = asked.name.clone();
        let known = self.of(&name).next().is_some();
        for _ in 0..MAX_CHAIN {
            for (_, seconds, value) in self.of(&name).filter(|(_, _, value)| value.kind() == asked.kind) {
                write_record(&mut records, &name, *seconds, value);
                count += 1;
            }
            let alias = self.of(&name).find(|(_, _, value)| value.kind() == 5).cloned();
            let Some((_, seconds, alias @ Value::Name(..))) = &alias else { break };
            write_record(&mut records, &name, *seconds, alias);
            count += 1;
            if let Value::Name(_, target) = alias {
                name.clone_from(target);
            }
        }
        for (_, seconds, value) in self.of(&asked.name) {
            if let Value::Beside(other, address) = value {
                write_record(&mut records, other, *seconds, &Value::Address(*address));
                count += 1;
            }
        }
        let code = if known { 0 } else { 3 };
        let mut answer = message[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(message.get(12..asked.end)?);
        answer.extend(records);
        Some(answer)
    }
}

impl Value {
    fn kind(&self) -> u16 {
        match self {
            Self::Address(IpAddr::V4(_)) => 1,
            Self::Address(IpAddr::V6(_)) => 28,
            Self::Name(kind, _) => *kind,
            Self::Text(_) => 16,
            // No question asks for it.
            Self::Beside(..) => 0,
        }
    }
}

/// The first question of a message.
pub fn question(message: &[u8]) -> Option<Question> {
    // One question at least, and no answer.
    if message.get(2)? & 0x80 != 0 || message.get(4..6)? == [0, 0] {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + len)?).to_ascii_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    Some(Question { name: labels.join("."), kind, end: at + 4 })
}

fn write_name(to: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        to.push(label.len() as u8);
        to.extend(label.bytes());
    }
    to.push(0);
}

fn write_record(to: &mut Vec<u8>, name: &str, seconds: u32, value: &Value) {
    let mut data = Vec::new();
    match value {
        Value::Address(IpAddr::V4(address)) => data.extend(Ipv4Addr::octets(address)),
        Value::Address(IpAddr::V6(address)) => data.extend(Ipv6Addr::octets(address)),
        Value::Name(_, name) | Value::Beside(name, _) => write_name(&mut data, name),
        Value::Text(text) => {
            data.push(text.len() as u8);
            data.extend(text.bytes());
        }
    }
    write_name(to, name);
    to.extend(value.kind().to_be_bytes());
    to.extend([0, 1]);
    to.extend(seconds.to_be_bytes());
    to.extend((data.len() as u16).to_be_bytes());
    to.extend(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(zone: &Zone, name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        write_name(&mut message, name);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        zone.answer(&message).expect("an answer")
    }

    #[test]
    fn an_alias_is_followed_and_told() {
        let mut zone = Zone::default();
        zone.add("a.test 60 CNAME b.test");
        zone.add("b.test 60 A 203.0.113.7");
        let answer = ask(&zone, "A.test", 1);
        assert_eq!((answer[3] & 0xf, answer[7]), (0, 2));
        assert!(answer.ends_with(&[203, 0, 113, 7]));
    }

    #[test]
    fn a_name_that_is_not_there_is_told_from_one_without_such_a_record() {
        let mut zone = Zone::default();
        zone.add("*.a.test 60 A 203.0.113.7");
        assert_eq!(ask(&zone, "b.test", 1)[3] & 0xf, 3);
        assert_eq!(ask(&zone, "a.test", 1)[3] & 0xf, 3);
        assert_eq!((ask(&zone, "x.a.test", 28)[3] & 0xf, ask(&zone, "x.y.a.test", 1)[7]), (0, 1));
    }
}
