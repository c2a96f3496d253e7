//! Does what it is told, one command after the other: `act obey commands SOCKET`. A job of many attempts is one process
//! that lives as long as the test wants it to.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use end_to_end::host;

use crate::{Trick, text};

pub const TRICKS: &[(&str, Trick)] = &[("commands", commands)];

/// How long a command may take. A job's environment is its own, so whoever starts this says there how slow the machine is.
const WITHIN: Duration = Duration::from_secs(15);

/// SOCKET: each line that comes over it is a command as a JSON list of words, the first of them the file that takes what
/// it says. Each answer is a line: the exit code, a signal as a negative number, or `late`.
///
/// What commands say goes to a file and not through a pipe: reading a pipe would hand a secret's taint on to this process.
fn commands(arguments: &[OsString]) -> io::Result<()> {
    let mut socket = UnixStream::connect(text(arguments, 0)?)?;
    let lines = BufReader::new(socket.try_clone()?).lines();
    for line in lines {
        let words: Vec<String> = serde_json::from_str(&line?)?;
        let answer = match words.as_slice() {
            [output, program, rest @ ..] => run(Path::new(output), program, rest),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        let answer = answer.unwrap_or_else(|error| format!("not started: {error}"));
        writeln!(socket, "{answer}")?;
    }
    Ok(())
}

fn run(output: &Path, program: &str, words: &[String]) -> io::Result<String> {
    let file = File::create(output)?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn()?;
    let in_time = end_to_end::wait_until(host::patience(WITHIN), || !matches!(child.try_wait(), Ok(None)));
    if !in_time {
        child.kill()?;
    }
    let ended = end_of(child)?;
    Ok(if in_time { ended.to_string() } else { "late".to_owned() })
}

fn end_of(mut child: Child) -> io::Result<i32> {
    let status = child.wait()?;
    let signal = status.signal().map(|signal| -signal);
    status.code().or(signal).ok_or_else(|| io::Error::other("a process ends in one of two ways"))
}
