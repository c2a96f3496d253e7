//! Asks a container engine, or what stands before it.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::{Trick, say, text};

pub const TRICKS: &[(&str, Trick)] = &[("stream", stream)];

/// SOCKET TARGET WORDS: makes a stream of a request, says the words over it, ends its side, and tells what came back.
fn stream(arguments: &[OsString]) -> io::Result<()> {
    let mut socket = UnixStream::connect(text(arguments, 0)?)?;
    let target = text(arguments, 1)?;
    write!(socket, "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.extend(byte);
    }
    say(String::from_utf8_lossy(&head).lines().next().unwrap_or_default())?;
    socket.write_all(text(arguments, 2)?.as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    say(&answer)
}
