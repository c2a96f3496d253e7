//! The thread that writes the spool: what comes in and what was delivered since, together in one commit.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Shared, locked};
use crate::sink::spool::{Committed, Item, Lane, Spool};

/// Items of one commit, about.
const MOST: usize = 4096;

/// How often is looked for what was delivered, when nothing comes in.
const LOOK: Duration = Duration::from_millis(250);

/// How often is looked for what has waited for too long.
const LOOK_FOR_OLD: Duration = Duration::from_mins(1);

/// Writes until nobody hands anything over any more.
pub(super) fn run(mut spool: Spool, handfuls: &Receiver<Vec<(Lane, Item)>>, shared: &Shared) -> Spool {
    let mut has_failed = false;
    // Numbers up to this were written, or given up.
    let mut written = spool.last();
    let mut looked = Instant::now();
    loop {
        let (mut added, is_over) = match handfuls.recv_timeout(LOOK) {
            Ok(items) => (items, false),
            Err(RecvTimeoutError::Timeout) => (Vec::new(), false),
            Err(RecvTimeoutError::Disconnected) => (Vec::new(), true),
        };
        while added.len() < MOST
            && let Ok(more) = handfuls.try_recv()
        {
            added.extend(more);
        }
        written = added.iter().map(|(_, item)| item.number).fold(written, u64::max);
        // An alert that went from memory may be there before it is written: taken out now, it would come in after that and stay.
        let is_written = |(_, number): &mut (Lane, u64)| *number <= written;
        let done: Vec<(Lane, u64)> = locked(&shared.delivered).extract_if(.., is_written).collect();
        let is_time = looked.elapsed() >= LOOK_FOR_OLD;
        if added.is_empty() && done.is_empty() && !is_time {
            if is_over {
                return spool;
            }
            continue;
        }
        looked = Instant::now();
        match spool.commit(&added, &done) {
            Ok(Committed { dropped, arrived_after_all }) => {
                shared.dropped.fetch_add(dropped, Ordering::Relaxed);
                let less = |count: u64| Some(count.saturating_sub(arrived_after_all));
                let _ = shared.dropped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            }
            Err(error) => {
                // Alerts may still arrive from memory; whoever reads the count must not think that they surely did.
                shared.dropped.fetch_add(added.len() as u64, Ordering::Relaxed);
                if !std::mem::replace(&mut has_failed, true) {
                    let (name, path) = (shared.settings.name, spool.path().display());
                    tracing::error!(
                        "can't keep notices for the sink {name} in {path}: {error}; they are counted as lost"
                    );
                }
            }
        }
        {
            let mut state = shared.state();
            for (lane, item) in &added {
                state.committed[*lane as usize] = item.number;
            }
            let weight: u64 = added.iter().map(|(_, item)| item.weight()).sum();
            state.unwritten = state.unwritten.saturating_sub(weight);
            state.telemetry = spool.bytes(Lane::Telemetry);
        }
        shared.progress.notify_all();
        shared.wake.iter().for_each(tokio::sync::Notify::notify_one);
    }
}
