//! The whole runner as scope: everything on the machine is held to one job's policy, but for the agent and the platform's
//! own services. Keys of the maps that both sides share.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A service of the platform: a program in a cgroup. Neither is enough by itself.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ServiceKey {
    /// Id of the cgroup (v2) that the process is in.
    pub cgroup: u64,
    /// Inode number of the file that it was started from.
    pub inode: u64,
    /// Device of that file, in the kernel's own encoding (major << 20 | minor).
    pub device: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Services at most.
pub const SERVICES: u32 = 4096;
