//! A webhook's receiver that does what it is told: answers, or hangs, resets, lies about lengths, dies and comes back.
//!
//! Written on plain sockets, because no server does most of this. With `RUNNER_AGENT_SINKS_RECORD` naming a folder, each
//! request that was read whole is also written there, for verifiers that are not ours: `NAME.headers` has a line
//! `name: value` for each header, names in lower case, and `NAME.body` the body as it came.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rustix::net::sockopt::set_socket_linger;

/// Names the folder that requests are written to.
pub const RECORD: &str = "RUNNER_AGENT_SINKS_RECORD";

/// A request that was read whole.
#[derive(Clone, Debug)]
pub struct Received {
    /// When.
    pub at: SystemTime,
    /// Method and path.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

impl Received {
    /// A header; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, more headers, and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The same after a while.
    Slow(Duration, u16),
    /// The connection is reset.
    Reset,
    /// Nothing is ever answered.
    Hang,
    /// 200, and a body that is shorter than it says.
    TooShort,
    /// 500, and a body that is longer than it says.
    TooLong,
}

impl Reply {
    /// A status alone.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }
}

type Handler = dyn Fn(u64, &Received) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    count: AtomicU64,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    record: Option<PathBuf>,
}

/// A receiver on a loopback port of its own. It ends with the value.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one that asks what to do with each request, which are numbered from 0.
    pub fn start(handler: impl Fn(u64, &Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(0, handler)
    }

    /// The same on this port.
    pub fn at(port: u16, handler: impl Fn(u64, &Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let record = std::env::var_os(RECORD).map(PathBuf::from);
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            count: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            open: Mutex::default(),
            record,
        });
        let mut receiver = Self { address, shared, thread: None };
        receiver.listen(listener);
        receiver
    }

    /// One that takes everything, and keeps it in a list.
    pub fn keeping() -> (Self, Arc<Mutex<Vec<Received>>>) {
        Self::keeping_at(0)
    }

    /// The same on this port.
    pub fn keeping_at(port: u16) -> (Self, Arc<Mutex<Vec<Received>>>) {
        let kept: Arc<Mutex<Vec<Received>>> = Arc::default();
        let list = kept.clone();
        let receiver = Self::at(port, move |_, received| {
            list.lock().unwrap_or_else(PoisonError::into_inner).push(received.clone());
            Reply::status(204)
        });
        (receiver, kept)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests so far.
    pub fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    fn listen(&mut self, listener: TcpListener) {
        let shared = self.shared.clone();
        shared.is_over.store(false, Ordering::Relaxed);
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let of_thread = shared.clone();
                if let Ok(twin) = stream.try_clone() {
                    shared.open.lock().unwrap_or_else(PoisonError::into_inner).push(twin);
                }
                std::thread::spawn(move || of_thread.serve(stream));
            }
        }));
    }

    /// Nobody listens any more, and what was open is closed.
    pub fn die(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        let _ = thread.join();
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// It listens again, where it did before.
    pub fn come_back(&mut self) {
        let bound = crate::wait_until(Duration::from_secs(5), || {
            let Ok(listener) = TcpListener::bind(self.address) else { return false };
            self.listen(listener);
            true
        });
        assert!(bound, "the port {} is taken", self.address);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.die();
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(twin) = stream.try_clone() else { return };
        let mut reader = BufReader::new(twin);
        while let Some(received) = read(&mut reader) {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            self.record(number, &received);
            if !answer(&stream, &(self.handler)(number, &received)) {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn record(&self, number: u64, received: &Received) {
        let Some(folder) = &self.record else { return };
        std::fs::create_dir_all(folder).expect("the folder for requests can be made");
        // Several receivers write to one folder.
        let name = format!("{}-{:x}-{number:06}", std::process::id(), std::ptr::from_ref(self).addr());
        let headers: Vec<String> = received.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        std::fs::write(folder.join(format!("{name}.headers")), headers.concat()).expect("a request can be written");
        std::fs::write(folder.join(format!("{name}.body")), &received.body).expect("a request can be written");
    }
}

/// The next request, if it comes whole.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Received { at: SystemTime::now(), line: line.trim_end().to_owned(), headers, body })
}

/// Does what was decided. False when the connection is of no more use.
fn answer(mut stream: &TcpStream, reply: &Reply) -> bool {
    let text = |status: u16, headers: &[(&str, String)], length: usize, body: &str| {
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        format!("HTTP/1.1 {status} .\r\n{headers}content-length: {length}\r\n\r\n{body}")
    };
    match reply {
        Reply::Answer(status, headers, body) => {
            stream.write_all(text(*status, headers, body.len(), body).as_bytes()).is_ok()
        }
        Reply::Slow(after, status) => {
            pause(*after);
            stream.write_all(text(*status, &[], 0, "").as_bytes()).is_ok()
        }
        Reply::Reset => {
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
            false
        }
        Reply::Hang => {
            // Until the client gives up.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            false
        }
        Reply::TooShort => {
            let _ = stream.write_all(text(200, &[], 1000, "short").as_bytes());
            false
        }
        Reply::TooLong => {
            let _ = stream.write_all(text(500, &[], 2, "much longer than that\r\n\r\nHTTP/1.1 200 .\r\n").as_bytes());
            false
        }
    }
}

/// Polling nothing: a slow server is one that takes its time.
fn pause(time: Duration) {
    let time = time.try_into().expect("a pause is short");
    let _ = rustix::event::poll(&mut [], Some(&time));
}
