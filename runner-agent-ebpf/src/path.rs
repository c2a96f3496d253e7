//! From a `struct path` to the path's text, by the directory entries and mounts themselves.
//!
//! What is read is what the kernel resolved, not what the program passed: `..`, symbolic links, directory descriptors,
//! `/proc/self/root` and bind mounts are already behind us. The walk ends at the root of the mount namespace.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use zerocopy::FromBytes;

use crate::kernel::{Address, offset, pointer, read};
use crate::maps::{PATH_BYTES, Scratch};

/// Components that a walk takes at most; deeper paths lose their front and are flagged.
const MAX_COMPONENTS: u32 = 160;

/// The front of a `struct dentry` from `d_parent` on. User space checks that this kernel's layout is this one.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
pub struct Dentry {
    /// `d_parent`.
    pub parent: Address,
    /// `d_name.hash`.
    pub hash: u32,
    /// `d_name.len`.
    pub len: u32,
    /// `d_name.name`.
    pub name: Address,
    /// `d_inode`.
    pub inode: Address,
    /// `d_iname` or `d_shortname`: holds names of up to 31 bytes.
    pub inline_name: [u64; 4],
}

/// Where the inline name stands, from `d_parent` on.
pub const INLINE_NAME: u64 = 32;

/// A place in the tree: a directory entry in a mount.
#[derive(Clone, Copy)]
pub struct Place {
    /// `struct vfsmount`.
    pub mount: Address,
    /// `struct dentry`.
    pub dentry: Address,
}

impl Place {
    /// Reads a `struct path`.
    #[inline(always)]
    pub fn of(path: Address) -> Self {
        Self { mount: pointer(path, offset!(path_mnt)), dentry: pointer(path, offset!(path_dentry)) }
    }

    /// The directory entry's front.
    #[inline(always)]
    pub fn entry(&self) -> Dentry {
        read(self.dentry + offset!(dentry_parent))
    }

    /// If this is the root of its mount, the place that the mount covers; `None` at the root of everything.
    #[inline(always)]
    pub fn below_mount(&self) -> Option<Self> {
        let mount = self.mount - offset!(mount_mnt);
        let parent = pointer(mount, offset!(mount_parent));
        if parent == mount || parent == 0 {
            return None;
        }
        Some(Self { mount: parent + offset!(mount_mnt), dentry: pointer(mount, offset!(mount_mountpoint)) })
    }

    /// Whether this is the root of its mount.
    #[inline(always)]
    pub fn is_mount_root(&self) -> bool {
        pointer(self.mount, offset!(vfsmount_root)) == self.dentry
    }
}

/// Writes the path into the scratch buffer's path area, from its end, and returns where it starts, with bit 31 set when
/// its front is missing. The path is `start..PATH_BYTES`.
#[inline(never)]
pub fn walk(path: Address, scratch: &mut Scratch) -> u32 {
    let mut place = Place::of(path);
    let mut start = PATH_BYTES as u32;
    for _ in 0..MAX_COMPONENTS {
        let entry = place.entry();
        if place.is_mount_root() {
            match place.below_mount() {
                Some(below) => {
                    place = below;
                    continue;
                }
                None => return finish(start, scratch),
            }
        }
        if entry.parent == place.dentry {
            // A root without a mount above it: memfd, sockets, pipes, detached mounts. Its name is all there is.
            return finish(prepend(start, &entry, scratch).unwrap_or(start), scratch);
        }
        match prepend(start, &entry, scratch) {
            Some(longer) => start = longer,
            None => return start | TRUNCATED,
        }
        place.dentry = entry.parent;
    }
    start | TRUNCATED
}

/// Set in the result of [`walk`] when the path's front is missing.
pub const TRUNCATED: u32 = 1 << 31;

/// The root directory itself is `/`, not nothing.
#[inline(always)]
fn finish(start: u32, scratch: &mut Scratch) -> u32 {
    if start == PATH_BYTES as u32 {
        scratch.path[PATH_BYTES - 1] = b'/';
        return PATH_BYTES as u32 - 1;
    }
    start
}

#[inline(always)]
fn prepend(start: u32, entry: &Dentry, scratch: &mut Scratch) -> Option<u32> {
    let len = entry.len & 0xff;
    if start < len + 1 {
        return None;
    }
    let start = (start - len - 1) & (PATH_BYTES as u32 - 1);
    // SAFETY: `start` is below PATH_BYTES and `len` below 256, and the area has 256 bytes of slack behind PATH_BYTES.
    let target = unsafe { scratch.path.as_mut_ptr().add(start as usize) };
    // SAFETY: as above.
    unsafe { target.write(b'/') };
    // SAFETY: as above; one byte further still lies within the slack.
    let name = unsafe { target.add(1) };
    // SAFETY: `len` bytes from `name` lie within the area; the helper checks the source.
    unsafe { bpf_probe_read_kernel(name.cast(), len, entry.name as *const _) };
    Some(start)
}

/// Copies a path that [`walk`] built behind the first `at` bytes of the record, and returns its length.
///
/// `at` must not exceed 8448, so that a whole path fits behind it.
#[inline(always)]
pub fn append(scratch: &mut Scratch, at: u32, walked: u32) -> u32 {
    let start = (walked & !TRUNCATED) & (2 * PATH_BYTES as u32 - 1);
    if start > PATH_BYTES as u32 || at > 8448 {
        return 0;
    }
    let len = (PATH_BYTES as u32 - start) & (2 * PATH_BYTES as u32 - 1);
    if len > PATH_BYTES as u32 {
        return 0;
    }
    // SAFETY: `start + len` is PATH_BYTES.
    let source = unsafe { scratch.path.as_ptr().add(start as usize) };
    // SAFETY: `at + len` is at most 8448 + 4096, and the record has 16384 bytes.
    let target = unsafe { scratch.record.as_mut_ptr().add(at as usize) };
    // SAFETY: both ranges lie within the scratch buffer and in different fields of it.
    unsafe { bpf_probe_read_kernel(target.cast(), len, source.cast()) };
    len
}
