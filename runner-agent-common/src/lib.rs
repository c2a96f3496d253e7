//! The contract that both sides of runner-agent know: records on the rings, map keys and values, and the offsets that
//! user space reads from the kernel's BTF and hands to the probes.
//!
//! Everything here is plain bytes: integers and byte arrays, no padding, no `bool`, no enum. The `zerocopy` derives
//! refuse anything else at compile time. Records travel in native byte order: both ends are the same machine.
#![no_std]

pub mod address;
pub mod decide;
pub mod egress;
pub mod guard;
pub mod map;
pub mod netlink;
pub mod offsets;
pub mod record;
pub mod runner;
