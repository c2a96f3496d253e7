//! The client: asks, and waits for the answer at most so long.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::Value;

use super::protocol::{Answer, NOT_ARMED, Request};

/// Why what was asked for isn't there.
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
    /// It says no, and why.
    #[error("{message}")]
    Refused {
        /// With which code a client ends.
        code: u8,
        /// Why, and what would be right.
        message: String,
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

impl AskError {
    /// With which code a client ends.
    pub fn code(&self) -> u8 {
        match self {
            Self::Refused { code, .. } => *code,
            _ => NOT_ARMED,
        }
    }
}

/// How long to wait before a question that was not heard is asked again: who is turned away at once each time leaves the processor to others.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks the daemon behind a socket. A question that it didn't hear to its end, of which nothing came, is asked again until the deadline.
pub fn ask(socket: &Path, request: &Request, deadline: Duration) -> Result<Value, AskError> {
    let until = Instant::now() + deadline;
    let strange = |detail: String| AskError::Strange { socket: socket.to_owned(), detail };
    let question = serde_json::to_vec(request).map_err(|error| strange(error.to_string()))?;
    loop {
        let (heard, said) = exchange(socket, &question, until).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                AskError::Late { socket: socket.to_owned(), deadline }
            }
            _ => AskError::Unreachable { socket: socket.to_owned(), source },
        })?;
        match serde_json::from_slice(&said) {
            Ok(Answer::Done(value)) => return Ok(value),
            Ok(Answer::Refused { code, message }) => return Err(AskError::Refused { code, message }),
            Ok(Answer::Again) => {}
            Err(_) if said.is_empty() && !heard => {}
            Err(_) if said.is_empty() => return Err(strange("it closed the connection".to_owned())),
            Err(error) => return Err(strange(error.to_string())),
        }
        std::thread::sleep(PAUSE);
    }
}

/// One connection: whether the question went out whole, and what came back. Where it didn't there may be a reason to read.
fn exchange(socket: &Path, question: &[u8], until: Instant) -> io::Result<(bool, Vec<u8>)> {
    let mut stream = open(socket, until.saturating_duration_since(Instant::now()))?;
    let heard = match stream.write_all(question).and_then(|()| stream.shutdown(Shutdown::Write)) {
        Ok(()) => true,
        Err(error) if is_closed(&error) => false,
        Err(error) => return Err(error),
    };
    let mut said = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok((heard, said)),
            Ok(len) => said.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The kernel says so of an end that was closed before all was read.
            Err(error) if is_closed(&error) => return Ok((false, said)),
            Err(error) => return Err(error),
        }
    }
}

/// Whether an error says that the other end is gone.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
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

    fn asked(deadline: Duration, answer: Option<&'static [u8]>) -> Result<Value, AskError> {
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
        assert!(asked(minute, Some(b"{\"done\":{}}")).is_ok());
        assert!(asked(minute, Some(b"HTTP/1.1 400")).unwrap_err().to_string().contains("no daemon of this version"));
        assert!(asked(minute, Some(b"")).unwrap_err().to_string().contains("it closed the connection"));
        assert!(matches!(asked(Duration::from_millis(50), None), Err(AskError::Late { .. })));
        let refused = asked(minute, Some(br#"{"refused":{"code":2,"message":"no"}}"#)).unwrap_err();
        assert_eq!((refused.code(), refused.to_string()), (2, "no".to_owned()));
        let absent = ask(Path::new("/nonexistent/s"), &Request::Status, minute).unwrap_err();
        assert!(absent.to_string().contains("no daemon answers at /nonexistent/s"), "{absent}");
    }

    #[test]
    fn a_question_that_was_not_heard_to_its_end_is_asked_again_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        // More than a socket takes that nobody reads from, so that the client still writes when the other end closes.
        let large = Request::Stop { job: Some("x".repeat(8 << 20)), only_tell: true };
        let server = std::thread::spawn(move || {
            for answer in [&b""[..], b"\"again\""] {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; 64]).unwrap();
                stream.write_all(answer).unwrap();
            }
            for answer in [&b"\"again\""[..], b"{\"done\":1}", b""] {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
                stream.write_all(answer).unwrap();
            }
        });
        let minute = Duration::from_mins(1);
        assert_eq!(ask(&socket, &large, minute).unwrap(), 1);
        // What was heard may have been done.
        let closed = ask(&socket, &Request::Status, minute).unwrap_err();
        assert!(closed.to_string().contains("it closed the connection"), "{closed}");
        server.join().unwrap();
    }

    #[test]
    fn who_is_never_heard_gives_up_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(b"\"again\"");
            }
        });
        let never = ask(&socket, &Request::Status, Duration::from_millis(200)).unwrap_err();
        assert!(matches!(never, AskError::Late { .. }), "{never}");
    }
}
