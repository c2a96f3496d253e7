//! Keys: ed25519 (RFC 8032), made by an agent when it starts and kept in its memory alone. A key that lay in a file could be
//! taken by a job that becomes root, and would sign another past.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use crate::text::hex;

/// What stands before the 32 bytes of an ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system has no random numbers.
    #[error("the system gave no random numbers for a key")]
    NoRandom,
    /// What was given is no key.
    #[error("{0}; a key is the 32 bytes of an ed25519 public key in base64, or a PEM block `PUBLIC KEY`")]
    NoKey(&'static str),
}

/// The half that signs. It is in no file, and leaves the process for the one alone that goes on with its logs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    /// The pair as PKCS #8 has it.
    document: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::NoRandom)?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|_| KeyError::NoRandom)?;
        Ok(Self { pair, document: document.as_ref().to_vec() })
    }

    /// For a process that goes on with the logs: PKCS #8 in base64.
    pub fn hand_on(&self) -> String {
        STANDARD.encode(&self.document)
    }

    /// What [`Self::hand_on`] gave.
    pub fn handed_on(text: &str) -> Result<Self, KeyError> {
        const NO_KEY: KeyError = KeyError::NoKey("what was handed on holds no pair of keys");
        let document = STANDARD.decode(text).map_err(|_| NO_KEY)?;
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| NO_KEY)?;
        Ok(Self { pair, document })
    }

    /// The half that verifies.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(bytes).as_ref());
        Signature(signature)
    }
}

/// A signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

/// Base64 with padding (RFC 4648, section 4).
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl Signature {
    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(STANDARD.decode(text).ok()?.try_into().ok()?))
    }
}

/// The half that verifies.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Base64 of the 32 bytes.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl PublicKey {
    /// Reads a key: base64 of its 32 bytes, or a PEM block with its SubjectPublicKeyInfo.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let is_pem = text.trim_start().starts_with("-----BEGIN");
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let bytes = STANDARD.decode(body).map_err(|_| KeyError::NoKey("it is no base64"))?;
        let key = match bytes.strip_prefix(&SPKI) {
            Some(key) if is_pem => key,
            None if is_pem => return Err(KeyError::NoKey("the PEM block holds no ed25519 public key")),
            _ => &bytes,
        };
        key.try_into().map(Self).map_err(|_| KeyError::NoKey("it has not 32 bytes"))
    }

    /// What tells it from others: the first 16 hex digits of the SHA-256 of its bytes.
    pub fn id(self) -> String {
        hex(&Sha256::digest(self.0)[..8])
    }

    /// Whether the other half made this signature over these bytes.
    pub fn verifies(self, bytes: &[u8], signature: Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, &signature.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_verifies_what_it_signed_and_nothing_else() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let signature = key.sign(b"text");
        assert!(key.public().verifies(b"text", signature));
        assert!(!key.public().verifies(b"Text", signature));
        assert!(!other.public().verifies(b"text", signature));
        assert_ne!(key.public().id(), other.public().id());
    }

    #[test]
    fn a_known_signature_is_verified() {
        // RFC 8032, section 7.1, test 2.
        let key = PublicKey::parse("PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=").unwrap();
        let bytes = [
            0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f, 0x64, 0x25, 0x40, 0xa2, 0xb2,
            0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda, 0x08, 0x5a, 0xc1, 0xe4,
            0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c, 0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30,
            0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00,
        ];
        assert!(key.verifies(&[0x72], Signature(bytes)));
        assert!(!key.verifies(&[0x73], Signature(bytes)));
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = SigningKey::generate().unwrap().public();
        assert_eq!(PublicKey::parse(&key.to_string()), Ok(key));
        let body = STANDARD.encode([&SPKI[..], &key.0].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        assert_eq!(PublicKey::parse(&pem), Ok(key));
        let signature = SigningKey::generate().unwrap().sign(b"");
        assert_eq!(Signature::parse(&signature.to_string()), Some(signature));
    }

    #[test]
    fn what_is_no_key_is_told_what_one_is() {
        for (text, part) in [
            ("not base64!", "no base64"),
            ("AAAA", "not 32 bytes"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no ed25519"),
        ] {
            let told = PublicKey::parse(text).unwrap_err().to_string();
            assert!(told.contains(part) && told.contains("PEM block `PUBLIC KEY`"), "{told}");
        }
    }
}
