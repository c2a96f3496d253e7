//! What is missing, said once: the same sentence for `cargo build`, `cargo xtask setup` and the tests.

use std::fmt;

/// The pieces of the toolchain, in the order in which they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A compiler that is new enough, together with the sources of `core`.
    CoreSources,
    /// LLVM's libraries in the major version of the compiler.
    Llvm,
    /// `bpf-linker`.
    Linker,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CoreSources => "a compiler with the sources of core (rust-src)",
            Self::Llvm => "LLVM's libraries",
            Self::Linker => "bpf-linker",
        })
    }
}

/// A piece that is not there. `Display` is one sentence without a newline, as a build script has to print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub piece: Piece,
    /// What was found instead; continues "needs PIECE, but …".
    pub why: String,
    /// The one command that supplies the piece by itself.
    pub command: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the kernel side of runner-agent needs {}, but {}: run `cargo xtask setup`, or `{}`",
            self.piece, self.why, self.command
        )
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_piece_is_one_sentence_with_both_ways_out() {
        let missing = Missing {
            piece: Piece::Linker,
            why: "it is not on PATH".into(),
            command: "cargo install bpf-linker".into(),
        };
        assert_eq!(
            missing.to_string(),
            "the kernel side of runner-agent needs bpf-linker, but it is not on PATH: \
             run `cargo xtask setup`, or `cargo install bpf-linker`"
        );
    }
}
