//! Bytes that helper and test can both tell: an argument that came through whole says so in each byte.

/// `len` bytes of lower-case letters and digits without a short period.
pub fn text(len: usize) -> String {
    let mut state = 0x9e37_79b9_u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b"abcdefghijklmnopqrstuvwxyz012345"[(state >> 27) as usize])
    };
    (0..len).map(letter).collect()
}

/// The longest argument that the kernel takes, its NUL left out (`MAX_ARG_STRLEN`).
pub const LONGEST_ARGUMENT: usize = 131_071;

/// Arguments of `total` bytes together, NULs included, none longer than the kernel takes.
pub fn arguments(total: usize) -> Vec<String> {
    let mut left = total;
    let mut arguments = Vec::new();
    while left > 0 {
        let with_nul = left.min(LONGEST_ARGUMENT + 1);
        arguments.push(text(with_nul - 1));
        left -= with_nul;
    }
    arguments
}
