//! One guest: a kernel under QEMU with all its files in memory, emulated where there is no KVM.

use std::fs;
use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::frame::{Frame, PORT};
use crate::target::Target;

/// What a guest is made of.
pub struct Machine<'a> {
    /// Its processors.
    pub target: &'a Target,
    pub kernel: &'a Path,
    pub initramfs: &'a Path,
    /// A file that is its disk, `/dev/vda`.
    pub disk: Option<&'a Path>,
    /// The kernel's list of security modules, in order.
    pub lsm: &'a str,
    /// More of its command line.
    pub append: &'a str,
    pub memory_mib: u32,
    /// After so long the guest is ended, whatever it does.
    pub limit: Duration,
}

/// What differs between emulated machines: QEMU's names, and the kernel's for the serial line.
struct Hardware {
    qemu: &'static str,
    machine: &'static str,
    processor: &'static str,
    console: &'static str,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All commands ran to their end.
    Done,
    /// In the guest's own words.
    Failed(String),
    /// The guest went away by itself: a panic, or QEMU's end.
    Died,
    /// It took longer than allowed.
    TooLong,
    /// Ctrl-C here.
    Stopped,
}

/// A guest's end and what its kernel printed.
pub struct Outcome {
    pub end: End,
    pub console: String,
    pub wall: Duration,
}

/// Ends QEMU with the value that holds it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    /// Boots it and hands each frame to `take` until the last one.
    ///
    /// A kernel that dies before its first program runs is booted again, and that is said: emulated processors don't always see
    /// code that another has just changed (the kernel's static keys), and nothing of what is tested has run by then.
    pub fn run(&self, stop: &Arc<AtomicBool>, mut take: impl FnMut(Frame)) -> Result<Outcome> {
        const BOOTS: u32 = 3;
        for _ in 1..BOOTS {
            let mut has_begun = false;
            let outcome = self.boot(stop, |frame| {
                has_begun = true;
                take(frame);
            })?;
            if has_begun || outcome.end != End::Died {
                return Ok(outcome);
            }
            println!("── the guest's kernel died before its first program ran; booting it again");
            println!("{}", complaint(&outcome.console).unwrap_or_default());
        }
        self.boot(stop, take)
    }

    fn boot(&self, stop: &Arc<AtomicBool>, mut take: impl FnMut(Frame)) -> Result<Outcome> {
        let start = Instant::now();
        let folder = TempDir::with_prefix("runner-agent-vm-").context("a folder for a guest's sockets")?;
        let (socket, console) = (folder.path().join("port"), folder.path().join("console"));
        let listener = UnixListener::bind(&socket).context("a socket for a guest's port")?;
        let mut qemu = self.command(&socket, &console);
        let errors = fs::File::create(folder.path().join("errors"))?;
        let child = qemu
            .stderr(errors)
            .spawn()
            .with_context(|| format!("{} can't be started; `cargo xtask setup --guests`", self.hardware().qemu))?;
        let mut process = Process(child);
        let end = self.listen(&listener, &mut process, start, stop, &mut take);
        drop(process);
        let mut text = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
        text.push_str(&fs::read_to_string(folder.path().join("errors")).unwrap_or_default());
        Ok(Outcome { end: end?, console: text, wall: start.elapsed() })
    }

    fn hardware(&self) -> Hardware {
        if self.target.arch == "aarch64" {
            // What hosted runners of this architecture have, and without what an emulator takes long for (signed pointers).
            Hardware { qemu: "qemu-system-aarch64", machine: "virt", processor: "neoverse-n1", console: "ttyAMA0" }
        } else {
            // Copying by `rep movsb` is what a processor is best at and an emulator worst: byte by byte, a sixth of its time.
            let processor = "max,erms=off,fsrm=off";
            Hardware { qemu: "qemu-system-x86_64", machine: "q35", processor, console: "ttyS0" }
        }
    }

    fn command(&self, socket: &Path, console: &Path) -> Command {
        let Hardware { qemu, machine, processor, console: line } = self.hardware();
        let mut qemu = Command::new(qemu);
        // Emulated everywhere, so that it is the same everywhere: a KVM that is there may not be one that boots a guest. By one
        // thread for both processors: with a thread each, one of them doesn't always see code of the kernel that the other has
        // just changed, which attaching a probe does, and dies (`Oops: int3`).
        qemu.args(["-machine", machine, "-accel", "tcg,thread=single", "-cpu", processor, "-smp", "2"]);
        qemu.args(["-m", &self.memory_mib.to_string(), "-nodefaults", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        let Self { lsm, append, .. } = self;
        qemu.arg("-append").arg(format!(
            "console={line} quiet panic=-1 mitigations=off init_on_alloc=0 rdinit=/init lsm={lsm} {append} -- vm-guest"
        ));
        if let Some(disk) = self.disk {
            // As written by the guest, and no word of what it has not written yet.
            qemu.arg("-drive").arg(prefixed("if=virtio,format=raw,cache=writeback,file=", disk));
        }
        qemu.arg("-serial").arg(prefixed("file:", console));
        qemu.arg("-chardev").arg(prefixed("socket,id=port,path=", socket));
        qemu.args(["-device", "virtio-serial-pci", "-device", &format!("virtserialport,chardev=port,name={PORT}")]);
        qemu.stdin(Stdio::null()).stdout(Stdio::null());
        qemu
    }

    fn listen(
        &self,
        listener: &UnixListener,
        process: &mut Process,
        start: Instant,
        stop: &Arc<AtomicBool>,
        take: &mut dyn FnMut(Frame),
    ) -> Result<End> {
        // QEMU connects before it starts the guest; until then it may refuse its arguments and be gone.
        listener.set_nonblocking(true)?;
        let stream: UnixStream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if process.0.try_wait()?.is_some() {
                        return Ok(End::Died);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error).context("a guest's port"),
            }
        };
        stream.set_nonblocking(false)?;
        // Frames are read on a thread, so that this one can look at the clock.
        let (sender, frames) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            loop {
                let frame = Frame::read(&mut stream);
                let last = !matches!(frame, Ok(Some(_)));
                if sender.send(frame).is_err() || last {
                    return;
                }
            }
        });
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            if start.elapsed() > self.limit {
                return Ok(End::TooLong);
            }
            match frames.recv_timeout(Duration::from_millis(100)) {
                Ok(Ok(Some(Frame::Done))) => return Ok(End::Done),
                Ok(Ok(Some(Frame::Failed(why)))) => return Ok(End::Failed(why)),
                Ok(Ok(Some(frame))) => take(frame),
                Ok(Ok(None)) => return Ok(End::Died),
                Ok(Err(error)) => return Ok(End::Failed(error.to_string())),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => bail!("the reader of a guest's port died"),
            }
        }
    }
}

fn prefixed(prefix: &str, path: &Path) -> PathBuf {
    let mut text = std::ffi::OsString::from(prefix);
    text.push(path);
    text.into()
}

/// What a kernel prints when something is wrong with it. A stalled processor is not among them: on a busy machine an
/// emulated one may stand still for longer than a kernel likes.
const COMPLAINTS: &[&str] =
    &["Kernel panic", "BUG:", "Oops", "WARNING:", "general protection fault", "kernel BUG at", "refcount_t:", "KASAN"];

/// The console from the first complaint on, its length bounded; `None` when the kernel had none.
pub fn complaint(console: &str) -> Option<String> {
    const LINES: usize = 40;
    let lines: Vec<&str> = console.lines().collect();
    let first = lines.iter().position(|line| COMPLAINTS.iter().any(|word| line.contains(word)))?;
    Some(lines[first..].iter().take(LINES).map(|line| line.trim_end()).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_complains_is_quoted_from_there_on() {
        let console = "[    1.0] booting\n[    2.0] WARNING: CPU: 0 PID: 1 at kernel/x.c:1\n[    2.0] RIP: 0010:x\n";
        assert!(complaint(console).is_some_and(|text| text.starts_with("[    2.0] WARNING") && text.contains("RIP")));
        assert_eq!(complaint("[    1.0] all is well\n"), None);
    }
}
