//! What kind of place an address is: one table, asked by the kernel side for its verdicts and by user space for its words.
//!
//! Addresses are taken as numbers in host order: an IPv4 address as one word, an IPv6 address as four, the first word first.

/// Classes, in the order of user space's `AddressClass`.
pub mod class {
    /// The internet.
    pub const PUBLIC: u8 = 0;
    /// The machine itself.
    pub const LOOPBACK: u8 = 1;
    /// Networks of the operator.
    pub const PRIVATE: u8 = 2;
    /// The local link.
    pub const LINK_LOCAL: u8 = 3;
    /// Where a cloud hands out the machine's credentials.
    pub const METADATA: u8 = 4;
    /// Many receivers at once.
    pub const MULTICAST: u8 = 5;
    /// The unspecified address, which Linux connects to the machine itself.
    pub const UNSPECIFIED: u8 = 6;
    /// In rules that close: whatever the class.
    pub const ANY: u8 = 255;
}

/// Port of DNS.
pub const DNS_PORT: u16 = 53;

/// IPv4 networks that are not the internet, first match wins: network, length of its prefix, class. Source: IANA
/// special-purpose address registry, but the documentation networks (192.0.2.0/24, …) stay public: nothing answers
/// there, and examples use them as the internet.
pub const V4: &[(u32, u32, u8)] = &[
    (0x0000_0000, 8, class::UNSPECIFIED),
    (0x7f00_0000, 8, class::LOOPBACK),
    (0x0a00_0000, 8, class::PRIVATE),
    (0xac10_0000, 12, class::PRIVATE),
    (0xc0a8_0000, 16, class::PRIVATE),
    (0x6440_0000, 10, class::PRIVATE),
    (0xa9fe_0000, 16, class::LINK_LOCAL),
    (0xc000_0000, 24, class::PRIVATE),
    (0xc612_0000, 15, class::PRIVATE),
    (0xe000_0000, 4, class::MULTICAST),
    (0xffff_ffff, 32, class::MULTICAST),
    (0xf000_0000, 4, class::PRIVATE),
];

/// IPv6 networks that are not the internet, by the leading bits of their first word. `::` and `::1` stand apart.
pub const V6: &[(u32, u32, u8)] = &[
    (0xfc00_0000, 7, class::PRIVATE),
    (0xfe80_0000, 10, class::LINK_LOCAL),
    (0xfec0_0000, 10, class::PRIVATE),
    (0xff00_0000, 8, class::MULTICAST),
];

/// IPv4 addresses on which clouds hand out credentials. User space has their names.
pub const METADATA_V4: [u32; 11] = [
    0xa9fe_a9fe,
    0xa9fe_aa02,
    0xa9fe_aa17,
    0xa83f_8110,
    0xa9fe_a9fc,
    0xc000_00c0,
    0x6464_64c8,
    0xa9fe_0017,
    0x6460_0060,
    0xa9fe_2a2a,
    0xa9fe_a9fa,
];

/// IPv6 addresses on which clouds hand out credentials: first, second and last word; the third is always zero.
pub const METADATA_V6: [[u32; 3]; 8] = [
    [0xfd00_0ec2, 0, 0x0254],
    [0xfd00_0ec2, 0, 0x0023],
    [0xfd20_00ce, 0, 0x0254],
    [0xfd00_00c1, 0, 0xa9fe_a9fe],
    [0xfd00_0100, 0, 0x0100_0200],
    [0xfd00_0042, 0, 0x0042],
    [0xfd00_a9fe, 0xa9fe_0000, 0x0001],
    [0xfe80_0000, 0, 0xa9fe_a9fe],
];

/// Class of an IPv4 address at a port. Port 53 of a metadata address is that cloud's DNS and counts as link-local: no
/// credential is to be had there.
#[expect(clippy::inline_always, reason = "old verifiers take few calls")]
#[inline(always)]
#[must_use]
pub fn classify_v4(address: u32, port: u16) -> u8 {
    let is_metadata = METADATA_V4.contains(&address);
    if is_metadata {
        return if port == DNS_PORT { class::LINK_LOCAL } else { class::METADATA };
    }
    for &(network, length, class) in V4 {
        if (address ^ network) >> (32 - length) == 0 {
            return class;
        }
    }
    class::PUBLIC
}

/// Class of an IPv6 address at a port; IPv4-mapped addresses must have become IPv4 before.
#[expect(clippy::inline_always, reason = "old verifiers take few calls")]
#[inline(always)]
#[must_use]
pub fn classify_v6(address: [u32; 4], port: u16) -> u8 {
    let [first, second, third, last] = address;
    // RFC 6052, and the IPv4-compatible form of RFC 4291: the last four bytes are an IPv4 destination, which then decides.
    let is_translated = first == 0x0064_ff9b && second == 0 && third == 0;
    let is_compatible = first == 0 && second == 0 && third == 0 && last > 1;
    // RFC 3056: a 6to4 router takes its IPv4 destination from behind the first two bytes.
    let is_6to4 = first >> 16 == 0x2002;
    if is_translated || is_compatible || is_6to4 {
        return classify_v4(if is_6to4 { first << 16 | second >> 16 } else { last }, port);
    }
    // RFC 8215: translators of the operator's own, where the IPv4 destination may stand anywhere.
    if first == 0x0064_ff9b && second >> 16 == 1 {
        return class::PRIVATE;
    }
    if first == 0 && second == 0 && third == 0 {
        return if last == 0 { class::UNSPECIFIED } else { class::LOOPBACK };
    }
    if third == 0 {
        for [known_first, known_second, known_last] in METADATA_V6 {
            if first == known_first && second == known_second && last == known_last {
                return if port == DNS_PORT { class::LINK_LOCAL } else { class::METADATA };
            }
        }
    }
    for &(network, length, class) in V6 {
        if (first ^ network) >> (32 - length) == 0 {
            return class;
        }
    }
    class::PUBLIC
}
