//! The one way onto a ring: every attempt is counted as seen, and then as submitted, ring full, oversize or busy.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_ringbuf_output};
use aya_ebpf::maps::RingBuf;
use runner_agent_common::map::Counters;
use zerocopy::{Immutable, IntoBytes};

use crate::maps::{COUNTERS, RECORD_BYTES, SCRATCH, SCRATCH_HELD, SCRATCH_SLOTS, Scratch};

/// User space is woken each time another so many bytes wait on a ring; in between it comes by itself every few
/// milliseconds. A wake-up costs ten times what the probe does. A power of two.
const WAKE_EACH_BYTES: u64 = 128 * 1024;

/// A record that finds at most so many bytes behind the mark is the one that wakes; shorter than most records.
const WAKE_WINDOW_BYTES: u64 = 256;

/// Adds one to a counter. Atomic, because a probe can be preempted between load and store.
#[inline(always)]
pub fn count(counter: *mut u64) {
    // The result is unused on purpose: that makes it the plain atomic add that every BPF instruction set has. The
    // standard atomics are not there for this target.
    // SAFETY: the pointer comes from a live map value, is aligned, and is only ever touched by atomic adds.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1) };
}

/// Where a probe's records are counted.
#[inline(always)]
pub fn counters(probe: u16) -> Option<*mut Counters> {
    COUNTERS.get_ptr_mut(u32::from(probe))
}

#[inline(always)]
fn wake_flag(ring: &RingBuf) -> u64 {
    let waiting = ring.query(u64::from(BPF_RB_AVAIL_DATA));
    // By arithmetic, because a branch here is one in every round of a loop that sends.
    let is_enough = core::hint::black_box((WAKE_EACH_BYTES - 1).wrapping_sub(waiting) >> 63);
    let is_at_mark = core::hint::black_box((waiting % WAKE_EACH_BYTES).wrapping_sub(WAKE_WINDOW_BYTES) >> 63);
    const { assert!(BPF_RB_FORCE_WAKEUP == 2 * BPF_RB_NO_WAKEUP) };
    u64::from(BPF_RB_NO_WAKEUP) << (is_enough & is_at_mark & 1)
}

/// Sends a record of fixed size.
#[inline(always)]
pub fn fixed<T: IntoBytes + Immutable>(ring: &RingBuf, probe: u16, record: &T) {
    // SAFETY: the record is initialised memory of the size given.
    unsafe { output(ring, probe, core::ptr::from_ref(record).cast(), size_of::<T>() as u64) };
}

/// Sends the first `len` bytes of the scratch record.
#[inline(always)]
pub fn scratch(ring: &RingBuf, probe: u16, scratch: &Scratch, len: u64) {
    if len > RECORD_BYTES as u64 {
        if let Some(counters) = counters(probe) {
            // SAFETY: field addresses of a live map value.
            count(unsafe { &raw mut (*counters).seen });
            // SAFETY: as above.
            count(unsafe { &raw mut (*counters).oversize });
        }
        return;
    }
    // SAFETY: `record` has at least `len` bytes, checked above; scratch memory is always initialised.
    unsafe { output(ring, probe, scratch.record.as_ptr(), len) };
}

/// Sends the first `len` bytes of the scratch record, of which there are fewer than [`RECORD_BYTES`]: no question is asked here,
/// because it would be one in every round of a loop that sends.
#[inline(always)]
pub fn part(ring: &RingBuf, counters: *mut Counters, scratch: &Scratch, len: u64) {
    const { assert!(RECORD_BYTES.is_power_of_two()) };
    let len = core::hint::black_box(len) & (RECORD_BYTES as u64 - 1);
    // SAFETY: `record` has more than `len` bytes by the mask; scratch memory is always initialised.
    unsafe { output_counted(ring, counters, scratch.record.as_ptr(), len) };
}

/// # Safety
/// `record` points to `len` initialised bytes.
#[inline(always)]
unsafe fn output(ring: &RingBuf, probe: u16, record: *const u8, len: u64) {
    let Some(counters) = counters(probe) else { return };
    // SAFETY: the caller vouches for `record` and `len`.
    unsafe { output_counted(ring, counters, record, len) };
}

/// # Safety
/// `record` points to `len` initialised bytes, and `counters` is a live map value.
#[inline(always)]
unsafe fn output_counted(ring: &RingBuf, counters: *mut Counters, record: *const u8, len: u64) {
    // SAFETY: field address of a live map value.
    count(unsafe { &raw mut (*counters).seen });
    let flags = wake_flag(ring);
    // SAFETY: the caller vouches for `record` and `len`; a ring map's address is what the helper wants.
    let failed = unsafe {
        bpf_ringbuf_output(core::ptr::from_ref(ring).cast_mut().cast(), record.cast_mut().cast(), len, flags)
    };
    // The counter beside it is for what failed; by arithmetic, as above.
    const { assert!(core::mem::offset_of!(Counters, ring_full) == core::mem::offset_of!(Counters, submitted) + 8) };
    let has_failed = core::hint::black_box(failed as u64 >> 63) & 1;
    // SAFETY: field address of a live map value.
    let submitted = unsafe { &raw mut (*counters).submitted };
    // SAFETY: the field behind it is of the same map value.
    count(unsafe { submitted.add(has_failed as usize) });
}

/// Counts a map that refused an insert.
#[inline(always)]
pub fn count_map_full(probe: u16) {
    if let Some(counters) = counters(probe) {
        // SAFETY: field address of a live map value.
        count(unsafe { &raw mut (*counters).map_full });
    }
}

/// Writes the fixed part to the front of the record.
#[inline(always)]
pub fn put<T: IntoBytes + Immutable>(scratch: &mut Scratch, record: &T) {
    let source = core::ptr::from_ref(record);
    // SAFETY: every fixed part is far smaller than the record buffer.
    unsafe { bpf_probe_read_kernel(scratch.record.as_mut_ptr().cast(), size_of::<T>() as u32, source.cast()) };
}

/// Runs `build` with a scratch buffer that nobody else on this CPU holds; counts the record as lost when all are held.
#[inline(always)]
pub fn with_scratch(probe: u16, build: impl FnOnce(&mut Scratch)) {
    let mut slot = 0;
    // What is built stands behind the loop and not in it: the verifier would go through it once for each slot.
    let held = loop {
        if slot == SCRATCH_SLOTS {
            return is_busy(probe);
        }
        let Some(held) = SCRATCH_HELD.get_ptr_mut(slot) else { return };
        count(held);
        // SAFETY: a live map value; volatile because a preempting probe may have raised it too.
        if unsafe { core::ptr::read_volatile(held) } == 1 {
            break held;
        }
        release(held);
        slot += 1;
    };
    if let Some(scratch) = SCRATCH.get_ptr_mut(slot) {
        // SAFETY: a live map value, and the count of one says that no other probe on this CPU uses it.
        build(unsafe { &mut *scratch });
    }
    release(held);
}

/// Counts a record that found no scratch buffer.
#[inline(always)]
fn is_busy(probe: u16) {
    if let Some(counters) = counters(probe) {
        // SAFETY: field addresses of a live map value.
        count(unsafe { &raw mut (*counters).seen });
        // SAFETY: as above.
        count(unsafe { &raw mut (*counters).busy });
    }
}

#[inline(always)]
fn release(held: *mut u64) {
    // Adding the two's complement of one: old instruction sets have an atomic add and no subtract.
    // SAFETY: as in `count`.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(held, u64::MAX) };
}
