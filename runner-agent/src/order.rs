//! Puts the records of two rings back into the order in which they happened.
//!
//! Each ring keeps its own order, but a connect on the critical ring can be read before the fork on the bulk ring that
//! explains it. Both rings are drained, then everything up to the moment at which draining began is released in order
//! of time; what happened later waits for the next round. A record that comes late all the same (its probe was
//! preempted between reading the clock and submitting) is released at once, and the process table copes.

use std::ops::Range;

use crate::decode::peek_at_ns;

/// Records that wait for their turn.
#[derive(Debug, Default)]
pub struct Order {
    bytes: Vec<u8>,
    waiting: Vec<(u64, Range<usize>)>,
}

/// Buffers larger than this are given back when empty; a burst shouldn't stay in memory for the rest of the job.
const KEEP_BYTES: usize = 1 << 20;

impl Order {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes in one record.
    pub fn push(&mut self, record: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.waiting.push((peek_at_ns(record), start..self.bytes.len()));
    }

    /// Hands over the records that happened up to `until_ns`, earliest first; equal times keep the order of arrival.
    pub fn release(&mut self, until_ns: u64, mut each: impl FnMut(&[u8])) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting.sort_by_key(|&(at_ns, _)| at_ns);
        let due = self.waiting.partition_point(|&(at_ns, _)| at_ns <= until_ns);
        for (_, range) in self.waiting.drain(..due) {
            each(&self.bytes[range]);
        }
        self.keep_the_rest();
    }

    /// Moves what still waits to the front, so that the buffer doesn't grow without end.
    fn keep_the_rest(&mut self) {
        if self.waiting.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES);
            return;
        }
        let mut rest = Vec::with_capacity(self.waiting.iter().map(|(_, range)| range.len()).sum());
        for (_, range) in &mut self.waiting {
            let start = rest.len();
            rest.extend_from_slice(&self.bytes[range.clone()]);
            *range = start..rest.len();
        }
        self.bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_comes_out_once_and_in_order(
            rounds in proptest::collection::vec((proptest::collection::vec((0_u64..100, 0_u8..), 0..20), 0_u64..120), 0..8),
        ) {
            let mut order = Order::default();
            let mut sent = Vec::new();
            let mut received: Vec<(u64, u8)> = Vec::new();
            for (records, until) in rounds {
                let before = received.len();
                for (at, tag) in records {
                    let mut bytes = at.to_ne_bytes().to_vec();
                    bytes.push(tag);
                    order.push(&bytes);
                    sent.push((at, tag));
                }
                order.release(until, |bytes| received.push((peek_at_ns(bytes), bytes[8])));
                prop_assert!(received[before..].is_sorted_by_key(|&(at, _)| at));
                prop_assert!(received[before..].iter().all(|&(at, _)| at <= until));
            }
            order.release(u64::MAX, |bytes| received.push((peek_at_ns(bytes), bytes[8])));
            sent.sort_unstable();
            received.sort_unstable();
            prop_assert_eq!(sent, received);
        }
    }
}
