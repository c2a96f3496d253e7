//! The two rings, as they are emptied and waited for.

use std::os::fd::{AsFd as _, OwnedFd};

use super::load::Kernel;
use crate::decode::peek_at_ns;

/// Records of one ring that are handed over at once.
const MOST_AT_ONCE: usize = 4096;

impl Kernel {
    /// Hands over what waits on the rings, the critical one first; at most [`MOST_AT_ONCE`] records of each, because a job
    /// can fill a ring faster than it is emptied. Returns until when everything was handed over, if a ring has more.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> Option<u64> {
        let mut complete_until = None;
        for ring in [&mut self.critical, &mut self.bulk] {
            let mut last_ns = 0;
            let mut left = MOST_AT_ONCE;
            while left > 0
                && let Some(item) = ring.next()
            {
                last_ns = peek_at_ns(&item);
                each(&item);
                left -= 1;
            }
            if left == 0 {
                complete_until = Some(complete_until.map_or(last_ns, |until: u64| until.min(last_ns)));
            }
        }
        complete_until
    }

    /// Descriptors that become readable when a ring has filled enough to be worth a wake-up.
    pub fn descriptors(&self) -> std::io::Result<[OwnedFd; 2]> {
        Ok([self.critical.as_fd().try_clone_to_owned()?, self.bulk.as_fd().try_clone_to_owned()?])
    }

    /// Waits until a ring asks for attention, at most so long.
    pub fn wait_readable(&self, at_most: std::time::Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let [critical, bulk] = [self.critical.as_fd(), self.bulk.as_fd()];
        let mut polled =
            [PollFd::from_borrowed_fd(critical, PollFlags::IN), PollFd::from_borrowed_fd(bulk, PollFlags::IN)];
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        // Interrupted or not: the caller drains and asks again.
        let _ = rustix::event::poll(&mut polled, Some(&timeout));
    }
}
