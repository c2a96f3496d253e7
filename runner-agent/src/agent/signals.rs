//! Signals to the agent: passed on to the command, so that `runner-agent run -- CMD` behaves as CMD does.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    /// Its number.
    pub(super) signal: i32,
    /// Whether the kernel sent it: a key at the terminal, and then the command has got it too.
    pub(super) from_terminal: bool,
}

/// Starts to receive the signals that a command expects to receive.
pub(super) fn receive() -> std::io::Result<UnboundedReceiver<Arrived>> {
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2])?;
    let (sender, receiver) = unbounded_channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for origin in signals.forever() {
            let from_terminal = matches!(origin.cause, Cause::Kernel);
            if sender.send(Arrived { signal: origin.signal, from_terminal }).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
