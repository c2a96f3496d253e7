//! Reading what a job asks: one message in, one question or the reason why there is none.
//!
//! This reads by hand and not with hickory because it is the one place that a job feeds at will: nothing is followed
//! (a question has no use for compression), nothing is allocated for a message that is refused.

use std::fmt::Write as _;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

/// Bytes of a header (RFC 1035, 4.1.1).
pub(super) const HEADER: usize = 12;

/// Longest name on the wire, the last zero included (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;

/// Records behind the question that are looked at: an OPT, and room for what else a client may add.
const MAX_ADDITIONAL: u16 = 4;

const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;

/// One question, and what the answer needs of the message around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The client's id.
    pub id: u16,
    /// The client's RD and CD bits, which an answer repeats (RFC 1035, 4.1.1; RFC 4035, 3.2.2).
    pub repeated: Repeated,
    /// Name, type and class as they came, in the client's own spelling.
    pub section: Vec<u8>,
    /// The name in lower case, without the last dot; `.` for the root. Bytes that no host name has are `\xNN`.
    pub name: Arc<str>,
    /// Whether the name has only letters, digits, hyphens and underscores. No rule can mean another one.
    pub is_host_name: bool,
    /// What is asked of it.
    pub query_type: RecordType,
    /// The size of datagram that the client takes, if it speaks EDNS.
    pub edns: Option<u16>,
}

/// Header bits that go from a question into its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeated {
    /// Recursion desired.
    pub recursion_desired: bool,
    /// Checking disabled.
    pub checking_disabled: bool,
}

/// Why a message has no question that can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It gets no answer: too short to have an id, or an answer itself. Two servers that answer answers never stop.
    Silent,
    /// It is answered with a code alone.
    Bare(u16, Repeated, ResponseCode),
    /// Its question can be repeated in the answer.
    Rejected(Box<Question>, ResponseCode),
}

impl Question {
    /// The name as hickory has it, in lower case.
    pub fn hickory_name(&self) -> Option<Name> {
        let wire = self.section.get(..self.section.len().checked_sub(4)?)?;
        let mut labels: Vec<Vec<u8>> = Vec::new();
        let mut rest = wire;
        while let Some((&length, after)) = rest.split_first() {
            if length == 0 {
                break;
            }
            let label = after.get(..usize::from(length))?;
            labels.push(label.to_ascii_lowercase());
            rest = after.get(usize::from(length)..)?;
        }
        let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).ok()?;
        name.set_fqdn(true);
        Some(name)
    }
}

/// Reads a client's message.
pub fn read(bytes: &[u8]) -> Result<Question, Unreadable> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Err(Unreadable::Silent);
    };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if header[2] & 0x80 != 0 {
        return Err(Unreadable::Silent);
    }
    let id = word(0);
    let repeated = Repeated { recursion_desired: header[2] & 1 != 0, checking_disabled: header[3] & 0x10 != 0 };
    let bare = |code| Err(Unreadable::Bare(id, repeated, code));
    if header[2] & 0x78 != 0 {
        return bare(ResponseCode::NotImp);
    }
    let (questions, answers, authorities, additional) = (word(4), word(6), word(8), word(10));
    if questions != 1 || answers != 0 || authorities != 0 || additional > MAX_ADDITIONAL {
        return bare(ResponseCode::FormErr);
    }
    let Some((name, is_host_name, end)) = read_name(bytes) else {
        return bare(ResponseCode::FormErr);
    };
    let Some(&[type_high, type_low, class_high, class_low]) = bytes.get(end..end + 4) else {
        return bare(ResponseCode::FormErr);
    };
    let mut question = Question {
        id,
        repeated,
        section: bytes[HEADER..end + 4].to_vec(),
        name,
        is_host_name,
        query_type: RecordType::from(u16::from_be_bytes([type_high, type_low])),
        edns: None,
    };
    let Some((edns, version)) = read_additional(bytes, end + 4, additional) else {
        return bare(ResponseCode::FormErr);
    };
    question.edns = edns;
    if version != 0 {
        return Err(Unreadable::Rejected(Box::new(question), ResponseCode::BADVERS));
    }
    if u16::from_be_bytes([class_high, class_low]) != CLASS_IN {
        return Err(Unreadable::Rejected(Box::new(question), ResponseCode::Refused));
    }
    Ok(question)
}

/// The name of the first question as text, whether it is a host name, and where it ends.
fn read_name(bytes: &[u8]) -> Option<(Arc<str>, bool, usize)> {
    let mut text = String::with_capacity(64);
    let mut is_host_name = true;
    let mut at = HEADER;
    loop {
        let length = *bytes.get(at)?;
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in bytes.get(at..at + usize::from(length))? {
            if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
                text.push(char::from(byte.to_ascii_lowercase()));
            } else {
                // A dot inside a label would read as two labels, and match a rule that it does not belong to.
                is_host_name = false;
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        at += usize::from(length);
        if at - HEADER >= MAX_NAME {
            return None;
        }
    }
    if text.is_empty() {
        text.push('.');
        is_host_name = false;
    }
    Some((text.into(), is_host_name, at))
}

/// What the OPT record says, if there is one: datagram size, and version (0 without an OPT).
fn read_additional(bytes: &[u8], mut at: usize, count: u16) -> Option<(Option<u16>, u8)> {
    let mut found = (None, 0);
    for _ in 0..count {
        let record = skip_record(bytes, at)?;
        if record.record_type == TYPE_OPT {
            let is_second = found.0.is_some();
            if is_second || bytes.get(at) != Some(&0) {
                return None;
            }
            let class = bytes.get(record.ttl_at - 2..record.ttl_at)?;
            found = (Some(u16::from_be_bytes([class[0], class[1]])), *bytes.get(record.ttl_at + 1)?);
        }
        at = record.end;
    }
    Some(found)
}

/// Where the parts of a record lie.
pub(super) struct Place {
    /// Its type.
    pub record_type: u16,
    /// Offset of its TTL.
    pub ttl_at: usize,
    /// Offset of what follows it.
    pub end: usize,
}

/// Finds the parts of the record that begins at `at`; names are passed over, never followed.
pub(super) fn skip_record(bytes: &[u8], mut at: usize) -> Option<Place> {
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => {
                at += 1;
                break;
            }
            1..=63 => at += 1 + usize::from(length),
            0xc0..=0xff => {
                at += 2;
                break;
            }
            _ => return None,
        }
    }
    let fixed = bytes.get(at..at + 10)?;
    let end = at + 10 + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    if end > bytes.len() {
        return None;
    }
    Some(Place { record_type: u16::from_be_bytes([fixed[0], fixed[1]]), ttl_at: at + 4, end })
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
    use hickory_proto::rr::DNSClass;
    use proptest::prelude::*;

    use super::*;

    fn message(name: &str) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::AAAA));
        message
    }

    fn bare_code(bytes: &[u8]) -> ResponseCode {
        match read(bytes) {
            Err(Unreadable::Bare(7, _, code) | Unreadable::Rejected(_, code)) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_is_read_in_lower_case_and_kept_as_it_was_spelt() {
        let mut asked = message("Mirror.EXAMPLE.org.");
        asked.set_edns(Edns::new());
        let question = read(&asked.to_vec().unwrap()).unwrap();
        assert_eq!((question.id, &*question.name), (7, "mirror.example.org"));
        assert_eq!(question.query_type, RecordType::AAAA);
        assert!(question.is_host_name && question.repeated.recursion_desired);
        assert!(question.section.windows(7).any(|part| part == b"EXAMPLE"));
        assert_eq!(question.hickory_name().unwrap().to_ascii(), "mirror.example.org.");
        assert!(question.edns.is_some());
    }

    #[test]
    fn a_message_with_two_questions_or_with_records_is_no_question() {
        let mut two = message("a.example.");
        two.add_query(Query::query(Name::from_ascii("b.example.").unwrap(), RecordType::A));
        assert_eq!(bare_code(&two.to_vec().unwrap()), ResponseCode::FormErr);
        let mut none = message("a.example.");
        none.queries.clear();
        assert_eq!(bare_code(&none.to_vec().unwrap()), ResponseCode::FormErr);
        let mut counted = message("a.example.").to_vec().unwrap();
        counted[7] = 1;
        assert_eq!(bare_code(&counted), ResponseCode::FormErr);
    }

    #[test]
    fn an_answer_is_never_answered_and_another_operation_is_not_implemented() {
        let mut answer = message("a.example.");
        answer.metadata.message_type = MessageType::Response;
        assert_eq!(read(&answer.to_vec().unwrap()), Err(Unreadable::Silent));
        assert_eq!(read(&[0; 11]), Err(Unreadable::Silent));
        let mut update = message("a.example.");
        update.metadata.op_code = OpCode::Update;
        assert_eq!(bare_code(&update.to_vec().unwrap()), ResponseCode::NotImp);
    }

    #[test]
    fn another_class_and_another_edns_version_are_rejected() {
        let mut chaos = message("version.bind.");
        chaos.queries[0].query_class = DNSClass::CH;
        assert_eq!(bare_code(&chaos.to_vec().unwrap()), ResponseCode::Refused);
        let mut edns = Edns::new();
        edns.set_version(1);
        let mut newer = message("a.example.");
        newer.set_edns(edns);
        assert_eq!(bare_code(&newer.to_vec().unwrap()), ResponseCode::BADVERS);
    }

    #[test]
    fn a_dot_inside_a_label_is_no_dot_between_labels() {
        let mut bytes = message("aXexample.org.").to_vec().unwrap();
        bytes[HEADER + 2] = b'.';
        let question = read(&bytes).unwrap();
        assert_eq!(&*question.name, "a\\x2eexample.org");
        assert!(!question.is_host_name);
    }

    #[test]
    fn a_pointer_in_a_question_is_malformed() {
        let mut bytes = message("a.example.").to_vec().unwrap();
        bytes[HEADER] = 0xc0;
        assert_eq!(bare_code(&bytes), ResponseCode::FormErr);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_change_of_a_question_is_read_or_refused(at in 0_usize..40, byte: u8, cut in 0_usize..60) {
            let mut bytes = message("mirror.example.org.").to_vec().unwrap();
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            bytes.truncate(cut);
            let _ = read(&bytes);
        }
    }
}
