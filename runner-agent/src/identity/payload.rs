//! What the provider says of the event that started a job: single fields of a JSON object.

use serde_json::Value;

use super::IdentityError;
use super::environment::bounded;
use crate::json;

/// Most bytes that are read. GitHub sends no payload of more than 25 MB.
pub const MOST_BYTES: usize = 32 << 20;

/// A payload, read once.
#[derive(Clone, Debug)]
pub struct Payload(Value);

impl Payload {
    /// Reads a payload. A key that stands twice in one object is an error: readers differ in which of the two they take.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        if bytes.len() > MOST_BYTES {
            return Err(IdentityError::PayloadTooLarge(bytes.len()));
        }
        match json::parse(bytes) {
            Ok(value @ Value::Object(_)) => Ok(Self(value)),
            Ok(_) => Err(IdentityError::Payload("it is another value".to_owned())),
            Err(error) => Err(IdentityError::Payload(error.to_string())),
        }
    }

    /// A text or number by its JSON pointer; `None` where it is missing, empty, or something else.
    pub fn text(&self, pointer: &str) -> Result<Option<String>, IdentityError> {
        match self.0.pointer(pointer) {
            Some(Value::String(text)) => bounded(pointer, text.as_bytes()),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            _ => Ok(None),
        }
    }

    /// Whether there is an object at a JSON pointer; `null` is none.
    pub fn is_object(&self, pointer: &str) -> bool {
        self.0.pointer(pointer).is_some_and(Value::is_object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_texts_and_numbers_alone() {
        let payload = Payload::parse(br#"{"a":{"b":"x\n","id":7,"c":null,"d":[1]}}"#).unwrap();
        assert_eq!(payload.text("/a/b").unwrap().as_deref(), Some("x\\n"));
        assert_eq!(payload.text("/a/id").unwrap().as_deref(), Some("7"));
        assert_eq!(payload.text("/a/c"), Ok(None));
        assert_eq!(payload.text("/a/d"), Ok(None));
        assert!(payload.is_object("/a") && !payload.is_object("/a/c") && !payload.is_object("/z"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_or_is_no_object_is_refused() {
        for bytes in [&b"{\"a\":1,\"a\":2}"[..], b"[]", b"null", b"", b"{", b"\xff\xfe", b"{} {}"] {
            let error = Payload::parse(bytes).unwrap_err().to_string();
            assert!(error.starts_with("the event's payload is no JSON object: "), "{error}");
        }
        assert!(Payload::parse("{\"a\":".repeat(100_000).as_bytes()).is_err(), "nesting ends before the stack does");
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
        assert!(
            Payload::parse(long.as_bytes()).unwrap().text("/a").unwrap_err().to_string().starts_with("/a has 2000")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_payload_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Payload::parse(&bytes);
        }
    }
}
