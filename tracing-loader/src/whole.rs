//! Programs that are hardly ever preempted in their midst.
//!
//! The kernel marks for each CPU that a program runs there, and while the mark stands it leaves out every other run of the same
//! program on that CPU (`__bpf_prog_enter_recur`, `__bpf_trace_run`). Where a program can be preempted in its midst, whoever comes
//! to the CPU then goes by unseen, and is not refused what `fmod_ret` was to refuse, until the one that was preempted goes on.
//! Tracing programs can be preempted wherever the kernel can, raw tracepoints since 7.0.
//!
//! From 6.14 on programs may turn preemption and interrupts off and on. Preemption alone doesn't help: what came due meanwhile
//! happens as it is turned on again, which is before the mark is taken away. So it is turned on with interrupts off, where the kernel
//! doesn't look whether something is due, and that waits until the next interrupt. What is left are the instants between the mark
//! and the program at either end, and an interrupt that comes while they are off.

use aya_obj::generated::{BPF_PSEUDO_CALL, bpf_insn};

use crate::sys;

/// BTF ids of the kernel's functions that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preemption {
    off: u32,
    on: u32,
    save_interrupts: u32,
    restore_interrupts: u32,
}

impl Preemption {
    /// Names of the functions.
    pub const FUNCTIONS: [&str; 4] =
        ["bpf_preempt_disable", "bpf_preempt_enable", "bpf_local_irq_save", "bpf_local_irq_restore"];

    /// With their ids, in the same order; nothing unless the kernel has them all.
    pub fn with(ids: &[Option<u32>]) -> Option<Self> {
        match ids {
            &[Some(off), Some(on), Some(save_interrupts), Some(restore_interrupts)] => {
                Some(Self { off, on, save_interrupts, restore_interrupts })
            }
            _ => None,
        }
    }

    /// A program that turns preemption off, calls the one that is given, and turns it on again. What is given becomes a function
    /// of it; it keeps its own references, which are relative.
    pub(crate) fn around(self, program: &[bpf_insn]) -> Vec<bpf_insn> {
        /// How many instructions there are from the call to the program.
        const TO_PROGRAM: u32 = 10;
        /// Where on its stack the program has what the interrupts were.
        const INTERRUPTS: i32 = -8;
        /// `BPF_PSEUDO_KFUNC_CALL`.
        const OF_KERNEL: u8 = 2;
        const CALL: u8 = 0x85;
        const MOVE: u8 = 0xbf;
        const ADD: u8 = 0x07;
        const EXIT: u8 = 0x95;
        // r0 is what a call returns, r1 what it is given, r10 the end of the stack; r6 a call leaves alone.
        let copy = |to, from| bpf_insn { _bitfield_1: bpf_insn::new_bitfield_1(to, from), ..sys::instruction(MOVE) };
        let add =
            |to, what| bpf_insn { _bitfield_1: bpf_insn::new_bitfield_1(to, 0), imm: what, ..sys::instruction(ADD) };
        let call = |whose, what: u32| bpf_insn {
            _bitfield_1: bpf_insn::new_bitfield_1(0, whose),
            imm: what.cast_signed(),
            ..sys::instruction(CALL)
        };
        let mut whole = vec![
            copy(6, 1),
            call(OF_KERNEL, self.off),
            copy(1, 6),
            call(BPF_PSEUDO_CALL as u8, TO_PROGRAM),
            copy(6, 0),
            copy(1, 10),
            add(1, INTERRUPTS),
            call(OF_KERNEL, self.save_interrupts),
            call(OF_KERNEL, self.on),
            copy(1, 10),
            add(1, INTERRUPTS),
            call(OF_KERNEL, self.restore_interrupts),
            copy(0, 6),
            sys::instruction(EXIT),
        ];
        whole.extend_from_slice(program);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_leads_to_the_first_instruction_of_the_program() {
        let program = [sys::instruction(0xb7), sys::instruction(0x95)];
        assert_eq!(Preemption::with(&[Some(70), Some(71), None, None]), None);
        let whole = Preemption::with(&[Some(70), Some(71), Some(72), Some(73)]).unwrap().around(&program);
        let calls: Vec<_> = whole.iter().enumerate().filter(|(_, instruction)| instruction.code == 0x85).collect();
        let targets: Vec<_> = calls.iter().map(|(_, call)| (call.src_reg(), call.imm)).collect();
        assert_eq!(targets, [(2, 70), (1, 10), (2, 72), (2, 71), (2, 73)]);
        let (at, call) = calls[1];
        let first = at + 1 + usize::try_from(call.imm).unwrap();
        assert_eq!((first, whole.len()), (whole.len() - program.len(), 16));
        assert_eq!(whole[first].code, 0xb7);
    }
}
