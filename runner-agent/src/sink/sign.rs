//! Signatures of webhooks: those of Standard Webhooks (specification 1.0.0), by HMAC-SHA256 or ed25519, and the
//! `X-Hub-Signature-256` that older receivers know.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::settings::Secret;

/// Prefix of a shared secret.
const SHARED: &str = "whsec_";
/// Prefix of a private key.
const PRIVATE: &str = "whsk_";
/// Bytes that a shared secret may have.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of an ed25519 seed; a private key may have the public key after it.
const SEED: usize = 32;

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    secret: Secret,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Hmac(hmac::Key),
    Ed25519(Arc<Ed25519KeyPair>),
}

impl SigningKey {
    /// A shared secret as it stands in a file: `whsec_` and base64 of 24 to 64 random bytes.
    pub fn hmac(text: &str) -> Result<Self, String> {
        let form = "is no `whsec_` with base64 of 24 to 64 bytes after it";
        let make = "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)";
        let secret = decoded(text, SHARED).filter(|bytes| SHARED_BYTES.contains(&bytes.len()));
        let secret = secret.ok_or_else(|| format!("{form}; {make}"))?;
        let key = Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &secret));
        Ok(Self { secret: Secret::new(&secret), key })
    }

    /// A private key as it stands in a file: `whsk_` and base64 of an ed25519 seed (32 bytes), or of seed and public key.
    pub fn ed25519(text: &str) -> Result<Self, String> {
        let form = "is no `whsk_` with base64 of an ed25519 key (32 bytes, or 64 with the public key) after it";
        let make = "make one with: echo whsk_$(head -c 32 /dev/urandom | base64)";
        let wrong = || format!("{form}; {make}");
        let secret = decoded(text, PRIVATE).ok_or_else(wrong)?;
        let pair = match secret.len() {
            SEED => Ed25519KeyPair::from_seed_unchecked(&secret),
            64 => Ed25519KeyPair::from_seed_and_public_key(&secret[..SEED], &secret[SEED..]),
            _ => return Err(wrong()),
        };
        let pair = pair.map_err(|_| "has a public key that is not its seed's; write the seed alone".to_owned())?;
        Ok(Self { secret: Secret::new(&secret), key: Key::Ed25519(Arc::new(pair)) })
    }

    /// The signature, with its version in front: one word of the header `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        match &self.key {
            Key::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(head.as_bytes());
                context.update(body);
                format!("v1,{}", STANDARD.encode(context.sign()))
            }
            Key::Ed25519(pair) => {
                let signature = pair.sign(&[head.as_bytes(), body].concat());
                format!("v1a,{}", STANDARD.encode(signature))
            }
        }
    }

    /// The public key, as a receiver is told it; a shared secret has none.
    pub fn public(&self) -> Option<String> {
        match &self.key {
            Key::Hmac(_) => None,
            Key::Ed25519(pair) => Some(format!("whpk_{}", STANDARD.encode(pair.public_key()))),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self.key, Key::Hmac(_)) { "Hmac(***)" } else { "Ed25519(***)" })
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret && self.public() == other.public()
    }
}

impl Eq for SigningKey {}

fn decoded(text: &str, prefix: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim().strip_prefix(prefix)?).ok()
}

/// Value of `X-Hub-Signature-256`: HMAC-SHA256 of the body alone, in hex.
pub fn hub(secret: &Secret, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()), body);
    format!("sha256={}", crate::text::hex(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    /// The specification's own example, as its reference libraries test it.
    #[test]
    fn the_example_of_the_specification_is_signed_as_it_says() {
        let key = SigningKey::hmac("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    /// RFC 8032, 7.1, test 1: seed and public key.
    #[test]
    fn an_ed25519_key_has_the_public_key_of_its_seed_and_signs_id_timestamp_and_body() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap()).collect();
        let key = SigningKey::ed25519(&format!("whsk_{}", STANDARD.encode(&seed))).unwrap();
        let public = key.public().unwrap();
        assert_eq!(public, "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        let raw = STANDARD.decode(&public["whpk_".len()..]).unwrap();
        let signature = key.sign("job-1", 7, b"body");
        let bytes = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
        UnparsedPublicKey::new(&ED25519, &raw).verify(b"job-1.7.body", &bytes).unwrap();
        let both = SigningKey::ed25519(&format!("whsk_{}", STANDARD.encode([seed.as_slice(), &raw].concat()))).unwrap();
        assert_eq!(both.public(), key.public());
        let wrong = SigningKey::ed25519(&format!("whsk_{}", STANDARD.encode([seed.as_slice(), &[0; 32]].concat())));
        assert!(wrong.unwrap_err().contains("not its seed's"));
    }

    /// The example of GitHub's documentation on validating deliveries.
    #[test]
    fn the_hub_signature_is_the_documented_one() {
        let secret = Secret::new(b"It's a Secret to Everybody");
        let wanted = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(hub(&secret, b"Hello, World!"), wanted);
    }

    #[test]
    fn a_key_of_the_wrong_form_is_refused_with_what_would_be_right_and_no_key_is_ever_shown() {
        for text in ["", "secret", "whsec_c2hvcnQ=", "whsec_???", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(SigningKey::hmac(text).unwrap_err().contains("head -c 32"), "{text}");
        }
        assert!(SigningKey::ed25519("whsk_c2hvcnQ=").unwrap_err().contains("whsk_"));
        let key = SigningKey::hmac("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{key:?}"), "Hmac(***)");
    }
}
