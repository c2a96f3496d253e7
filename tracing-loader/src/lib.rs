//! Loads programs that stand before a function of the kernel: by `fmod_ret` on a `security_*` function, by the LSM hook of
//! the same name, or by `fentry`, which only watches.
//!
//! `fmod_ret` denies on kernels whose list of security modules lacks `bpf`, which is what hosted runners have. aya (0.14)
//! doesn't know this attach type, so this crate does the three calls itself: parse and relocate by `aya-obj`, then
//! `BPF_PROG_LOAD` and `BPF_RAW_TRACEPOINT_OPEN` (`linux/bpf.h`). One program serves all three ways: each hands it the
//! function's arguments as one array.

mod object;
mod sys;

pub use object::{MapHandle, Object, ObjectError};
pub use sys::{Refused, pin, verified_instructions};

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// How a program stands before a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It runs before the function, and what it returns other than 0 is returned instead of calling it.
    ModifyReturn,
    /// It is one of the security modules; works where `bpf` is in the kernel's list of them.
    Lsm,
    /// It runs before the function and can't refuse.
    Entry,
}

/// A program that the verifier has accepted.
#[derive(Debug)]
pub struct Loaded {
    program: OwnedFd,
}

impl Loaded {
    /// Has the verifier look at instructions for the function with this BTF id.
    ///
    /// `name` is for people and cut to 15 bytes. Fails with the kernel's word and the end of the verifier's.
    pub fn load(
        name: &str,
        instructions: &[aya_obj::generated::bpf_insn],
        licence: &CStr,
        way: Way,
        function: u32,
    ) -> Result<Self, Refused> {
        sys::load(name, instructions, licence, way, function).map(|program| Self { program })
    }

    /// A program that does nothing, to see whether its kind is accepted at all.
    pub fn nothing(way: Way, function: u32) -> Result<Self, Refused> {
        const MOV64_IMM: u8 = 0xb7;
        const EXIT: u8 = 0x95;
        let mut instructions = [sys::instruction(MOV64_IMM), sys::instruction(EXIT)];
        instructions[0].imm = 0;
        Self::load("nothing", &instructions, c"Dual MIT/GPL", way, function)
    }

    /// Puts it in its place. It stays there as long as the link is open or pinned.
    pub fn attach(&self) -> std::io::Result<OwnedFd> {
        sys::attach(&self.program)
    }

    /// The program.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd as _;
        self.program.as_fd()
    }
}
