//! The thread of a lane: takes what is next, and tries until it is there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{FAILING, Phase, Shared, TELL_EVERY, locked};
use crate::sink::backoff;
use crate::sink::receiver::{Attempt, Receiver};
use crate::sink::spool::{Item, Lane, waiting};

/// The longest wait after a failure while a job's end is put off.
const HURRIED: Duration = Duration::from_secs(1);

/// Sends what there is until it is told to stop.
pub(super) fn run(shared: &Arc<Shared>, lane: Lane, receiver: Receiver) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            let mut phase = shared.phase.subscribe();
            tokio::select! {
                _ = phase.wait_for(|phase| *phase == Phase::Stop) => {}
                () = work(shared, lane, receiver) => {}
            }
        }),
        Err(error) => tracing::error!("can't start the sink {}: {error}", shared.settings.name),
    }
    shared.state().lanes -= 1;
    shared.progress.notify_all();
}

async fn work(shared: &Shared, lane: Lane, mut receiver: Receiver) {
    loop {
        let items = match lane {
            Lane::Alerts => vec![next_alert(shared).await],
            Lane::Telemetry => next_batch(shared).await,
        };
        let last = items.last().map_or(0, |item| item.number);
        deliver(shared, lane, &mut receiver, items).await;
        shared.state().done[lane as usize] = last;
        shared.progress.notify_all();
    }
}

/// The next alert: from memory, or from the spool while any waits there.
async fn next_alert(shared: &Shared) -> Item {
    const ALERTS: usize = Lane::Alerts as usize;
    loop {
        let (written, done, is_direct) = {
            let mut state = shared.state();
            if state.direct
                && let Some(item) = state.fresh.pop_front()
            {
                state.fresh_bytes -= item.weight();
                return item;
            }
            (state.committed[ALERTS], state.done[ALERTS], state.direct)
        };
        if !is_direct {
            if let Some(item) = read(shared, Lane::Alerts, done, 1, usize::MAX).pop() {
                return item;
            }
            let mut state = shared.state();
            // Nothing is there and nothing was given out since: what comes now can go from memory.
            if state.issued[ALERTS] == written {
                state.done[ALERTS] = written;
                state.direct = true;
                drop(state);
                shared.progress.notify_all();
            }
        }
        shared.wake[ALERTS].notified().await;
    }
}

/// The next batch: as soon as it is full, or its first item has waited long enough.
async fn next_batch(shared: &Shared) -> Vec<Item> {
    const TELEMETRY: usize = Lane::Telemetry as usize;
    let batch = shared.settings.batch;
    loop {
        let (written, done) = {
            let state = shared.state();
            (state.committed[TELEMETRY], state.done[TELEMETRY])
        };
        if written <= done {
            shared.wake[TELEMETRY].notified().await;
            continue;
        }
        let full = async {
            while shared.state().telemetry < batch.bytes as u64 && !shared.is_hurried() {
                shared.wake[TELEMETRY].notified().await;
            }
        };
        // That the time is up is as good.
        let _ = tokio::time::timeout(batch.wait, full).await;
        let items = read(shared, Lane::Telemetry, done, shared.settings.format.most_items(), batch.bytes);
        if !items.is_empty() {
            return items;
        }
        // They were dropped for newer ones.
        shared.state().done[TELEMETRY] = written;
        shared.progress.notify_all();
    }
}

fn read(shared: &Shared, lane: Lane, after: u64, most: usize, bytes: usize) -> Vec<Item> {
    waiting(&shared.database, lane, after, most, bytes).unwrap_or_else(|error| {
        tracing::error!("can't read what waits for the sink {}: {error}", shared.settings.name);
        Vec::new()
    })
}

/// Tries until each item is there, or was refused alone.
async fn deliver(shared: &Shared, lane: Lane, receiver: &mut Receiver, items: Vec<Item>) {
    let mut parts = VecDeque::from([items]);
    while let Some(mut part) = parts.pop_front() {
        let refused = attempt(shared, lane, receiver, &part).await;
        match refused {
            // One of them, or their number: the halves go by themselves, in their order.
            Some(_) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.push_front(second);
                parts.push_front(part);
                continue;
            }
            Some(why) => shared.refused(&part, &why),
            None => {}
        }
        locked(&shared.delivered).extend(part.iter().map(|item| (lane, item.number)));
    }
}

/// Tries until it is there (`None`), or was refused.
async fn attempt(shared: &Shared, lane: Lane, receiver: &mut Receiver, items: &[Item]) -> Option<String> {
    let named = items.iter().map(|item| (item.id.clone(), item.bytes.clone())).collect();
    let parcel = receiver.parcel(shared.settings.format, named, lane == Lane::Telemetry);
    let mut failures = 0;
    loop {
        while let Some(pause) = shared.pause_asked() {
            tokio::time::sleep(pause).await;
        }
        match receiver.send(&parcel).await.0 {
            Attempt::Delivered => {
                shared.went_well();
                return None;
            }
            Attempt::Refused { why } => return Some(why),
            Attempt::Gone => {
                shared.is_gone();
                // Until it is told to stop.
                std::future::pending::<()>().await;
            }
            Attempt::Failed { why, wait } => {
                failures += 1;
                shared.went_wrong(&why, wait);
                shared.rest(backoff::wait(failures)).await;
            }
        }
    }
}

impl Shared {
    /// How long the receiver wants to be left alone.
    fn pause_asked(&self) -> Option<Duration> {
        let left = self.state().not_before?.saturating_duration_since(Instant::now());
        (left > Duration::ZERO).then_some(left)
    }

    /// Waits after a failure, less once a job's end is put off.
    async fn rest(&self, wait: Duration) {
        let mut phase = self.phase.subscribe();
        let hurried = phase.wait_for(|phase| *phase != Phase::Work);
        if tokio::time::timeout(wait, hurried).await.is_ok() {
            tokio::time::sleep(wait.min(HURRIED)).await;
        }
    }

    fn went_well(&self) {
        let name = self.settings.name;
        let mut state = self.state();
        state.failures = 0;
        state.why = None;
        if std::mem::take(&mut state.is_told) {
            state.tell("sink-recovered", format!("the sink {name} takes what it is sent again"));
        }
    }

    fn went_wrong(&self, why: &str, wait: Option<Duration>) {
        let name = self.settings.name;
        tracing::info!("the sink {name}: {why}");
        let mut state = self.state();
        state.failures += 1;
        state.why = Some(why.to_owned());
        if let Some(wait) = wait {
            state.not_before = Some(Instant::now() + wait);
        }
        let is_new = state.told_at.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if state.failures >= FAILING && !state.is_told && is_new {
            state.is_told = true;
            state.told_at = Some(Instant::now());
            state.tell(
                "sink-failing",
                format!("the sink {name} doesn't take what it is sent: {why}; it waits in the spool"),
            );
        }
    }

    fn is_gone(&self) {
        let name = self.settings.name;
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_gone, true) {
            let why = "410 Gone: the receiver wants nothing any more";
            tracing::error!("the sink {name} is disabled: {why}");
            state.why = Some(why.to_owned());
            state.tell("sink-disabled", format!("the sink {name} is disabled: {why}"));
        }
        drop(state);
        self.progress.notify_all();
    }

    fn refused(&self, items: &[Item], why: &str) {
        let name = self.settings.name;
        let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
        tracing::warn!("the sink {name} refused {}: {why}", ids.join(", "));
        if self.refused.fetch_add(items.len() as u64, Ordering::Relaxed) == 0 {
            self.state().tell("sink-refused", format!("the sink {name} refused {}: {why}", ids.join(", ")));
        }
    }
}
