//! Disks opened past their file systems, by whatever name.

use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;

use end_to_end::{Run, needs};

use crate::shell;

/// The device of the file system that holds what tests run, where that is a disk's.
fn disk() -> Option<String> {
    let device = fs::metadata(crate::ACT).ok()?.st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let said = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
    let name = said.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Path::new("/dev").join(name).exists().then(|| format!("/dev/{name}"))
}

/// The verdict on each open of the disk; nothing of it is read.
fn verdicts(run: &Run, path: &str) -> Vec<String> {
    let attempts = run.log.of("attempt").filter(|line| line.text("operation") == "disk" && line.text("path") == path);
    attempts.map(|line| line.text("verdict").to_owned()).collect()
}

#[test]
fn a_disk_in_use_is_told_and_refused_where_a_hook_is_whatever_its_file_is_called() {
    needs!(disk().is_some(), "what tests run lies on no disk");
    let disk = disk().expect("just asked");
    needs!(fs::File::open(&disk).is_ok(), "this machine lets nobody open its disk");
    for mode in ["audit", "block"] {
        let script =
            format!("exec 3<{disk}; exec 4</dev/null; mknod own b $(stat -c '0x%t 0x%T' {disk}) && exec 5<own; true");
        let job = shell(&script).option("--mode").option(mode);
        let own = job.path("own");
        let run = job.run().nothing_lost();
        let verdict = if mode == "block" && run.log.tier() == "tracing" { "blocked" } else { "audited" };
        assert_eq!(verdicts(&run, &disk), [verdict], "{}", run.stderr);
        assert_eq!(verdicts(&run, &own), [verdict], "{}", run.stderr);
        assert!(run.log.findings("kernel-tampering").next().is_some());
    }
}
