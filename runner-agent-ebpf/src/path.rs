//! From a `struct path` to the path's text, by the directory entries and mounts themselves.
//!
//! What is read is what the kernel resolved, not what the program passed: `..`, symbolic links, directory descriptors,
//! `/proc/self/root` and bind mounts are already behind us. The walk ends at the root of the mount namespace.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use zerocopy::FromBytes;

use crate::kernel::{Address, offset, pointer, read};
use crate::maps::{PATH_BYTES, Scratch};

/// Components that a walk takes at most; deeper paths lose their front and are flagged.
const MAX_COMPONENTS: u32 = 80;

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

/// What a walk needs of that: a probe's stack is short, and the walk is deep in it.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct Step {
    parent: Address,
    hash: u32,
    len: u32,
    name: Address,
}

/// Where the inline name stands, from `d_parent` on.
pub const INLINE_NAME: u64 = 32;

/// A place in the tree: a directory entry in a mount. The kernel's `struct path` has the same two fields; user space
/// checks that they stand in this order.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
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
        read(path)
    }

    /// The directory entry's front.
    #[inline(always)]
    pub fn entry(&self) -> Dentry {
        read(self.dentry + offset!(dentry_parent))
    }

    /// The place that this mount covers; at the root of everything that is the place itself.
    #[inline(always)]
    pub fn covered(&self) -> Self {
        let mount = self.mount - offset!(mount_mnt);
        let parent = pointer(mount, offset!(mount_parent));
        Self { mount: parent + offset!(mount_mnt), dentry: pointer(mount, offset!(mount_mountpoint)) }
    }

    /// The directory entry that is the root of this mount.
    #[inline(always)]
    pub fn mount_root(&self) -> Address {
        pointer(self.mount, offset!(vfsmount_root))
    }
}

/// Writes the path into the scratch buffer's path area, from its end, and leaves where it starts in `path_start` and
/// whether its front is missing in `path_truncated`. The path is `path_start..PATH_BYTES`.
///
/// Results go through memory and choices are made by arithmetic, because the verifier walks every path through every
/// round: one branch more in this loop doubles its work, and it gives up at a million instructions.
#[inline(never)]
pub fn walk(path: Address, scratch: &mut Scratch) {
    let mut place = Place::of(path);
    let mut start = PATH_BYTES as u32;
    scratch.path_truncated = 1;
    for _ in 0..MAX_COMPONENTS {
        let entry: Step = read(place.dentry + offset!(dentry_parent));
        let covered = place.covered();
        let is_mount_root = equal(place.mount_root(), place.dentry);
        let is_top_mount = equal(covered.mount, place.mount);
        // A root without a mount above it: memfd, sockets, pipes, detached mounts. Its name is all there is.
        let is_alone = equal(entry.parent, place.dentry) & !is_mount_root;
        // At a mount's root there is no name to add; the directory it is mounted on has one.
        let len = (entry.len & 0xff) & !(is_mount_root as u32);
        let longer = len + (1 & !(is_mount_root as u32));
        if start < longer {
            break;
        }
        start = (start - longer) & (2 * PATH_BYTES as u32 - 1);
        if start > PATH_BYTES as u32 {
            break;
        }
        write_name(scratch, start, len, entry.name);
        if (is_mount_root & is_top_mount) | is_alone != 0 {
            scratch.path_truncated = 0;
            break;
        }
        place = Place {
            mount: choose(is_mount_root, covered.mount, place.mount),
            dentry: choose(is_mount_root, covered.dentry, entry.parent),
        };
    }
    // The root directory itself is `/`, not nothing.
    if start == PATH_BYTES as u32 {
        scratch.path[PATH_BYTES - 1] = b'/';
        start = PATH_BYTES as u32 - 1;
    }
    scratch.path_start = start;
}

/// All ones when both are the same, else zero; without a branch.
#[inline(always)]
fn equal(a: u64, b: u64) -> u64 {
    let difference = a ^ b;
    // Opaque, or the compiler recognises the comparison and makes a branch of it.
    let negated = core::hint::black_box(difference.wrapping_neg());
    core::hint::black_box(((difference | negated) >> 63).wrapping_sub(1))
}

/// `yes` where the mask is set, else `no`; without a branch.
#[inline(always)]
fn choose(mask: u64, yes: u64, no: u64) -> u64 {
    (yes & mask) | (no & !mask)
}

#[inline(always)]
fn write_name(scratch: &mut Scratch, start: u32, len: u32, name: Address) {
    // SAFETY: `start` is at most PATH_BYTES and `len` below 256, and the area has 257 bytes of slack behind PATH_BYTES.
    let target = unsafe { scratch.path.as_mut_ptr().add(start as usize) };
    // SAFETY: as above.
    unsafe { target.write(b'/') };
    // SAFETY: as above; one byte further still lies within the slack.
    let target = unsafe { target.add(1) };
    // SAFETY: `len` bytes from `target` lie within the area; the helper checks the source.
    unsafe { bpf_probe_read_kernel(target.cast(), len, name as *const _) };
}

/// Copies the path that [`walk`] built behind the first `at` bytes of the record, and returns its length.
///
/// `at` must not exceed 8448, so that a whole path fits behind it.
#[inline(always)]
pub fn append(scratch: &mut Scratch, at: u32) -> u32 {
    let start = scratch.path_start & (2 * PATH_BYTES as u32 - 1);
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
