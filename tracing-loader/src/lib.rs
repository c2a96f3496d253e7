//! Loads programs that trace: on raw tracepoints, and before a function of the kernel by `fmod_ret` on a `security_*`
//! function, by the LSM hook of the same name, or by `fentry`, which only watches.
//!
//! `fmod_ret` denies on kernels whose list of security modules lacks `bpf`, which is what hosted runners have. aya (0.14)
//! doesn't know this attach type, nor what the kernel left out of a program's runs, so this crate makes the calls itself: parse
//! and relocate by `aya-obj`, then `BPF_PROG_LOAD` and `BPF_RAW_TRACEPOINT_OPEN` (`linux/bpf.h`). One program serves all three
//! ways before a function: each hands it the function's arguments as one array.

mod object;
mod sys;
mod whole;

pub use object::{MapHandle, Object, ObjectError};
pub use sys::{Refused, open_pin, pin};
pub use whole::Preemption;

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

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

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the raw tracepoint of this name.
    Tracepoint(&'static CStr),
    /// Before the function with this BTF id.
    Function(Way, u32),
}

impl Place {
    /// The kernel runs a security module each time.
    fn is_never_skipped(self) -> bool {
        matches!(self, Self::Function(Way::Lsm, _))
    }
}

/// A program that the verifier has accepted.
#[derive(Debug)]
pub struct Loaded {
    program: Program,
    place: Place,
    is_whole: bool,
    /// As the verifier said it.
    processed: Option<u32>,
}

impl Loaded {
    /// Has the verifier look at instructions for a place.
    ///
    /// `name` is for people and cut to 15 bytes. With the functions for it, preemption is off while the program runs, unless the
    /// kernel takes the program without them alone. Fails with the kernel's word and the end of the verifier's.
    pub fn load(
        name: &str,
        instructions: &[aya_obj::generated::bpf_insn],
        licence: &CStr,
        place: Place,
        preemption: Option<Preemption>,
    ) -> Result<Self, Refused> {
        // The kernel leaves out no run of a security module.
        let preemption = preemption.filter(|_| !place.is_never_skipped());
        let whole = preemption
            .and_then(|preemption| sys::load_once(name, &preemption.around(instructions), licence, place).ok());
        let is_whole = whole.is_some() || place.is_never_skipped();
        let (program, processed) = whole.map_or_else(|| sys::load(name, instructions, licence, place), Ok)?;
        Ok(Self { program: Program(program), place, is_whole, processed })
    }

    /// A program that does nothing, to see whether its kind is accepted at all.
    pub fn nothing(place: Place) -> Result<Self, Refused> {
        const MOV64_IMM: u8 = 0xb7;
        const EXIT: u8 = 0x95;
        let instructions = [sys::instruction(MOV64_IMM), sys::instruction(EXIT)];
        Self::load("nothing", &instructions, c"Dual MIT/GPL", place, None)
    }

    /// Whether no run of it is left out but for those that come in the first or last instants of another.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Instructions that the verifier went through.
    pub fn verified_instructions(&self) -> Option<u32> {
        // Kernels before 5.16 say it in the log alone.
        self.program.figures().ok().and_then(|figures| figures.verified_instructions).or(self.processed)
    }

    /// Puts it in its place. It stays there as long as the link is open or pinned.
    pub fn attach(&self) -> std::io::Result<OwnedFd> {
        sys::attach(self.program.0.as_fd(), self.place)
    }

    /// The program, wherever it is put.
    pub fn program(&self) -> &Program {
        &self.program
    }
}

/// A program that the kernel has.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// The program of a link. Needs `CAP_SYS_ADMIN`.
    pub fn of_link(link: BorrowedFd<'_>) -> std::io::Result<Self> {
        sys::program_of(link).map(Self)
    }

    /// What the kernel says of it.
    pub fn figures(&self) -> std::io::Result<Figures> {
        sys::figures(self.0.as_fd())
    }
}

/// What the kernel says of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Instructions that the verifier went through; `None` where the kernel (before 5.16) doesn't tell.
    pub verified_instructions: Option<u32>,
    /// Runs that the kernel left out, because one on the same CPU had begun and not ended; `None` where it (before 5.12) doesn't
    /// tell. The kernel of that time leaves out none.
    pub skipped_runs: Option<u64>,
}
