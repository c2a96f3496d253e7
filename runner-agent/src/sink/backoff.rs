//! When to try again: exponential backoff with full jitter, and what a receiver asks for with `Retry-After`.

use std::time::{Duration, SystemTime};

/// Longest wait before the second attempt; it doubles from there.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait of all.
const LONGEST: Duration = Duration::from_mins(1);
/// Longest `Retry-After` that is kept to.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// The longest wait after so many failures in a row.
pub fn ceiling(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

/// A wait between none and the longest, each as likely: receivers that come back must not meet all agents at once.
pub fn wait(failures: u32) -> Duration {
    ceiling(failures).mul_f64(f64::from(random()) / f64::from(u32::MAX))
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without a random number the wait is the longest.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(4) => u32::from_ne_bytes(bytes),
        _ => u32::MAX,
    }
}

/// What `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a date. None for what is neither.
pub fn asked(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().map_or(LONGEST_ASKED, Duration::from_secs).min(LONGEST_ASKED));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_neither_holds_a_sink_for_longer_than_an_hour() {
        // RFC 9110's own example date.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        for (value, wanted) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Mon, 07 Nov 2094 08:49:37 GMT", None),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(3600)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(asked(value, now), wanted.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn waits_grow_to_a_minute_and_are_spread_over_all_of_it() {
        assert_eq!([1, 2, 3, 8, 400].map(ceiling).map(|wait| wait.as_millis()), [500, 1000, 2000, 60_000, 60_000]);
        let waits: Vec<Duration> = (0..400).map(|_| wait(4)).collect();
        assert!(waits.iter().all(|wait| *wait <= ceiling(4)));
        assert!(waits.iter().any(|wait| *wait < ceiling(4) / 4) && waits.iter().any(|wait| *wait > ceiling(4) * 3 / 4));
    }
}
