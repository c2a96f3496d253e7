//! The inside of a guest: this program as its first process. It mounts what a Linux system has, loads modules, runs the
//! commands of its plan one after the other, and tells over a virtio port what they say and how they end.
//!
//! The first process does nothing but wait for children, its own and orphans: the commands are run by a second one.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, pipe};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use rustix::mount::{MountFlags, mount, mount_bind_recursive, mount_move};
use rustix::process::{WaitOptions, chroot, wait};
use rustix::system::{RebootCommand, init_module, reboot, sethostname};

use super::frame::{Frame, PORT};
use super::plan::{self, Plan};

#[derive(Args)]
pub struct Options {
    /// The second process: runs the commands
    #[arg(long)]
    second: bool,
}

/// Where a command finds the file for its report.
const REPORT: &str = "/tmp/runner-agent-test-report";

pub fn run(options: &Options) -> Result<()> {
    if options.second {
        return second();
    }
    if std::process::id() != 1 {
        bail!("this is the first process of a guest; `cargo xtask vm` starts one");
    }
    // Its error goes to the console: there is no port to tell it over.
    if let Err(error) = prepare().and_then(|()| first()) {
        eprintln!("the guest can't start: {error:#}");
    }
    reboot(RebootCommand::PowerOff).context("the guest can't be switched off")
}

/// What a booted system has, before anything else runs.
fn prepare() -> Result<()> {
    own_root().context("a root that can be left")?;
    for (kind, place, data) in [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", ""),
        ("devpts", "/dev/pts", "ptmxmode=0666"),
        ("tmpfs", "/dev/shm", ""),
        ("tmpfs", "/tmp", ""),
        ("tmpfs", "/run", ""),
        ("tmpfs", "/var/tmp", ""),
        ("cgroup2", "/sys/fs/cgroup", ""),
        ("bpf", "/sys/fs/bpf", ""),
        ("securityfs", "/sys/kernel/security", ""),
        ("tracefs", "/sys/kernel/tracing", ""),
        ("debugfs", "/sys/kernel/debug", ""),
    ] {
        // A folder of a file system that has none of that name is not ours to make, and fails at the mount.
        let _ = fs::create_dir_all(place);
        let data = CString::new(data).context("mount options")?;
        if let Err(error) = mount(kind, place, kind, MountFlags::empty(), data.as_c_str()) {
            eprintln!("the guest has no {kind} at {place}: {error}");
        }
    }
    for link in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let _ = std::os::unix::fs::symlink(link.1, Path::new("/dev").join(link.0));
    }
    sethostname(b"guest").context("a host name")?;
    // Everybody may write there, as on any system.
    for place in ["/tmp", "/var/tmp", "/dev/shm"] {
        fs::set_permissions(place, std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
    }
    Ok(())
}

/// Puts a mount over the kernel's first root, which pivot_root(2) refuses to leave: jobs that make containers do so.
fn own_root() -> Result<()> {
    fs::create_dir_all("/new-root")?;
    mount_bind_recursive("/", "/new-root")?;
    std::env::set_current_dir("/new-root")?;
    mount_move(".", "/")?;
    chroot(".")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Starts the second process and waits for it, and for whatever else ends; or becomes the plan's init, which does that too.
fn first() -> Result<()> {
    let second = Command::new("/proc/self/exe").args(["vm-guest", "--second"]).spawn().context("the second process")?;
    let plan = Plan::from_json(&fs::read(plan::PLACE).context("the guest's plan")?)?;
    if let Some((program, words)) = plan.init.split_first() {
        return Err(Command::new(program).args(words).exec()).with_context(|| format!("{program} as init"));
    }
    loop {
        let Some((pid, _)) = wait(WaitOptions::empty()).context("children to wait for")? else { continue };
        if pid.as_raw_nonzero().get().cast_unsigned() == second.id() {
            return Ok(());
        }
    }
}

fn second() -> Result<()> {
    let plan = Plan::from_json(&fs::read(plan::PLACE).context("the guest's plan")?)?;
    for module in &plan.modules {
        let image = fs::read(module).with_context(|| module.clone())?;
        if let Err(error) = init_module(&image, c"") {
            eprintln!("{module} can't be loaded: {error}");
        }
    }
    let port = Mutex::new(port()?);
    let tell = |frame: &Frame| {
        let port = port.lock().map_err(|_| anyhow!("a thread died while it held the port"))?;
        frame.write(&*port).context("the port takes no more")
    };
    let done = (|| {
        settle_in()?;
        tell(&Frame::Up)?;
        for command in &plan.commands {
            let _ = fs::remove_file(REPORT);
            let code = run_command(command, &plan.environment, &tell)?;
            if let Ok(report) = fs::read_to_string(REPORT) {
                tell(&Frame::Report(report))?;
            }
            tell(&Frame::Ended(code))?;
        }
        Ok(())
    })();
    match done {
        Ok(()) => tell(&Frame::Done)?,
        Err::<(), anyhow::Error>(error) => tell(&Frame::Failed(format!("{error:#}")))?,
    }
    // Who started the guest ends it once it has read that; nothing more is to be done here.
    loop {
        std::thread::park();
    }
}

/// Network and place of the commands, as a runner's job has them: loopback, and a cgroup that is not the topmost.
fn settle_in() -> Result<()> {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).env("PATH", super::GUEST_PATH).status();
    if !up.context("ip")?.success() {
        bail!("loopback can't be switched on");
    }
    fs::create_dir("/sys/fs/cgroup/runner").context("a cgroup for the commands")?;
    fs::write("/sys/fs/cgroup/runner/cgroup.procs", "0").context("a place in that cgroup")
}

/// The virtio port of our name.
fn port() -> Result<File> {
    let ports = fs::read_dir("/sys/class/virtio-ports").context("virtio ports")?;
    for entry in ports.flatten() {
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT) {
            let device = PathBuf::from("/dev").join(entry.file_name());
            return OpenOptions::new().write(true).open(&device).with_context(|| format!("{}", device.display()));
        }
    }
    bail!("no virtio port has the name {PORT}")
}

/// Runs one, passes on what it says, and gives its exit code.
fn run_command(words: &[String], environment: &[(String, String)], tell: &dyn Fn(&Frame) -> Result<()>) -> Result<i32> {
    let (mut reader, writer) = pipe()?;
    let mut command = Command::new(words.first().context("a command has a word")?);
    command.args(&words[1..]).env_clear().envs(environment.iter().cloned()).env(super::REPORT, REPORT);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn();
    // The command holds the pipe's writing end.
    drop(command);
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            tell(&Frame::Output(format!("{}: {error}\n", words[0]).into_bytes()))?;
            return Ok(127);
        }
    };
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = reader.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        tell(&Frame::Output(buffer[..len].to_vec()))?;
    }
    let status = child.wait()?;
    Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1))
}
