//! Messages of netlink(7) by which a machine's network is changed: what the kernel itself takes `CAP_NET_ADMIN` for, and never a
//! question. `ip addr`, getaddrinfo(3) and `nft list` only ask.

/// Devices, addresses, routes, neighbours, rules, queues and filters: `NETLINK_ROUTE`.
pub const ROUTE: u16 = 0;
/// IPsec: `NETLINK_XFRM`.
pub const XFRM: u16 = 6;
/// nftables, sets, connections: `NETLINK_NETFILTER`.
pub const NETFILTER: u16 = 12;

/// `RTM_BASE` and `XFRM_MSG_BASE`; what is below is about netlink itself.
const FIRST: u16 = 16;

/// `NFNL_MSG_BATCH_BEGIN`: whatever nftables changes comes in a batch, and questions don't.
const BATCH: u16 = 16;

/// Questions of linux/xfrm.h, one bit each from `XFRM_MSG_BASE` on: an association, a policy, a sequence, what is known of the
/// two tables, the default.
const XFRM_ASKS: u32 = 1 << 2 | 1 << 5 | 1 << 15 | 1 << 19 | 1 << 21 | 1 << 24;

/// Whether a message of that type to that protocol changes something.
#[must_use]
pub const fn changes(protocol: u16, message: u16) -> bool {
    match protocol {
        // Each kind of thing has four types: new, delete, get, set. This is how the kernel tells them apart.
        ROUTE => message >= FIRST && message & 3 != 2,
        XFRM => message >= FIRST && (message >= FIRST + 32 || XFRM_ASKS >> (message - FIRST) & 1 == 0),
        NETFILTER => {
            message == BATCH || changes_of_netfilter(message >> 8) >> (message & 31) & 1 != 0 && message & 0xe0 == 0
        }
        _ => false,
    }
}

/// What changes something in a subsystem of linux/netfilter/nfnetlink.h, one bit each.
const fn changes_of_netfilter(subsystem: u16) -> u32 {
    match subsystem {
        // Connections, what is expected of them, and their helpers: new, delete.
        1 | 2 | 9 => 1 | 1 << 2,
        // Queues and logs of packets for programs: configured.
        3 => 1 << 2,
        4 => 1 << 1,
        // Fingerprints of systems: added, removed.
        5 => 1 | 1 << 1,
        // Sets of ipset(8): created, destroyed, flushed, renamed, swapped, added to, deleted from.
        6 => 0b111_1100 | 1 << 9 | 1 << 10,
        // Counters: new, deleted.
        7 => 1 | 1 << 3,
        // Timeouts: new, deleted, the default set.
        8 => 1 | 1 << 2 | 1 << 3,
        // nftables takes changes in a batch alone, and its subsystem for iptables' extensions is only asked.
        _ => 0,
    }
}

/// What is told of a message: its type, and above that the protocol.
#[must_use]
pub const fn detail(protocol: u16, message: u16) -> u64 {
    (protocol as u64) << 16 | message as u64
}

/// Protocol and type of what was told.
#[must_use]
pub const fn of_detail(detail: u64) -> (u16, u16) {
    ((detail >> 16) as u16, detail as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_program_asks_is_no_change() {
        // RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE, RTM_GETQDISC, RTM_GETNSID, RTM_GETSTATS.
        for message in [18, 22, 26, 30, 34, 38, 90, 94] {
            assert!(!changes(ROUTE, message), "{message}");
        }
        // IPCTNL_MSG_CT_GET, NFT_MSG_GETTABLE, NFT_MSG_GETRULE, NFT_MSG_GETGEN, IPSET_CMD_PROTOCOL, IPSET_CMD_LIST.
        for message in [0x101, 0xa01, 0xa07, 0xa10, 0x601, 0x607] {
            assert!(!changes(NETFILTER, message), "{message:#x}");
        }
        // XFRM_MSG_GETSA, XFRM_MSG_GETPOLICY, XFRM_MSG_GETSADINFO, XFRM_MSG_GETSPDINFO, XFRM_MSG_GETDEFAULT.
        for message in [0x12, 0x15, 0x1f, 0x23, 0x25, 0x28] {
            assert!(!changes(XFRM, message), "{message:#x}");
        }
        // NLMSG_NOOP, NLMSG_ERROR and NLMSG_DONE; NETLINK_SOCK_DIAG asks which sockets there are.
        for message in [1, 2, 3] {
            assert!(!changes(ROUTE, message) && !changes(NETFILTER, message) && !changes(XFRM, message));
        }
        assert!(!changes(4, 20));
    }

    #[test]
    fn what_sends_packets_elsewhere_is_a_change() {
        // RTM_NEWLINK, RTM_SETLINK, RTM_NEWADDR, RTM_DELROUTE, RTM_NEWQDISC, RTM_NEWTFILTER, RTM_NEWNSID.
        for message in [16, 19, 20, 25, 36, 44, 88] {
            assert!(changes(ROUTE, message), "{message}");
        }
        // A batch of nftables, IPCTNL_MSG_CT_NEW, IPSET_CMD_CREATE, IPSET_CMD_ADD, NFQNL_MSG_CONFIG.
        for message in [0x10, 0x100, 0x602, 0x609, 0x302] {
            assert!(changes(NETFILTER, message), "{message:#x}");
        }
        // XFRM_MSG_NEWSA, XFRM_MSG_NEWPOLICY, XFRM_MSG_UPDPOLICY, XFRM_MSG_SETDEFAULT, and what may come.
        for message in [0x10, 0x13, 0x19, 0x27, 0x40] {
            assert!(changes(XFRM, message), "{message:#x}");
        }
    }

    #[test]
    fn a_detail_says_protocol_and_type() {
        assert_eq!(detail(ROUTE, 16), 16);
        assert_eq!(of_detail(detail(NETFILTER, 0x602)), (NETFILTER, 0x602));
    }
}
