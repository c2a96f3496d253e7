//! A network namespace of the demo's own, joined to this machine by one veth pair and to nothing else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, process};

use anyhow::{Context, Result, bail};

use super::Helper;
use super::drop_host::{PORT, Received, SWALLOWED};
use crate::step;

/// Both ends lie in TEST-NET-3 (RFC 5737), which no real host has. Two addresses are all that a /30 holds.
pub const HOST_END: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 65);
/// Where the drop host listens.
pub const DROP_HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);

const PREFIX: &str = "runner-agent-demo-";

/// Goes away with this value, and the veth pair with it.
pub struct Namespace {
    name: String,
    link: String,
}

impl Namespace {
    pub fn create() -> Result<Self> {
        remove_left_behind();
        let pid = process::id();
        // The name of a link holds 15 bytes at most.
        let namespace = Self { name: format!("{PREFIX}{pid}"), link: format!("ra-dm-{pid}") };
        let Self { name, link } = &namespace;
        let inner = "drop";
        let host_end = format!("{HOST_END}/30");
        let drop_host = format!("{DROP_HOST}/30");
        for arguments in [
            ["netns", "add", name].as_slice(),
            &["link", "add", link, "type", "veth", "peer", "name", inner, "netns", name],
            &["addr", "add", &host_end, "dev", link],
            &["link", "set", link, "up"],
            &["-n", name, "addr", "add", &drop_host, "dev", inner],
            &["-n", name, "link", "set", inner, "up"],
        ] {
            step::output(Command::new("ip").args(arguments)).context("making the drop host's namespace")?;
        }
        Ok(namespace)
    }

    /// Starts this program again inside, and waits until it listens.
    pub fn start_drop_host(&self) -> Result<DropHost> {
        let program = env::current_exe().context("where this program lies")?;
        let mut helper = Helper::start(Command::new("ip").args(["netns", "exec", &self.name]).arg(program).args([
            "demo-drop-host",
            "--address",
            &DROP_HOST.to_string(),
        ]))?;
        let output = helper.child.stdout.take().context("the drop host's output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).context("the drop host's first line")?;
        if line.trim() != super::drop_host::READY {
            bail!("the drop host did not start");
        }
        Ok(DropHost { helper, output })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        step::succeeds(Command::new("ip").args(["link", "del", &self.link]));
        step::succeeds(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

/// The listening end, ended with this value.
pub struct DropHost {
    helper: Helper,
    output: BufReader<process::ChildStdout>,
}

/// What the demo itself sends, to show that the drop host listens.
const CONTROL: &[u8] = b"control";

impl DropHost {
    /// Ends it; returns what it received from others than the demo. A listener that hears nothing proves nothing, so the
    /// demo sends something itself before, and that must have been heard.
    pub fn stop(mut self) -> Result<Received> {
        let within = Duration::from_secs(10);
        let control = || {
            let mut stream = TcpStream::connect_timeout(&(DROP_HOST, PORT).into(), within)?;
            stream.set_read_timeout(Some(within))?;
            stream.write_all(CONTROL)?;
            stream.shutdown(Shutdown::Write)?;
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).map(|_| heard)
        };
        let heard = control().context("the drop host can't be reached by the demo itself")?;
        // Closing the life line makes it say what it got, and end.
        drop(self.helper.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).context("the drop host's last line")?;
        let all = Received::parse(&text).with_context(|| format!("the drop host said {text:?}"))?;
        let others = |Received { questions, connections, bytes }| {
            Some(Received {
                questions,
                connections: connections.checked_sub(1)?,
                bytes: bytes.checked_sub(CONTROL.len())?,
            })
        };
        match others(all) {
            Some(received) if heard == SWALLOWED => Ok(received),
            _ => bail!("the drop host did not hear the demo itself, so its silence would prove nothing"),
        }
    }
}

/// Namespaces of demos that were killed before they could clean up.
fn remove_left_behind() {
    let Ok(list) = step::output(Command::new("ip").args(["netns", "list"])) else {
        return;
    };
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let Some(pid) = name.strip_prefix(PREFIX) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            step::succeeds(Command::new("ip").args(["netns", "del", name]));
        }
    }
}
