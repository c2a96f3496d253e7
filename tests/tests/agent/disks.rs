//! Disks opened past their file systems, by whatever name: the one that holds what tests run, and in a guest, which has none, some
//! that the test makes of files.

use std::fs;
use std::io::Write as _;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::{Run, host, needs};
use tempfile::TempDir;

use crate::shell;

/// What is opened.
struct Disks {
    in_use: Vec<String>,
    /// A disk that nobody uses, where there is one.
    free: Option<String>,
    /// Where they were made for this.
    _made: Option<Made>,
}

/// What goes away with the test, the last first.
struct Made {
    folder: TempDir,
    undo: Vec<Vec<String>>,
}

impl Drop for Made {
    fn drop(&mut self) {
        for words in self.undo.iter().rev() {
            let _ = Command::new(&words[0]).args(&words[1..]).status();
        }
    }
}

impl Made {
    /// Runs a command, and returns what it says.
    fn run(words: &[&str]) -> Result<String, String> {
        let output =
            Command::new(words[0]).args(&words[1..]).output().map_err(|error| format!("{}: {error}", words[0]))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn undo(&mut self, words: &[&str]) {
        self.undo.push(words.iter().map(|&word| word.to_owned()).collect());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A disk that begins with these bytes.
    fn disk(&mut self, name: &str, bytes: &[u8]) -> Result<String, String> {
        const SIZE: u64 = 16 << 20;
        let path = self.path(name);
        let mut image = fs::File::create(&path).expect("a file can be made");
        image.write_all(bytes).and_then(|()| image.set_len(SIZE)).expect("a file of some MiB can be made");
        let path = path.to_str().expect("test paths are text");
        let disk = Self::run(&["losetup", "--find", "--show", "--partscan", path])?;
        self.undo(&["losetup", "--detach", &disk]);
        Ok(disk)
    }

    /// A disk whose one partition has a mounted file system, both by name; one with swap; and one that nobody uses.
    fn disks() -> Result<Disks, String> {
        let folder = tempfile::Builder::new().prefix("runner-agent-e2e-disks-").tempdir().expect("a folder");
        let mut made = Self { folder, undo: Vec::new() };
        let parted = made.disk("parted", &partition_table())?;
        let part = format!("{parted}p1");
        Self::run(&["mkfs.ext4", "-q", &part])?;
        let mounted = made.path("mounted");
        fs::create_dir(&mounted).expect("a folder can be made");
        let mounted = mounted.to_str().expect("test paths are text");
        Self::run(&["mount", "-t", "ext4", &part, mounted])?;
        made.undo(&["umount", mounted]);
        let swap = made.disk("swap", &[])?;
        Self::run(&["mkswap", &swap])?;
        Self::run(&["swapon", &swap])?;
        made.undo(&["swapoff", &swap]);
        let free = made.disk("free", &[])?;
        Ok(Disks { in_use: vec![parted, part, swap], free: Some(free), _made: Some(made) })
    }
}

/// A master boot record with one partition, from the first MiB to the sixteenth.
fn partition_table() -> [u8; 512] {
    const FIRST: u32 = 2048;
    const SECTORS: u32 = 15 * 2048;
    const LINUX: u8 = 0x83;
    let mut sector = [0; 512];
    let entry = &mut sector[446..462];
    entry[4] = LINUX;
    entry[8..12].copy_from_slice(&FIRST.to_le_bytes());
    entry[12..].copy_from_slice(&SECTORS.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The device of the file system that holds what tests run, where that is a disk's.
fn disk() -> Option<String> {
    let device = fs::metadata(crate::ACT).ok()?.st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let said = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
    let name = said.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Path::new("/dev").join(name).exists().then(|| format!("/dev/{name}"))
}

/// The disks to open, or why there are none.
fn disks() -> Result<Disks, String> {
    if host::is_guest() {
        return Made::disks();
    }
    let disk = disk().ok_or("what tests run lies on no disk")?;
    match fs::File::open(&disk) {
        Ok(_) => Ok(Disks { in_use: vec![disk], free: None, _made: None }),
        Err(_) => Err("this machine lets nobody open its disk".to_owned()),
    }
}

/// The verdict on each open of the disk; nothing of it is read.
fn verdicts(run: &Run, path: &str) -> Vec<String> {
    let attempts = run.log.of("attempt").filter(|line| line.text("operation") == "disk" && line.text("path") == path);
    attempts.map(|line| line.text("verdict").to_owned()).collect()
}

#[test]
fn a_disk_in_use_is_told_and_refused_where_a_hook_is_whatever_its_file_is_called() {
    needs!();
    let disks = disks();
    needs!(disks.is_ok(), disks.as_ref().err().expect("just asked"));
    let disks = disks.expect("just asked");
    for mode in ["audit", "block"] {
        let opens = |path: &str| format!("(exec 3<{path}) && echo opened {path}; ");
        let in_use = disks.in_use.iter().enumerate().map(|(number, disk)| {
            let own = format!("own{number}");
            let numbers = format!("$(stat -c '0x%t 0x%T' {disk})");
            format!("{}mknod {own} b {numbers}; {}", opens(disk), opens(&own))
        });
        let script: String = in_use.chain(disks.free.iter().map(|disk| opens(disk))).collect();
        let job = shell(&(script + "true")).option("--mode").option(mode);
        let home = job.home().to_owned();
        let run = job.run().nothing_lost();
        let is_refused = mode == "block" && run.log.tier() == "tracing";
        let was_opened = |path: &str| run.stdout.lines().any(|line| line.strip_prefix("opened ") == Some(path));
        for (number, disk) in disks.in_use.iter().enumerate() {
            let own = format!("own{number}");
            for (path, called) in [(disk.clone(), disk), (home.join(&own).display().to_string(), &own)] {
                assert_eq!(verdicts(&run, &path), [if is_refused { "blocked" } else { "audited" }], "{}", run.stderr);
                assert_eq!(was_opened(called), !is_refused, "{called}: {}", run.stdout);
            }
        }
        if let Some(disk) = &disks.free {
            assert!(verdicts(&run, disk).is_empty() && was_opened(disk), "{}", run.stdout);
        }
        assert!(run.log.findings("kernel-tampering").next().is_some());
    }
}
