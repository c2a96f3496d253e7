//! Acts inside a job, one trick a call: `act TRICK ARGUMENTS…`. Ends with 0 when the kernel accepted the trick, with 13
//! when it refused it, with 2 when there is no such trick. What a test must know of it goes to standard output.
//!
//! The tricks need calls that the standard library doesn't have, so this program alone of its package has unsafe code.

mod socket;
mod attack;
#[cfg(target_arch = "x86_64")]
mod compat;
mod crowd;
mod descriptor;
mod device;
mod dns;
mod engine;
mod exec;
mod fault;
mod files;
mod footing;
mod net;
mod obey;
mod pass;
mod programs;
mod raw;
mod resolver;
mod space;
mod tamper;
mod tcp;
mod udp;
mod uring;
mod uring_file;
mod x32;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// A trick: takes its arguments, does it.
type Trick = fn(&[OsString]) -> io::Result<()>;

const TRICKS: &[(&str, &[(&str, Trick)])] = &[
    ("exec", exec::TRICKS),
    ("open", files::TRICKS),
    ("net", net::TRICKS),
    ("uring", uring::TRICKS),
    ("uring-file", uring_file::TRICKS),
    ("descriptor", descriptor::TRICKS),
    #[cfg(target_arch = "x86_64")]
    ("compat", compat::TRICKS),
    ("x32", x32::TRICKS),
    ("space", space::TRICKS),
    ("crowd", crowd::TRICKS),
    ("tcp", tcp::TRICKS),
    ("raw", raw::TRICKS),
    ("device", device::TRICKS),
    ("dns", dns::TRICKS),
    ("pass", pass::TRICKS),
    ("obey", obey::TRICKS),
    ("udp", udp::TRICKS),
    ("resolver", resolver::TRICKS),
    ("programs", programs::TRICKS),
    ("fault", fault::TRICKS),
    ("tamper", tamper::TRICKS),
    ("footing", footing::TRICKS),
    ("attack", attack::TRICKS),
    ("engine", engine::TRICKS),
];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [family, trick, rest @ ..] = arguments.as_slice() else {
        return wrong("act FAMILY TRICK ARGUMENTS… is the form");
    };
    let found = TRICKS
        .iter()
        .find(|(name, _)| family == name)
        .and_then(|(_, tricks)| tricks.iter().find(|(name, _)| trick == name));
    let Some((_, act)) = found else { return wrong("there is no such trick") };
    match act(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => wrong(&error.to_string()),
        Err(error) => {
            let _ = writeln!(io::stderr(), "act: {}: {error}", trick.display());
            ExitCode::from(13)
        }
    }
}

fn wrong(message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "act: {message}");
    ExitCode::from(2)
}

/// Writes a line for the test to read.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The argument at that place, as text.
fn text(arguments: &[OsString], at: usize) -> io::Result<&str> {
    let word = arguments.get(at).and_then(|word| word.to_str());
    word.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("argument {at} is missing, or no text")))
}

/// The argument at that place, as whatever it is.
fn parsed<T: std::str::FromStr>(arguments: &[OsString], at: usize) -> io::Result<T> {
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("argument {at} has a wrong form"));
    text(arguments, at)?.parse().map_err(wrong)
}

/// What a system call returned, as a result.
fn returned(value: i64) -> io::Result<i64> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}
