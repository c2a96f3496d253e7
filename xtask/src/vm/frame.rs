//! What a guest tells this machine, over one virtio port: frames of a kind, a length and as many bytes.

use std::io::{self, Read, Write};

/// The port's name: what the guest looks for, and what the machine is given.
pub const PORT: &str = "runner-agent";

/// One thing a guest tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The guest is up and starts the first command.
    Up,
    /// Bytes that the running command wrote.
    Output(Vec<u8>),
    /// Lines of the running command's report of tests that could not run.
    Report(String),
    /// The running command ended: its exit code, 128 and the signal's number as a shell has it.
    Ended(i32),
    /// The guest itself failed, in words; nothing follows.
    Failed(String),
    /// All commands have ended; nothing follows.
    Done,
}

/// Output is cut into pieces, so nothing longer is ever sent but a report.
const LONGEST: u32 = 16 << 20;

impl Frame {
    /// Sends it in one piece.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Up => (b'u', &[]),
            Self::Output(bytes) => (b'o', bytes),
            Self::Report(text) => (b'r', text.as_bytes()),
            Self::Ended(code) => (b'e', &code.to_le_bytes()),
            Self::Failed(text) => (b'f', text.as_bytes()),
            Self::Done => (b'd', &[]),
        };
        let mut all = vec![kind];
        all.extend((bytes.len() as u32).to_le_bytes());
        all.extend(bytes);
        to.write_all(&all)
    }

    /// The next one; `None` when the guest is gone.
    pub fn read(mut from: impl Read) -> io::Result<Option<Self>> {
        let mut header = [0; 5];
        match from.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let [kind, length @ ..] = header;
        let length = u32::from_le_bytes(length);
        if length > LONGEST {
            return Err(io::Error::other("the guest sent a frame that is too long"));
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Some(match kind {
            b'u' => Self::Up,
            b'o' => Self::Output(bytes),
            b'r' => Self::Report(text(&bytes)),
            b'e' => {
                let code = bytes.try_into().map_err(|_| io::Error::other("the guest sent no exit code"))?;
                Self::Ended(i32::from_le_bytes(code))
            }
            b'f' => Self::Failed(text(&bytes)),
            b'd' => Self::Done,
            other => return Err(io::Error::other(format!("the guest sent a frame of an unknown kind, {other}"))),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let frames = [
            Frame::Up,
            Frame::Output(vec![0, 1, 255]),
            Frame::Report("could-not-run: x: y\n".into()),
            Frame::Ended(-1),
            Frame::Failed("why".into()),
            Frame::Done,
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }
        let mut from = bytes.as_slice();
        for frame in frames {
            assert_eq!(Frame::read(&mut from).unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut from).unwrap(), None);
    }

    #[test]
    fn a_guest_that_talks_nonsense_is_an_error() {
        assert!(Frame::read(&b"?\0\0\0\0"[..]).is_err());
        assert!(Frame::read(&b"o\xff\xff\xff\xff"[..]).is_err());
        assert!(Frame::read(&b"o\x02\0\0\0x"[..]).is_err());
    }
}
