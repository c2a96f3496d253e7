//! The client: asks, and waits for the answer at most so long.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::protocol::{Answer, Request};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no daemon answers at {}: {source}; start one with `runner-agent daemon`, or name its socket with --socket", socket.display()
    )]
    Unreachable {
        /// Where it was asked.
        socket: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It took too long.
    #[error(
        "the daemon at {} didn't answer within {} s; see what it says (journalctl -u runner-agent), or allow more with --deadline",
        socket.display(), deadline.as_secs_f32()
    )]
    Late {
        /// Where it was asked.
        socket: PathBuf,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// It is something else.
    #[error("what listens at {} is no daemon of this version: {detail}", socket.display())]
    Strange {
        /// Where it was asked.
        socket: PathBuf,
        /// What came back.
        detail: String,
    },
}

/// Asks the daemon behind a socket.
pub fn ask(socket: &Path, request: &Request, deadline: Duration) -> Result<Answer, AskError> {
    let until = Instant::now() + deadline;
    let unreachable = |source: io::Error| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Late { socket: socket.to_owned(), deadline },
        _ => AskError::Unreachable { socket: socket.to_owned(), source },
    };
    let strange = |detail: String| AskError::Strange { socket: socket.to_owned(), detail };
    let mut stream = open(socket, deadline).map_err(unreachable)?;
    let question = serde_json::to_vec(request).map_err(|error| strange(error.to_string()))?;
    stream.write_all(&question).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(unreachable)?;
    let mut bytes = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(AskError::Late { socket: socket.to_owned(), deadline });
        }
        stream.set_read_timeout(Some(left)).map_err(unreachable)?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(len) => bytes.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreachable(error)),
        }
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        strange(if bytes.is_empty() { "it closed the connection".to_owned() } else { error.to_string() })
    })
}

/// A connection that waits for a queue that is full no longer than for anything else.
fn open(path: &Path, deadline: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let stream = UnixStream::from(socket);
    stream.set_write_timeout(Some(deadline.max(Duration::from_millis(1))))?;
    connect(&stream, &SocketAddrUnix::new(path)?)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn asked(deadline: Duration, answer: Option<&'static [u8]>) -> Result<Answer, AskError> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            stream.read_to_end(&mut question).unwrap();
            match answer {
                Some(answer) => stream.write_all(answer).unwrap(),
                // Held until the client has given up: its end closes, and so does this.
                None => while rustix::net::send(&stream, b" ", rustix::net::SendFlags::NOSIGNAL).is_ok() {},
            }
        });
        let answer = ask(&socket, &Request::Status, deadline);
        server.join().unwrap();
        answer
    }

    #[test]
    fn an_answer_is_read_and_everything_else_says_what_it_was() {
        let minute = Duration::from_mins(1);
        assert!(matches!(asked(minute, Some(b"{\"done\":{}}")), Ok(Answer::Done(_))));
        assert!(asked(minute, Some(b"HTTP/1.1 400")).unwrap_err().to_string().contains("no daemon of this version"));
        assert!(asked(minute, Some(b"")).unwrap_err().to_string().contains("it closed the connection"));
        assert!(matches!(asked(Duration::from_millis(50), None), Err(AskError::Late { .. })));
        let absent = ask(Path::new("/nonexistent/s"), &Request::Status, minute).unwrap_err();
        assert!(absent.to_string().contains("no daemon answers at /nonexistent/s"), "{absent}");
    }
}
