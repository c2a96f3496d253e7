//! Other namespaces and other cgroups.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::exec::CloneArguments;
use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("leave-cgroup", leave_cgroup),
    ("born-outside", born_outside),
    ("moved", moved),
    ("shared-outside", shared_outside),
    ("child-cgroup", child_cgroup),
    ("container", container),
    ("without-cgroup2", without_cgroup2),
    ("orphan", orphan),
    ("own-network", own_network),
    ("tunnel", tunnel),
    ("with-file", with_file),
    ("from-memory", from_memory),
    ("as-copy", as_copy),
    ("called", called),
];

/// `CLONE_INTO_CGROUP` of linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// CGROUP PROGRAM ARGUMENTS…: moves there, then becomes the program.
fn leave_cgroup(arguments: &[OsString]) -> io::Result<()> {
    fs::write(Path::new(&arguments[0]).join("cgroup.procs"), "0")?;
    Err(Command::new(&arguments[1]).args(&arguments[2..]).exec())
}

/// A child in that cgroup from its first instruction, with these flags of clone(2) besides; 0 in the child.
pub fn clone_into(cgroup: &fs::File, flags: u64) -> io::Result<i64> {
    let mut call = CloneArguments { flags, exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() };
    call.flags |= CLONE_INTO_CGROUP;
    call.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: the structure is as the call wants it and lives through it; without CLONE_VM it is a fork.
    returned(unsafe { libc::syscall(libc::SYS_clone3, &raw const call, size_of::<CloneArguments>()) })
}

/// Ends a child as the result says.
fn end(result: io::Result<()>) -> ! {
    std::process::exit(result.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EPROTO), |()| 0))
}

/// CGROUP PROGRAM ARGUMENTS…: a child that is there from its first instruction becomes the program. `uring` instead of a
/// program: the child makes and uses its socket by requests alone.
fn born_outside(arguments: &[OsString]) -> io::Result<()> {
    let child = clone_into(&fs::File::open(&arguments[0])?, 0)?;
    if child == 0 {
        if arguments[1] == "uring" {
            end(crate::uring::whole_stream(&arguments[2..]));
        }
        end(Err(Command::new(&arguments[1]).args(&arguments[2..]).exec()));
    }
    end_as(child)
}

/// CGROUP PROGRAM ARGUMENTS…: a child becomes the program when this process has moved it there.
fn moved(arguments: &[OsString]) -> io::Result<()> {
    let (mut told, tells) = io::pipe()?;
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    let child = returned(i64::from(unsafe { libc::fork() }))?;
    if child == 0 {
        drop(tells);
        // Until the parent has ended, or has closed its end.
        io::copy(&mut told, &mut io::sink())?;
        end(Err(Command::new(&arguments[1]).args(&arguments[2..]).exec()));
    }
    if let Err(error) = fs::write(Path::new(&arguments[0]).join("cgroup.procs"), child.to_string()) {
        // SAFETY: a child of this process, which has not been waited for.
        returned(i64::from(unsafe { libc::kill(child as i32, libc::SIGKILL) }))?;
        return Err(error);
    }
    drop(tells);
    end_as(child)
}

/// CGROUP ADDRESS PORT PAYLOAD: a child there makes a socket in the descriptor table that it shares with this process,
/// which uses it when the child has ended.
fn shared_outside(arguments: &[OsString]) -> io::Result<()> {
    let to = &arguments[1..];
    let cgroup = fs::File::open(&arguments[0])?;
    let socket = made_by(|| clone_into(&cgroup, libc::CLONE_FILES as u64), libc::AF_INET)?;
    crate::socket::send_to(&socket, 0, text(to, 2)?.as_bytes(), crate::socket::address(to)?)
}

/// A datagram socket that a child makes which shares this process's descriptors; it may be ended for that.
pub fn made_by(child: impl FnOnce() -> io::Result<i64>, family: i32) -> io::Result<OwnedFd> {
    // The lowest number that is free is the one that the child will get: nothing else is opened meanwhile.
    let next = fs::File::open("/dev/null")?.as_raw_fd();
    let child = child()?;
    if child == 0 {
        // SAFETY: no preconditions.
        let made = unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) };
        // SAFETY: ends this process without closing what it shares.
        unsafe { libc::_exit(i32::from(made != next)) };
    }
    // SAFETY: waits for the child made above; no memory is handed over.
    returned(i64::from(unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), 0) }))?;
    // SAFETY: no memory is handed over; fails unless the child has made it.
    returned(i64::from(unsafe { libc::fcntl(next, libc::F_GETFD) }))?;
    // SAFETY: open by the check above; the child that made it is gone, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(next) })
}

/// Ends as the child does.
fn end_as(child: i64) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: waits for a child of this process, and the status lives through the call.
    returned(i64::from(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }))?;
    if libc::WIFSIGNALED(status) {
        return Err(io::Error::other(format!("signal {}", libc::WTERMSIG(status))));
    }
    std::process::exit(libc::WEXITSTATUS(status))
}

/// PROGRAM ARGUMENTS…: makes a cgroup below its own, where a child is born that becomes the program. Nobody moves: writing to
/// `cgroup.procs` may be refused.
fn child_cgroup(arguments: &[OsString]) -> io::Result<()> {
    let cgroup = end_to_end::host::own_cgroup().join("below");
    fs::create_dir_all(&cgroup)?;
    let child = clone_into(&fs::File::open(&cgroup)?, 0)?;
    if child == 0 {
        end(Err(Command::new(&arguments[0]).args(&arguments[1..]).exec()));
    }
    end_as(child)
}

/// PROGRAM ARGUMENTS…: the program in a session of its own, without a parent in the job; waits for its end.
fn orphan(arguments: &[OsString]) -> io::Result<()> {
    let (mut ended, held) = io::pipe()?;
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    let child = returned(i64::from(unsafe { libc::fork() }))?;
    if child == 0 {
        // SAFETY: no preconditions.
        returned(i64::from(unsafe { libc::setsid() }))?;
        // SAFETY: as above.
        if returned(i64::from(unsafe { libc::fork() }))? != 0 {
            std::process::exit(0);
        }
        let session = rustix::process::getsid(None)?;
        let adopted = || rustix::process::getppid() != Some(session);
        end_to_end::wait_until(std::time::Duration::from_secs(10), adopted);
        let mut program = Command::new(&arguments[0]);
        let status = program.args(&arguments[1..]).status()?;
        // Kept open until here: its closing is how the first process knows.
        drop(held);
        std::process::exit(status.code().unwrap_or(1));
    }
    drop(held);
    // SAFETY: waits for the child made above; no memory is handed over.
    returned(i64::from(unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), 0) }))?;
    io::copy(&mut ended, &mut io::sink()).map(drop)
}

/// NUMBER PROGRAM ARGUMENTS…: becomes the program in a network of its own, joined to the runner's by a link that it made
/// and routed by the runner.
fn own_network(arguments: &[OsString]) -> io::Result<()> {
    let number = text(arguments, 0)?;
    let runner = fs::File::open("/proc/self/ns/net")?;
    let runner = format!("/proc/{}/fd/{}", std::process::id(), runner.as_raw_fd());
    unshare(libc::CLONE_NEWNET)?;
    let (device, peer) = (format!("own{number}"), format!("run{number}"));
    let (here, there) = ("192.0.2.137", "192.0.2.138");
    let steps = [
        format!("ip link set lo up; ip link add {device} type veth peer name {peer} netns {runner}"),
        format!("ip addr add {here}/30 dev {device}; ip link set {device} up; ip route add default via {there}"),
        format!("nsenter --net={runner} ip addr add {there}/30 dev {peer}"),
        format!("nsenter --net={runner} ip link set {peer} up"),
    ];
    for step in steps {
        if !Command::new("sh").args(["-e", "-c", &step]).status()?.success() {
            return Err(io::Error::other(format!("`{step}` failed")));
        }
    }
    Err(Command::new(&arguments[1]).args(&arguments[2..]).exec())
}

/// ADDRESS INNER PROGRAM ARGUMENTS…: a tunnel to ADDRESS through which the packets to INNER go, then the program.
fn tunnel(arguments: &[OsString]) -> io::Result<()> {
    let (to, inner) = (text(arguments, 0)?, text(arguments, 1)?);
    let steps = format!(
        "ip link add ra-vx type vxlan id 7 remote {to} dstport 4789; ip addr add 192.0.2.145/30 dev ra-vx; \
         ip link set ra-vx up; ip neigh add 192.0.2.146 lladdr 02:00:00:00:00:09 dev ra-vx; \
         ip route add {inner}/32 via 192.0.2.146"
    );
    if !Command::new("sh").args(["-e", "-c", &steps]).status()?.success() {
        return Err(io::Error::other("the tunnel can't be made"));
    }
    let status = Command::new(&arguments[2]).args(&arguments[3..]).status()?;
    // Others of the job go there too.
    Command::new("ip").args(["link", "del", "ra-vx"]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the program failed")) }
}

/// PATH TEXT PROGRAM ARGUMENTS…: becomes the program where the file at PATH holds TEXT, for it and for nobody else.
fn with_file(arguments: &[OsString]) -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)?;
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE)?;
    let own = std::env::temp_dir().join(format!("runner-agent-e2e-file-{}", std::process::id()));
    fs::write(&own, format!("{}\n", text(arguments, 1)?.replace('=', " ")))?;
    let mounted = mount(own.to_str().expect("a temporary path is text"), text(arguments, 0)?, "none", libc::MS_BIND);
    // The mount holds on to it.
    fs::remove_file(&own)?;
    mounted?;
    Err(Command::new(&arguments[2]).args(&arguments[3..]).exec())
}

/// PATH PROGRAM ARGUMENTS…: a copy of the program at PATH, run from there.
fn as_copy(arguments: &[OsString]) -> io::Result<()> {
    let path = Path::new(&arguments[0]);
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
    fs::copy(&arguments[1], path)?;
    Err(Command::new(path).args(&arguments[2..]).exec())
}

/// NAME PROGRAM ARGUMENTS…: the program under another first argument.
fn called(arguments: &[OsString]) -> io::Result<()> {
    Err(Command::new(&arguments[1]).arg0(&arguments[0]).args(&arguments[2..]).exec())
}

/// PROGRAM NAME ARGUMENTS…: the program's bytes from a file in memory, under another name.
fn from_memory(arguments: &[OsString]) -> io::Result<()> {
    let name = CString::new(text(arguments, 1)?)?;
    // SAFETY: the name ends in NUL and lives through the call.
    let memory = returned(i64::from(unsafe { libc::memfd_create(name.as_ptr(), 0) }))?;
    fs::copy(&arguments[0], format!("/proc/self/fd/{memory}"))?;
    Err(Command::new(format!("/proc/self/fd/{memory}")).arg0(&arguments[1]).args(&arguments[2..]).exec())
}

/// What there is to know in a /sys of this network namespace's.
pub fn with_own_sysfs<T>(ask: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    unshare(libc::CLONE_NEWNS)?;
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE)?;
    let folder = std::env::temp_dir().join(format!("runner-agent-e2e-sys-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let path = folder.to_str().expect("a temporary path is text");
    let found = mount("none", path, "sysfs", 0).and_then(|()| ask(&folder));
    let place = CString::new(path).expect("no NUL in a path");
    // SAFETY: the path ends in NUL and lives through the call.
    unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
    fs::remove_dir(&folder)?;
    found
}

fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no memory is handed over; this program has one thread.
    returned(i64::from(unsafe { libc::unshare(flags) })).map(drop)
}

fn mount(source: &str, target: &str, kind: &str, flags: u64) -> io::Result<()> {
    let [source, target, kind] = [source, target, kind].map(|text| CString::new(text).expect("no NUL in a path"));
    // SAFETY: the three texts end in NUL and live through the call; there is no data.
    returned(i64::from(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null())
    }))
    .map(drop)
}

/// SECRET FOLDER PORT: as a container engine does it, new namespaces for pids, mounts and network; inside, the secret
/// under another path by a bind mount, a program, and a connect over the namespace's own loopback.
fn container(arguments: &[OsString]) -> io::Result<()> {
    let (secret, folder) = (text(arguments, 0)?, text(arguments, 1)?);
    let port: u16 = parsed(arguments, 2)?;
    unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC)?;
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    let child = returned(i64::from(unsafe { libc::fork() }))?;
    if child != 0 {
        let mut status = 0;
        // SAFETY: waits for the child made above, and the status lives through the call.
        returned(i64::from(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }))?;
        return if status == 0 { Ok(()) } else { Err(io::Error::other("the container failed")) };
    }
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE)?;
    mount("none", folder, "tmpfs", 0)?;
    let inside = format!("{folder}/settings");
    fs::write(&inside, "")?;
    mount(secret, &inside, "none", libc::MS_BIND)?;
    fs::read(&inside)?;
    if !Command::new("ip").args(["link", "set", "lo", "up"]).status()?.success() {
        return Err(io::Error::other("loopback stays down"));
    }
    match TcpStream::connect(("127.0.0.1", port)) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
        other => return other.map(drop),
    }
    if !Command::new("/bin/true").arg("in-container").status()?.success() {
        return Err(io::Error::other("/bin/true failed"));
    }
    std::process::exit(0)
}

/// PROGRAM ARGUMENTS…: becomes the program in a mount namespace without a cgroup v2 hierarchy.
fn without_cgroup2(arguments: &[OsString]) -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)?;
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE)?;
    while let Some(mounted) = end_to_end::host::cgroup_mount() {
        let mounted = CString::new(mounted.to_str().expect("the mount point is text")).expect("no NUL in a path");
        // SAFETY: the path ends in NUL and lives through the call.
        returned(i64::from(unsafe { libc::umount2(mounted.as_ptr(), libc::MNT_DETACH) }))?;
    }
    Err(Command::new(&arguments[0]).args(&arguments[1..]).exec())
}
