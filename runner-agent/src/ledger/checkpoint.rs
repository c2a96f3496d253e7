//! Checkpoints: the key's word for how a log stood at a moment.

use super::{PublicKey, Signature, SigningKey};

/// Where in a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The job's id.
    pub job: String,
    /// Lines up to here.
    pub lines: u64,
    /// Hash of the last of them, as in [`super::Chain::head`].
    pub head: String,
    /// When it was signed: RFC 3339.
    pub at: String,
}

impl Position {
    /// The bytes that are signed: one fact a line, in this order, behind a line that says what it is, so that a signature over
    /// anything else is never taken for one over this.
    fn signed(&self) -> String {
        let Self { job, lines, head, at } = self;
        format!("runner-agent checkpoint 1\njob {job}\nlines {lines}\nhead {head}\nat {at}\n")
    }
}

/// A signed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where.
    pub position: Position,
    /// Id of the key.
    pub key: String,
    /// Its signature.
    pub signature: Signature,
}

impl Checkpoint {
    /// Signs a position.
    pub fn sign(position: Position, key: &SigningKey) -> Self {
        let signature = key.sign(position.signed().as_bytes());
        Self { position, key: key.public().id(), signature }
    }

    /// Whether that key signed it.
    pub fn is_by(&self, key: PublicKey) -> bool {
        key.verifies(self.position.signed().as_bytes(), self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_of_a_checkpoint_is_signed() {
        let key = SigningKey::generate().unwrap();
        let position = Position { job: "j".into(), lines: 7, head: "ab".into(), at: "2026-01-01T00:00:00Z".into() };
        let whole = Checkpoint::sign(position, &key);
        assert!(whole.is_by(key.public()));
        let changes: [fn(&mut Position); 4] = [
            |position| position.job.push('x'),
            |position| position.lines += 1,
            |position| position.head.push('0'),
            |position| position.at.push('Z'),
        ];
        for change in changes {
            let mut forged = whole.clone();
            change(&mut forged.position);
            assert!(!forged.is_by(key.public()), "{:?}", forged.position);
        }
    }
}
