//! NATS servers of a test: on the loopback, with a folder of their own, gone with their handles.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::helper::wait_until;
use crate::host;

/// Names the server's program. `cargo xtask test` sets it to the one that `cargo xtask setup --sinks` unpacked.
const PROGRAM: &str = "RUNNER_AGENT_NATS_SERVER";

/// How long a server may take to listen.
const SOON: Duration = Duration::from_secs(20);

/// Name of what servers of a test are together.
const CLUSTER: &str = "tests";

/// The server's program, or why there is none.
pub fn program() -> Result<PathBuf, String> {
    std::env::var_os(PROGRAM)
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .ok_or_else(|| format!("{PROGRAM} names no nats-server; `cargo xtask test sinks` has one and sets it"))
}

/// One server.
pub struct NatsServer {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl NatsServer {
    /// A server with JetStream and these lines of configuration besides.
    pub fn start(more: &str) -> Self {
        Self::configured(free_port(), "one", more)
    }

    /// Servers that keep streams together.
    pub fn cluster(count: usize) -> Vec<Self> {
        // All at once, or a port would be given out twice.
        let ports = free_ports(2 * count);
        let (clients, routes) = ports.split_at(count);
        let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let node = |number: usize| {
            let more = format!(
                "cluster {{ name: {CLUSTER}, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
                routes[number],
                all.join(", ")
            );
            Self::configured(clients[number], &format!("node-{number}"), &more)
        };
        (0..count).map(node).collect()
    }

    fn configured(port: u16, name: &str, more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("runner-agent-nats-").tempdir().expect("a folder for a server");
        let text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n{more}",
            folder.path().join("store").display()
        );
        std::fs::write(folder.path().join("server.conf"), text).expect("the folder is ours");
        let mut server = Self { folder, port, child: None };
        server.start_again();
        server
    }

    /// Starts it once more on what it had stored.
    pub fn start_again(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("the folder is ours");
        let child = Command::new(program().expect("looked for before"))
            .arg("-c")
            .arg(self.folder.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server can be started");
        self.child = Some(child);
        // It greets whoever connects.
        let greets = || {
            let mut word = [0; 5];
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
                .and_then(|mut stream| stream.read_exact(&mut word))
                .is_ok_and(|()| &word == b"INFO ")
        };
        assert!(wait_until(host::patience(SOON), greets), "{}", self.said());
    }

    /// SIGKILL, and what it leaves.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It is ours by its handle; that it is gone already is no failure.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port of it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        Path::new(self.folder.path()).join("log")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of the loopback that nobody listened on a moment ago.
fn free_port() -> u16 {
    free_ports(1)[0]
}

fn free_ports(count: usize) -> Vec<u16> {
    let open = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback");
    let listeners: Vec<TcpListener> = (0..count).map(open).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("it is bound").port()).collect()
}
