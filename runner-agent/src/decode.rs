//! From the bytes of a ring to a record. Total: any bytes give a record or an error, never a panic.

use runner_agent_common::record::{
    CgroupMove, Connect, Device, Dns, Exec, ExecArgs, Exit, File, Fork, Guard, Header, IoUring, Socket, kind,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A record with its strings, borrowed from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A process came to be, or was taken into a job.
    Fork(Fork),
    /// A process replaced its program.
    Exec {
        /// Fixed part.
        fixed: Exec,
        /// Path of the executable.
        exe: &'a [u8],
        /// Working directory.
        cwd: &'a [u8],
        /// The argument vector's first bytes, NUL after each argument.
        argv: &'a [u8],
    },
    /// More of an argument vector.
    ExecArgs {
        /// Fixed part.
        fixed: ExecArgs,
        /// The bytes.
        argv: &'a [u8],
    },
    /// A process ended.
    Exit(Exit),
    /// A watched file was opened.
    File {
        /// Fixed part.
        fixed: File,
        /// The path as the kernel resolved it.
        path: &'a [u8],
    },
    /// A connect or an addressed send.
    Connect(Connect),
    /// A socket that no address hook judges.
    Socket(Socket),
    /// io_uring was set up.
    IoUring(IoUring),
    /// A process changed cgroup.
    CgroupMove(CgroupMove),
    /// A device was opened that no blocked job may have.
    Device(Device),
    /// A job reached for the agent, the runner or the kernel.
    Guard {
        /// Fixed part.
        fixed: Guard,
        /// The file that was meant; empty when it wasn't about one.
        path: &'a [u8],
    },
    /// A DNS message passed.
    Dns {
        /// Fixed part.
        fixed: Dns,
        /// The message, whole unless `fixed.len < fixed.wire_len`.
        message: &'a [u8],
    },
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fixed part of the kind has.
    #[error("{got} bytes are too few for a record of kind {kind}, whose fixed part has {need}")]
    TooShort {
        /// Kind, 0 when not even the header is whole.
        kind: u16,
        /// Length of the fixed part.
        need: usize,
        /// Length found.
        got: usize,
    },
    /// The lengths that a record announces are not the lengths it has.
    #[error("a record of kind {kind} announces {announced} bytes and has {got}")]
    LengthMismatch {
        /// Kind.
        kind: u16,
        /// Announced length.
        announced: usize,
        /// Length found.
        got: usize,
    },
    /// A kind that this version doesn't know.
    #[error("kind {0} is unknown to this version; kernel side and user side must come from one build")]
    UnknownKind(u16),
}

impl Record<'_> {
    /// The front that all kinds share.
    pub fn header(&self) -> &Header {
        match self {
            Self::Fork(record) => &record.header,
            Self::Exec { fixed, .. } => &fixed.header,
            Self::ExecArgs { fixed, .. } => &fixed.header,
            Self::Exit(record) => &record.header,
            Self::File { fixed, .. } => &fixed.header,
            Self::Connect(record) => &record.header,
            Self::Socket(record) => &record.header,
            Self::IoUring(record) => &record.header,
            Self::CgroupMove(record) => &record.header,
            Self::Device(record) => &record.header,
            Self::Guard { fixed, .. } => &fixed.header,
            Self::Dns { fixed, .. } => &fixed.header,
        }
    }
}

/// When the record that these bytes hold happened, nanoseconds since boot; 0 when they are too few to tell.
pub fn peek_at_ns(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first))
}

/// Decodes one record.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let (header, _) = fixed::<Header>(bytes, 0)?;
    let kind = header.kind;
    if header.len as usize != bytes.len() {
        return Err(DecodeError::LengthMismatch { kind, announced: header.len as usize, got: bytes.len() });
    }
    match kind {
        kind::FORK => whole(bytes, kind).map(Record::Fork),
        kind::EXEC => {
            let (fixed, rest) = fixed::<Exec>(bytes, kind)?;
            let [exe, cwd, argv] = strings(kind, bytes, rest, [fixed.exe_len, fixed.cwd_len, fixed.argv_len])?;
            Ok(Record::Exec { fixed, exe, cwd, argv })
        }
        kind::EXEC_ARGS => {
            let (fixed, rest) = fixed::<ExecArgs>(bytes, kind)?;
            let [argv] = strings(kind, bytes, rest, [fixed.len])?;
            Ok(Record::ExecArgs { fixed, argv })
        }
        kind::EXIT => whole(bytes, kind).map(Record::Exit),
        kind::FILE => {
            let (fixed, rest) = fixed::<File>(bytes, kind)?;
            let [path] = strings(kind, bytes, rest, [fixed.path_len])?;
            Ok(Record::File { fixed, path })
        }
        kind::CONNECT => whole(bytes, kind).map(Record::Connect),
        kind::SOCKET => whole(bytes, kind).map(Record::Socket),
        kind::IO_URING => whole(bytes, kind).map(Record::IoUring),
        kind::CGROUP_MOVE => whole(bytes, kind).map(Record::CgroupMove),
        kind::DEVICE => whole(bytes, kind).map(Record::Device),
        kind::GUARD => {
            let (fixed, rest) = fixed::<Guard>(bytes, kind)?;
            let [path] = strings(kind, bytes, rest, [fixed.path_len])?;
            Ok(Record::Guard { fixed, path })
        }
        kind::DNS => {
            let (fixed, rest) = fixed::<Dns>(bytes, kind)?;
            let [message] = strings(kind, bytes, rest, [fixed.len])?;
            Ok(Record::Dns { fixed, message })
        }
        other => Err(DecodeError::UnknownKind(other)),
    }
}

/// The fixed part, and what follows it.
fn fixed<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8], kind: u16) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::TooShort { kind, need: size_of::<T>(), got: bytes.len() })
}

/// A record that has nothing but its fixed part.
fn whole<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8], kind: u16) -> Result<T, DecodeError> {
    let (record, rest) = fixed(bytes, kind)?;
    if rest.is_empty() {
        Ok(record)
    } else {
        Err(DecodeError::LengthMismatch { kind, announced: size_of::<T>(), got: bytes.len() })
    }
}

/// Cuts what follows the fixed part into strings of the announced lengths, which must use it up.
fn strings<'a, const N: usize>(
    kind: u16,
    bytes: &[u8],
    rest: &'a [u8],
    lengths: [u32; N],
) -> Result<[&'a [u8]; N], DecodeError> {
    let sum: usize = lengths.iter().map(|&len| len as usize).sum();
    if sum != rest.len() {
        let announced = bytes.len() - rest.len() + sum;
        return Err(DecodeError::LengthMismatch { kind, announced, got: bytes.len() });
    }
    let mut at = 0;
    Ok(lengths.map(|len| {
        let string = &rest[at..at + len as usize];
        at += len as usize;
        string
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use runner_agent_common::record::ProcessKey;
    use zerocopy::IntoBytes as _;

    use super::*;

    fn header(kind: u16, len: usize) -> Header {
        let process = ProcessKey { start_ns: 5, tgid: 7, reserved: 0 };
        Header { at_ns: 9, process, len: len as u32, kind, ..Header::default() }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_bytes_behind_a_true_header_decode_or_are_refused(
            kind in 0_u16..14,
            tail in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let mut bytes = header(kind, size_of::<Header>() + tail.len()).as_bytes().to_vec();
            bytes.extend(tail);
            let _ = decode(&bytes);
        }

        #[test]
        fn an_exec_gives_back_the_strings_it_was_made_of(
            exe in proptest::collection::vec(any::<u8>(), 0..100),
            cwd in proptest::collection::vec(any::<u8>(), 0..100),
            argv in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let len = size_of::<Exec>() + exe.len() + cwd.len() + argv.len();
            let fixed = Exec {
                header: header(kind::EXEC, len),
                exe_len: exe.len() as u32,
                cwd_len: cwd.len() as u32,
                argv_len: argv.len() as u32,
                ..Exec::default()
            };
            let bytes = [fixed.as_bytes(), &exe, &cwd, &argv].concat();
            prop_assert_eq!(decode(&bytes), Ok(Record::Exec { fixed, exe: &exe, cwd: &cwd, argv: &argv }));
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn lengths_that_overflow_when_added_are_refused() {
        let fixed = Exec {
            header: header(kind::EXEC, size_of::<Exec>()),
            exe_len: u32::MAX,
            cwd_len: u32::MAX,
            argv_len: 2,
            ..Exec::default()
        };
        assert!(matches!(decode(fixed.as_bytes()), Err(DecodeError::LengthMismatch { .. })));
    }

    #[test]
    fn an_unknown_kind_is_an_ordinary_error() {
        let header = header(999, size_of::<Header>());
        assert_eq!(decode(header.as_bytes()), Err(DecodeError::UnknownKind(999)));
    }
}
