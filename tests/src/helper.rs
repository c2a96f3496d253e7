//! Processes that stand beside a job: a resolver, a listener. Ended with the value that holds them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that says `ready` and then serves until it is dropped.
pub struct Helper {
    child: Child,
}

impl Helper {
    /// Starts it, and waits for its word.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the helper can be started");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        let read = BufReader::new(output).read_line(&mut line);
        let helper = Self { child };
        assert!(read.is_ok() && line == "ready\n", "the helper did not start: {command:?} said {line:?}");
        helper
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until the answer is yes; false when the time is up.
pub fn wait_until(at_most: Duration, holds: impl FnMut() -> bool) -> bool {
    wait_until_every(Duration::from_millis(2), at_most, holds)
}

/// The same with longer pauses, for answers that cost something.
pub fn wait_until_every(pause: Duration, at_most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + at_most;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        // Polling nothing is a pause of that length: what is asked for has no descriptor to wait on.
        let pause = pause.try_into().expect("a pause is short");
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
    true
}
