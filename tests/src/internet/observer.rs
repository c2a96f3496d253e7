//! The observer: a packet socket that keeps every IP packet which came from the job's side.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with, sockopt};

use super::frame::Packet;

/// `ETH_P_ALL`, in network order as the call wants it.
const EVERY_PROTOCOL: NonZeroU32 = NonZeroU32::new(3_u16.to_be() as u32).expect("not zero");
/// What may lie unread: far more than any attempt sends.
const QUEUE: usize = 64 << 20;
/// The largest frame, offloaded ones included.
const LARGEST: usize = 1 << 17;
/// The outside end's own frames, which are answers.
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const MARKER: &[u8] = b"runner-agent-fence:";
/// How long a marker may take.
const WITHIN: Duration = Duration::from_secs(20);

/// Where an observer listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tap {
    /// At the outside end of the link, to what comes from the job's end.
    Link,
    /// At the loopback device.
    Loopback,
}

#[derive(Default)]
struct Seen {
    packets: Vec<Packet>,
    markers: HashSet<Vec<u8>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    frames: AtomicU64,
}

/// Listens until it is dropped.
pub struct Observer {
    shared: Arc<Shared>,
    socket: Arc<OwnedFd>,
    rounds: AtomicU64,
    tap: Tap,
    // Dropping one end wakes the thread that polls the other.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// What a marker says.
pub(super) fn marker(round: u64, processor: usize) -> String {
    format!("{}{round}:{processor};", String::from_utf8_lossy(MARKER))
}

impl Observer {
    /// Listens in the namespace that the calling thread stands in.
    pub(super) fn open(tap: Tap) -> Self {
        let protocol = Some(Protocol::from_raw(EVERY_PROTOCOL));
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, protocol).expect("a packet socket");
        sockopt::set_socket_recv_buffer_size_force(&socket, QUEUE).expect("root may ask for any buffer");
        let (stop, stopped) = UnixStream::pair().expect("a pair of sockets");
        let (shared, socket) = (Arc::new(Shared::default()), Arc::new(socket));
        let (of_thread, to_read) = (Arc::clone(&shared), Arc::clone(&socket));
        let thread = std::thread::spawn(move || {
            loop {
                let mut both = [PollFd::new(&*to_read, PollFlags::IN), PollFd::new(&stopped, PollFlags::IN)];
                if poll(&mut both, None).is_err() || !both[1].revents().is_empty() {
                    return;
                }
                of_thread.read(&to_read, tap);
            }
        });
        Self { shared, socket, rounds: AtomicU64::new(0), tap, stop: Some(stop), thread: Some(thread) }
    }

    /// How many packets were seen so far.
    pub fn count(&self) -> usize {
        self.shared.lock().packets.len()
    }

    /// The packets since that many that the condition holds for.
    pub fn since(&self, count: usize, holds: impl Fn(&Packet) -> bool) -> Vec<Packet> {
        self.shared.lock().packets[count..].iter().filter(|packet| holds(packet)).cloned().collect()
    }

    /// Frames that came from the job's side, of whatever kind.
    pub(super) fn frames(&self) -> u64 {
        self.shared.frames.load(Ordering::SeqCst)
    }

    pub(super) fn next_round(&self) -> u64 {
        self.rounds.fetch_add(1, Ordering::SeqCst)
    }

    /// Waits until that marker was read.
    pub(super) fn wait_for(&self, marker: &str) {
        let missing = |seen: &mut Seen| !seen.markers.remove(marker.as_bytes());
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), WITHIN, missing);
        let timed_out = waited.expect("the observer's thread never panics").1.timed_out();
        assert!(!timed_out, "the marker {marker} did not arrive");
    }

    /// Reads all that lies in the queue: what crosses loopback is in it when the call that sent it returns.
    pub(super) fn drain(&self) {
        self.shared.read(&self.socket, self.tap);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics while holding it")
    }

    fn read(&self, socket: &OwnedFd, tap: Tap) {
        let mut buffer = vec![0; LARGEST];
        // Held over the reading, so that two readers don't change the order.
        let mut seen = self.lock();
        while let Ok((len, _)) = recv(socket.as_fd(), &mut buffer[..], RecvFlags::empty()) {
            let frame = &buffer[..len];
            let Some(sender) = frame.get(6..12) else { continue };
            // Loopback has no hardware addresses.
            if sender == OWN_MAC || (sender == [0; 6]) != (tap == Tap::Loopback) {
                continue;
            }
            self.frames.fetch_add(1, Ordering::SeqCst);
            if let Some(at) = frame.windows(MARKER.len()).position(|window| window == MARKER) {
                let end = frame[at..].iter().position(|&byte| byte == b';').map_or(len, |end| at + end + 1);
                seen.markers.insert(frame[at..end].to_vec());
            } else if let Some(packet) = Packet::of_frame(frame) {
                seen.packets.push(packet);
            }
        }
        drop(seen);
        self.changed.notify_all();
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
