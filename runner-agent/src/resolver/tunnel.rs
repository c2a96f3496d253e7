//! Measures of what a job writes below a wildcard, and the thresholds between a host name and a payload.
//!
//! Below `*.example.org` the job chooses the labels, and whoever runs `example.org` reads them. Real hosts there are made
//! by machines too, so the thresholds lie just above what providers make and below what carries data with profit:
//!
//! - made by providers: `d1a2b3c4e5f6g7` (14), 32 hex characters, a UUID (36 in pieces of at most 12), a load balancer of
//!   `internal-`, 32 hex characters and 10 digits, a search domain of a name and 26 letters, a bucket of up to 63 words
//!   and hyphens;
//! - made by tunnels: labels of 40 to 63 characters of hex, base32 or base64 without a break, three or four of them.
//!
//! Entropy alone tells nothing: 40 letters of English have as much as 40 hex digits. So the *longest piece without a
//! hyphen* is what counts, and entropy only excuses runs of one letter. A patient tunnel stays below all of this; what it
//! can carry is then bounded by the budget: so many names, so many bytes.

use std::collections::BTreeMap;

/// A piece this long and not monotonous is a payload. The longest that providers make has 32.
const MAX_PIECE: usize = 39;

/// Bits per character below which a long piece is monotonous. Hex has 3.5 or more at this length.
const MIN_ENTROPY_CENTIBITS: u32 = 300;

/// Bytes below the wildcard, dots included. A bucket of 63 below `s3.dualstack.REGION` has 90; tunnels fill 200.
const MAX_BYTES: usize = 96;

/// Labels below the wildcard. Clouds use up to five.
const MAX_LABELS: usize = 6;

/// Bytes in scrambled labels: one full label may be scrambled, two may not.
const MAX_SCRAMBLED: usize = 63;

/// From this length on, a label with letters and digits counts as scrambled if it isn't monotonous.
const SCRAMBLED_FROM: usize = 20;

/// Bytes that the names below one wildcard may have on average, when the budget of names is used up.
const MEAN_BYTES: usize = 40;

/// What was measured of a name below a wildcard, and of all names below it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Labels below the wildcard.
    pub labels: usize,
    /// Bytes below the wildcard, dots included.
    pub bytes: usize,
    /// Longest piece without a hyphen or underscore.
    pub longest_piece: usize,
    /// Shannon entropy of that piece, in hundredths of a bit per character.
    pub entropy_centibits: u32,
    /// Bytes in labels that look scrambled.
    pub scrambled: usize,
    /// Distinct names asked for below this wildcard, before this one.
    pub names: usize,
    /// Bytes in those.
    pub names_bytes: usize,
}

impl Measures {
    /// Measures what stands below the wildcard.
    pub fn of(below: &str) -> Self {
        let is_break = |char: char| matches!(char, '.' | '-' | '_');
        let piece = below.split(is_break).max_by_key(|piece| piece.len()).unwrap_or_default();
        let scrambled = below.split('.').filter(|label| is_scrambled(label)).map(str::len).sum();
        Self {
            labels: below.split('.').count(),
            bytes: below.len(),
            longest_piece: piece.len(),
            entropy_centibits: entropy_centibits(piece),
            scrambled,
            names: 0,
            names_bytes: 0,
        }
    }

    /// Whether a name with these measures is a payload.
    pub fn is_payload(&self) -> bool {
        self.labels > MAX_LABELS
            || self.bytes > MAX_BYTES
            || self.scrambled > MAX_SCRAMBLED
            || (self.longest_piece > MAX_PIECE && self.entropy_centibits >= MIN_ENTROPY_CENTIBITS)
    }
}

/// How many bytes so many names below a wildcard may have together.
pub(super) fn bytes_for(names: u32) -> usize {
    // A budget of a few names must leave room for one long one.
    (names as usize).saturating_mul(MEAN_BYTES).max(2 * MAX_BYTES)
}

fn is_scrambled(label: &str) -> bool {
    label.len() >= SCRAMBLED_FROM
        && label.bytes().any(|byte| byte.is_ascii_digit())
        && label.bytes().any(|byte| byte.is_ascii_alphabetic())
        && entropy_centibits(label) >= MIN_ENTROPY_CENTIBITS
}

/// Shannon entropy of the characters, in hundredths of a bit.
fn entropy_centibits(text: &str) -> u32 {
    let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
    for byte in text.bytes() {
        *counts.entry(byte).or_default() += 1;
    }
    let length = text.len() as f64;
    let bits: f64 = counts.values().map(|&count| f64::from(count) / length).map(|share| -share * share.log2()).sum();
    (bits * 100.0).round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_providers_make_are_no_payload() {
        for below in [
            "d1a2b3c4e5f6g7",
            "0123456789abcdef0123456789abcdef",
            "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            "internal-a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6-1234567890.eu-central-1.elb",
            "search-builds-abcdefghijklmnopqrstuvwxyz.eu-central-1.es",
            "vpce-0123456789abcdef0-abcdefgh-eu-central-1a.execute-api.eu-central-1.vpce",
            "my-company-artifacts-production-eu-central-1-123456789012.s3.dualstack.eu-central-1",
            "deploy-preview-1234--a-site-with-a-rather-long-name-indeed",
            "a.b.c.s3.eu-central-1",
            "xn--bcher-kva",
            "x",
        ] {
            assert!(!Measures::of(below).is_payload(), "{below}: {:?}", Measures::of(below));
        }
    }

    #[test]
    fn names_that_carry_data_are_payload() {
        for below in [
            "6d795f7365637265745f746f6b656e5f69735f68657265",
            "nb2hi4b2f4xxo53xfzsxqylnobwgkltdn5wsa5dfpb2a",
            "b3bllxnlig9yif9zzwnyzxrfzm9yx3lvdv9vbmx5",
            "3f2504e04f8941d39a0c0305e82c3301.9a0c0305e82c33013f2504e04f8941d3",
            "a1.b2.c3.d4.e5.f6.a7",
            &["abcdefghij"; 10].join("-"),
        ] {
            assert!(Measures::of(below).is_payload(), "{below}: {:?}", Measures::of(below));
        }
    }

    #[test]
    fn a_run_of_one_letter_is_long_and_says_nothing() {
        let measures = Measures::of(&"a".repeat(60));
        assert_eq!((measures.longest_piece, measures.entropy_centibits), (60, 0));
        assert!(!measures.is_payload());
    }

    proptest! {
        #[test]
        fn forty_characters_of_base32_or_more_are_payload(label in "[a-z2-7]{40,63}") {
            // Chance can make a monotonous one; that one carries less.
            prop_assume!(entropy_centibits(&label) >= MIN_ENTROPY_CENTIBITS);
            prop_assert!(Measures::of(&label).is_payload());
        }

        #[test]
        fn thirty_two_hex_characters_are_no_payload(label in "[0-9a-f]{1,32}") {
            prop_assert!(!Measures::of(&label).is_payload());
        }

        #[test]
        fn any_text_is_measured(text in "\\PC{0,80}") {
            let _ = Measures::of(&text);
        }
    }
}
