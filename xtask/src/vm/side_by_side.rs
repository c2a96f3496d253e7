//! Guests at the same time: one has one thread of this machine for all its processors, so as many run as there are processors here.
//! What each says is printed whole when it has ended; a guest that is alone is heard while it runs.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Held until all that a guest said is out.
static PRINTING: Mutex<()> = Mutex::new(());

/// Does this for each item, in order as far as beginning goes. Returns results in the order of the items.
pub fn each<T: Sync, R: Send>(items: &[T], run: impl Fn(&T, &mut dyn Write) -> R + Sync) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            if items.len() == 1 {
                done.push((at, run(item, &mut Live)));
                continue;
            }
            let mut said = Vec::new();
            let result = run(item, &mut said);
            let _alone = PRINTING.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = io::stdout().write_all(&said).and_then(|()| io::stdout().flush());
            done.push((at, result));
        }
    };
    let mut all: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

/// Prints at once.
pub struct Live;

impl Write for Live {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_and_results_keep_the_order() {
        let items: Vec<u32> = (0..50).collect();
        let results = each(&items, |item, _| item * 2);
        assert_eq!(results, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(each(&[], |item: &u32, _| *item), Vec::<u32>::new());
    }
}
