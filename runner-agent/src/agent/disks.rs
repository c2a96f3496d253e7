//! The disks that are in use: whoever reads or writes one past its file systems reads or writes every file on it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use runner_agent_common::guard::{disk_key, guarded};
use runner_agent_common::map::FileKey;

use crate::kernel::procfs::device_number;
use crate::kernel::watch::kernel_device;

/// Drivers that pass commands to disks without the block layer, by the names of their classes in sysfs.
const PAST_THE_BLOCK_LAYER: [&str; 4] = ["scsi_generic", "bsg", "nvme", "nvme-generic"];

/// Block devices with a mounted file system or swap, the disks that they are parts or layers of, and the ways around their drivers:
/// with the bit that guards them.
pub(super) fn in_use() -> Vec<(FileKey, u32)> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut disks = BTreeSet::new();
    for device in mounted(&text("/proc/self/mountinfo")).chain(swapped(&text("/proc/swaps"))) {
        with_what_is_below(Path::new("/sys/dev/block"), device, &mut disks);
    }
    let around = PAST_THE_BLOCK_LAYER
        .iter()
        .filter_map(|class| fs::read_dir(Path::new("/sys/class").join(class)).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| number(&entry.path().join("dev")))
        .map(|device| disk_key(device, false));
    disks.into_iter().map(|device| disk_key(device, true)).chain(around).map(|key| (key, guarded::DISK)).collect()
}

/// Devices of a mount table (proc(5), mountinfo). File systems over several disks have a number of no disk there; what stands as
/// their source is one of them.
fn mounted(table: &str) -> impl Iterator<Item = u32> {
    table.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let device = device_number(mount.split(' ').nth(2)?)?;
        if major(device) == 0 { block_device(system.split(' ').nth(1)?) } else { Some(device) }
    })
}

/// Devices of the table of swap; a swap file is on a mounted one.
fn swapped(table: &str) -> impl Iterator<Item = u32> {
    table.lines().skip(1).filter_map(|line| block_device(line.split_whitespace().next()?))
}

fn block_device(path: &str) -> Option<u32> {
    let found = fs::metadata(path).ok()?;
    found.file_type().is_block_device().then(|| kernel_device(found.rdev()))
}

/// A device, the disk that it is a partition of, and the devices that it is a layer over (`slaves` in sysfs).
fn with_what_is_below(sysfs: &Path, device: u32, all: &mut BTreeSet<u32>) {
    if !all.insert(device) {
        return;
    }
    let Ok(folder) = sysfs.join(format!("{}:{}", major(device), minor(device))).canonicalize() else { return };
    let disk = if folder.join("partition").exists() { number(&folder.join("../dev")) } else { None };
    let slaves = fs::read_dir(folder.join("slaves")).into_iter().flatten().flatten();
    for below in disk.into_iter().chain(slaves.filter_map(|slave| number(&slave.path().join("dev")))) {
        with_what_is_below(sysfs, below, all);
    }
}

/// A device number from a file of sysfs.
fn number(file: &Path) -> Option<u32> {
    device_number(fs::read_to_string(file).ok()?.trim())
}

const MINOR_BITS: u32 = 20;

fn major(device: u32) -> u32 {
    device >> MINOR_BITS
}

fn minor(device: u32) -> u32 {
    device & ((1 << MINOR_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_devices_are_those_of_disks() {
        let table = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n23 22 0:21 / /proc rw - proc proc rw\n\
                     24 22 0:30 / /data rw - btrfs /nowhere/sdb rw\n";
        assert_eq!(mounted(table).collect::<Vec<_>>(), [8 << MINOR_BITS | 1]);
        assert_eq!(swapped("Filename Type Size\n/nowhere/swap file 1\n").count(), 0);
    }

    #[test]
    fn a_layer_leads_to_the_partition_below_and_that_to_its_disk() {
        let sysfs = tempfile::tempdir().unwrap();
        let folder = |path: &str, device: &str| {
            let folder = sysfs.path().join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("dev"), device).unwrap();
            std::os::unix::fs::symlink(&folder, sysfs.path().join(device.trim())).unwrap();
            folder
        };
        folder("sda", "8:0\n");
        let partition = folder("sda/sda1", "8:1\n");
        fs::write(partition.join("partition"), "1\n").unwrap();
        let layer = folder("dm-0", "253:0\n");
        fs::create_dir(layer.join("slaves")).unwrap();
        std::os::unix::fs::symlink(&partition, layer.join("slaves/sda1")).unwrap();
        let mut all = BTreeSet::new();
        with_what_is_below(sysfs.path(), device_number("253:0").unwrap(), &mut all);
        assert_eq!(all, ["8:0", "8:1", "253:0"].map(|text| device_number(text).unwrap()).into());
    }
}
