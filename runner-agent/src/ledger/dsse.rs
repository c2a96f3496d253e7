//! Envelopes: DSSE v1, a payload with its type and signatures over both.

use super::{PublicKey, Signature, SigningKey};

/// Type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The bytes that are signed: the pre-authentication encoding of DSSE v1 (protocol.md).
pub fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// A payload and one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Id of the key.
    pub key: String,
    /// Its signature.
    pub signature: Signature,
}

impl Envelope {
    /// Puts a payload into an envelope and signs it.
    pub fn sign(payload_type: &str, payload: Vec<u8>, key: &SigningKey) -> Self {
        let signature = key.sign(&pre_authentication(payload_type, &payload));
        Self { payload_type: payload_type.to_owned(), payload, key: key.public().id(), signature }
    }

    /// Whether that key signed it.
    pub fn is_by(&self, key: PublicKey) -> bool {
        key.verifies(&pre_authentication(&self.payload_type, &self.payload), self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_signed_with_what_they_are_of() {
        // The example of the protocol's description.
        let encoded = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn neither_payload_nor_type_can_change() {
        let key = SigningKey::generate().unwrap();
        let envelope = Envelope::sign(IN_TOTO, b"{}".to_vec(), &key);
        assert!(envelope.is_by(key.public()));
        assert!(!Envelope { payload: b"[]".to_vec(), ..envelope.clone() }.is_by(key.public()));
        assert!(!Envelope { payload_type: "text/plain".into(), ..envelope }.is_by(key.public()));
    }
}
