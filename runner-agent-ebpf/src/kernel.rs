//! Reading kernel memory by the offsets that user space found in BTF.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};

/// An address in kernel or user memory; never dereferenced, only handed to helpers.
pub type Address = u64;

/// An offset from [`crate::maps::OFFSETS`], read so that the compiler can't fold the zero that stands there at build time.
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: a plain load from a static; volatile because user space replaces the value before loading.
        let value = unsafe { core::ptr::read_volatile(&raw const crate::maps::OFFSETS.$field) };
        u64::from(value)
    }};
}
pub(crate) use offset;

/// Always zero, which the verifier can't know.
#[unsafe(no_mangle)]
static mut UNKNOWN_ZERO: u64 = 0;

/// A value of which the verifier doesn't know what it is. What comes after a choice among constants it would go through once for
/// each of them; after this, once.
#[inline(always)]
pub fn any<T: Narrow>(value: T) -> T {
    let zero = &raw const UNKNOWN_ZERO;
    // SAFETY: a plain load of a value that nobody writes; volatile because the compiler must not know it either.
    T::of(value.into() + unsafe { core::ptr::read_volatile(zero) })
}

/// For the end of a function that returns nothing and isn't inlined: the verifier looks at what happens to be left in the register for
/// the return value, and refuses an address of the stack there. A helper leaves a number.
#[inline(always)]
pub fn returns_nothing() {
    // SAFETY: the helper has no preconditions.
    unsafe { aya_ebpf::helpers::bpf_get_smp_processor_id() };
}

/// An integer that [`any`] takes.
pub trait Narrow: Into<u64> {
    /// The low bits.
    fn of(wide: u64) -> Self;
}

macro_rules! narrow {
    ($($integer:ty)*) => { $(impl Narrow for $integer {
        #[inline(always)]
        fn of(wide: u64) -> Self {
            wide as Self
        }
    })* };
}
narrow!(u8 u16 u32 u64);

/// Reads one value of plain integers from kernel memory; zero when the address can't be read.
#[inline(always)]
pub fn read<T: zerocopy::FromBytes>(address: Address) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is as large as said; the helper checks the source and zeroes the destination on failure.
    unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) };
    // SAFETY: the helper wrote every byte, on failure zeroes, and `FromBytes` says that any bytes make a `T`.
    unsafe { value.assume_init() }
}

/// Reads one value of plain integers from the memory of the current process; `None` when it can't be read.
#[inline(always)]
pub fn read_user<T: zerocopy::FromBytes>(address: Address) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as in `read`.
    let failed = unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) };
    if failed != 0 {
        return None;
    }
    // SAFETY: as in `read`.
    Some(unsafe { value.assume_init() })
}

/// An argument of the function that a program stands before. Read like any memory: the verifier knows the type of what it
/// loads from the array itself, and then refuses offsets that it can't see.
#[inline(always)]
pub fn argument(ctx: &impl aya_ebpf::EbpfContext, number: usize) -> u64 {
    read(ctx.as_ptr() as u64 + 8 * number as u64)
}

/// Follows one pointer.
#[inline(always)]
pub fn pointer(base: Address, offset: u64) -> Address {
    read::<u64>(base + offset)
}

/// `files_struct::fdt` and the front of `files_struct::fdtab`, which follows it.
#[repr(C)]
#[derive(Clone, Copy, zerocopy::FromBytes)]
struct DescriptorTables {
    table: Address,
    first_max_fds: u64,
    first_fd: Address,
}

/// The `struct file` on a descriptor of a task; what lies there when the descriptor is open.
#[inline(always)]
pub fn file_on(task: Address, descriptor: u64) -> Address {
    let tables = pointer(task, offset!(task_files)) + offset!(files_fdt);
    let found: DescriptorTables = read(tables);
    // Few processes have more descriptors than the table inside the structure holds; its array is here already.
    let array = if found.table == tables + 8 { found.first_fd } else { pointer(found.table, offset!(fdtable_fd)) };
    pointer(array + descriptor * 8, 0)
}

/// Inode number of the pipe on a descriptor, 0 when it is closed or something else.
#[inline(always)]
pub fn pipe_on(task: Address, descriptor: u64) -> u64 {
    const S_IFMT: u16 = 0o170_000;
    const S_IFIFO: u16 = 0o010_000;
    let inode = pointer(file_on(task, descriptor), offset!(file_inode));
    if read::<u16>(inode + offset!(inode_mode)) & S_IFMT == S_IFIFO { read(inode + offset!(inode_ino)) } else { 0 }
}
