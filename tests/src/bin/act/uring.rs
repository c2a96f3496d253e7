//! io_uring without a library: one ring, one request at a time. Here is what sockets are used for; files are in `uring_file`.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::socket::{Address, address, family, message, new_socket};
use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("setup", setup),
    ("connect", connect),
    ("stream", stream),
    ("stream-worker", stream_worker),
    ("stream-poller", stream_poller),
    ("datagram", datagram),
    ("whole-stream", whole_stream),
    ("held", held),
    ("frame", frame),
    ("socket", socket),
];

const IORING_OFF_SQ_RING: i64 = 0;
const IORING_OFF_CQ_RING: i64 = 0x800_0000;
const IORING_OFF_SQES: i64 = 0x1000_0000;
const IORING_ENTER_GETEVENTS: u32 = 1;
const IORING_ENTER_SQ_WAKEUP: u32 = 2;
/// `IORING_SETUP_SQPOLL`: a thread of the kernel takes the requests.
pub const IORING_SETUP_SQPOLL: u32 = 2;
/// `IOSQE_ASYNC`: a worker of the kernel does the request.
pub const IOSQE_ASYNC: u8 = 16;
const IORING_OP_SENDMSG: u8 = 9;
const IORING_OP_CONNECT: u8 = 16;
const IORING_OP_SEND: u8 = 26;
/// `IORING_OP_SOCKET`, since 5.19.
const IORING_OP_SOCKET: u8 = 45;
/// `IOSQE_FIXED_FILE`: the descriptor is a place among the ring's own files.
const IOSQE_FIXED_FILE: u8 = 1;
const IORING_REGISTER_FILES: u32 = 2;
const ENTRIES: u32 = 8;

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq: [u32; 10],
    cq: [u32; 10],
}

/// `struct io_uring_sqe`.
#[repr(C)]
#[derive(Default)]
pub struct Request {
    pub opcode: u8,
    pub flags: u8,
    pub priority: u16,
    pub descriptor: i32,
    pub offset: u64,
    pub address: u64,
    pub len: u32,
    pub operation_flags: u32,
    pub rest: [u64; 4],
}

pub struct Ring {
    descriptor: OwnedFd,
    submissions: usize,
    completions: usize,
    requests: usize,
    parameters: Parameters,
}

impl Ring {
    pub fn new() -> io::Result<Self> {
        Self::with(0)
    }

    pub fn with(flags: u32) -> io::Result<Self> {
        let mut parameters = Parameters { flags, sq_thread_idle: 1000, ..Parameters::default() };
        // SAFETY: the parameters live through the call.
        let descriptor = returned(unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut parameters) })?;
        // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
        Self::mapped(unsafe { OwnedFd::from_raw_fd(descriptor as i32) }, parameters)
    }

    fn mapped(descriptor: OwnedFd, parameters: Parameters) -> io::Result<Self> {
        let sq_len = parameters.sq[6] as usize + parameters.sq_entries as usize * 4;
        let cq_len = parameters.cq[5] as usize + parameters.cq_entries as usize * 16;
        Ok(Self {
            submissions: map(&descriptor, sq_len, IORING_OFF_SQ_RING)?,
            completions: map(&descriptor, cq_len, IORING_OFF_CQ_RING)?,
            requests: map(&descriptor, parameters.sq_entries as usize * size_of::<Request>(), IORING_OFF_SQES)?,
            descriptor,
            parameters,
        })
    }

    /// Hands over the request and waits for its result, a negative error number among them.
    pub fn run(&self, request: Request) -> io::Result<i32> {
        // One request at a time, and nothing but this function fills the ring: the first entry is free.
        // SAFETY: the mapping holds requests and lives as long as the process.
        unsafe { (self.requests as *mut Request).write(request) };
        let tail = word(self.submissions + self.parameters.sq[1] as usize).load(Ordering::Relaxed);
        let slot = (tail % self.parameters.sq_entries) as usize;
        word(self.submissions + self.parameters.sq[6] as usize + 4 * slot).store(0, Ordering::Relaxed);
        word(self.submissions + self.parameters.sq[1] as usize).fetch_add(1, Ordering::Release);
        // SAFETY: no memory is handed over; the ring's own was set up by the kernel.
        returned(unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.descriptor.as_raw_fd(),
                1_u32,
                1_u32,
                IORING_ENTER_GETEVENTS
                    | if self.parameters.flags & IORING_SETUP_SQPOLL == 0 { 0 } else { IORING_ENTER_SQ_WAKEUP },
                std::ptr::null::<u8>(),
                0_usize,
            )
        })?;
        let head = word(self.completions + self.parameters.cq[0] as usize);
        let tail = word(self.completions + self.parameters.cq[1] as usize);
        if head.load(Ordering::Acquire) == tail.load(Ordering::Acquire) {
            return Err(io::Error::other("the request did not complete"));
        }
        // `struct io_uring_cqe`: user data, then the result.
        let done = head.load(Ordering::Acquire);
        let entry =
            self.completions + self.parameters.cq[5] as usize + 16 * (done % self.parameters.cq_entries) as usize;
        let result = word(entry + 8).load(Ordering::Acquire) as i32;
        head.store(done + 1, Ordering::Release);
        Ok(result)
    }
}

fn map(descriptor: &OwnedFd, len: usize, offset: i64) -> io::Result<usize> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice; nothing is unmapped by it.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            access,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            descriptor.as_raw_fd(),
            offset,
        )
    };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at as usize) }
}

/// A word of a mapping, which the kernel may change at any time.
fn word(at: usize) -> &'static AtomicU32 {
    // SAFETY: mappings live as long as the process, and the kernel keeps their words aligned.
    unsafe { &*(at as *const AtomicU32) }
}

pub fn completed(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// A ring, and nothing done with it.
fn setup(_: &[OsString]) -> io::Result<()> {
    Ring::new().map(drop)
}

/// ADDRESS PORT: an IPv4 connect as a request.
fn connect(arguments: &[OsString]) -> io::Result<()> {
    let address: Ipv4Addr = parsed(arguments, 0)?;
    let port: u16 = parsed(arguments, 1)?;
    let ring = Ring::new()?;
    // SAFETY: no preconditions.
    let socket = returned(i64::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }))? as i32;
    let mut destination = [0_u8; 16];
    destination[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    destination[2..4].copy_from_slice(&port.to_be_bytes());
    destination[4..8].copy_from_slice(&address.octets());
    let result = ring.run(Request {
        opcode: IORING_OP_CONNECT,
        descriptor: socket,
        address: destination.as_ptr() as u64,
        offset: destination.len() as u64,
        ..Request::default()
    })?;
    match completed(result) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => Ok(()),
        result => result.map(drop),
    }
}

/// ADDRESS PORT PAYLOAD: connected and sent by requests.
fn stream(arguments: &[OsString]) -> io::Result<()> {
    stream_over(&Ring::new()?, 0, arguments)
}

fn stream_worker(arguments: &[OsString]) -> io::Result<()> {
    stream_over(&Ring::new()?, IOSQE_ASYNC, arguments)
}

fn stream_poller(arguments: &[OsString]) -> io::Result<()> {
    stream_over(&Ring::with(IORING_SETUP_SQPOLL)?, 0, arguments)
}

fn stream_over(ring: &Ring, flags: u8, arguments: &[OsString]) -> io::Result<()> {
    over(ring, flags, &new_socket(family(&address(arguments)?), libc::SOCK_STREAM, 0)?, arguments)
}

fn over(ring: &Ring, flags: u8, socket: &OwnedFd, arguments: &[OsString]) -> io::Result<()> {
    let payload = text(arguments, 2)?.as_bytes();
    let to = Address::of(address(arguments)?);
    completed(ring.run(Request {
        opcode: IORING_OP_CONNECT,
        flags,
        descriptor: socket.as_raw_fd(),
        address: to.bytes.as_ptr() as u64,
        offset: u64::from(to.len),
        ..Request::default()
    })?)?;
    let sent = ring.run(Request {
        opcode: IORING_OP_SEND,
        flags,
        descriptor: socket.as_raw_fd(),
        address: payload.as_ptr() as u64,
        len: payload.len() as u32,
        ..Request::default()
    })?;
    completed(sent).map(drop)
}

/// ADDRESS PORT PAYLOAD: made, connected and sent by requests; no call of a socket's is made.
pub fn whole_stream(arguments: &[OsString]) -> io::Result<()> {
    let ring = Ring::new()?;
    let socket = made(family(&address(arguments)?), libc::SOCK_STREAM, 0)?;
    over(&ring, 0, &socket, arguments)
}

/// ADDRESS PORT PAYLOAD: a message with an address of its own.
fn datagram(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let mut payload = text(arguments, 2)?.as_bytes().to_vec();
    let ring = Ring::new()?;
    let socket = new_socket(family(&to), libc::SOCK_DGRAM, 0)?;
    let mut piece = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut to = Address::of(to);
    let message = message(&mut to, &mut piece);
    let sent = ring.run(Request {
        opcode: IORING_OP_SENDMSG,
        descriptor: socket.as_raw_fd(),
        address: &raw const message as u64,
        len: 1,
        ..Request::default()
    })?;
    completed(sent).map(drop)
}

/// A ring that holds a socket as its first file, whatever becomes of the socket's own descriptor.
pub fn holding(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let ring = Ring::new()?.descriptor;
    let files = [socket.as_raw_fd()];
    // SAFETY: the list lives through the call, and has one entry.
    let registered = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), IORING_REGISTER_FILES, files.as_ptr(), 1_u32)
    };
    returned(registered)?;
    Ok(ring)
}

/// NUMBER PAYLOAD: over a ring that came with the process, to whom its first file is connected.
fn held(arguments: &[OsString]) -> io::Result<()> {
    let payload = text(arguments, 1)?.as_bytes();
    let number: i32 = parsed(arguments, 0)?;
    // SAFETY: no memory is handed over; fails unless the descriptor came with the process.
    returned(i64::from(unsafe { libc::fcntl(number, libc::F_GETFD) }))?;
    // SAFETY: open by the check above; this program uses it here alone.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // The layout is the kernel's for a ring of this size; a ring made here has the same.
    let ring = Ring::mapped(descriptor, Ring::new()?.parameters)?;
    let sent = ring.run(Request {
        opcode: IORING_OP_SEND,
        flags: IOSQE_FIXED_FILE,
        descriptor: 0,
        address: payload.as_ptr() as u64,
        len: payload.len() as u32,
        ..Request::default()
    })?;
    completed(sent).map(drop)
}

/// A socket that a request has made.
fn made(family: i32, socket_type: i32, protocol: i32) -> io::Result<OwnedFd> {
    let made = Ring::new()?.run(Request {
        opcode: IORING_OP_SOCKET,
        descriptor: family,
        offset: socket_type as u64,
        len: protocol as u32,
        ..Request::default()
    })?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(completed(made)?) })
}

/// ADDRESS PORT PAYLOAD DEVICE: a frame over a packet socket that a request has made.
fn frame(arguments: &[OsString]) -> io::Result<()> {
    crate::raw::frame_over(&made(libc::AF_PACKET, libc::SOCK_DGRAM, 0)?, arguments)
}

/// FAMILY TYPE PROTOCOL: a socket that a request makes, and nothing done with it.
fn socket(arguments: &[OsString]) -> io::Result<()> {
    made(parsed(arguments, 0)?, parsed(arguments, 1)?, parsed(arguments, 2)?).map(drop)
}
