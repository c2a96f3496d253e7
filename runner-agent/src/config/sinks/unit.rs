//! Lengths of time and numbers of bytes, with their unit.

use std::time::Duration;

use crate::config::check::walk::Cursor;

/// Units of time, in milliseconds.
const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of bytes.
const SIZES: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A length of time: `500ms`, `10s`, `5m`, `24h`, `3d`.
pub(super) fn duration(cursor: &Cursor, least: Duration, most: Duration) -> Option<Duration> {
    let text = cursor.text()?;
    let found = number(text, &TIMES).map(Duration::from_millis).filter(|found| (least..=most).contains(found));
    if found.is_none() {
        let (least, most) = (in_words(least), in_words(most));
        cursor.error(format!(
            "{text:?} is no length of time from {least} to {most}; write it with its unit, as in \"10s\""
        ));
    }
    found
}

/// A number of bytes: `512KiB`, `1MiB`, `2GiB`.
pub(super) fn bytes(cursor: &Cursor, least: u64, most: u64) -> Option<u64> {
    let text = cursor.text()?;
    let found = number(text, &SIZES).filter(|found| (least..=most).contains(found));
    if found.is_none() {
        let (least, most) = (size_in_words(least), size_in_words(most));
        cursor.error(format!("{text:?} is no size from {least} to {most}; write it with its unit, as in \"1MiB\""));
    }
    found
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(known, _)| *known == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn in_words(span: Duration) -> String {
    let millis = span.as_millis() as u64;
    let (unit, factor) =
        TIMES.iter().rev().find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor)).unwrap_or(&TIMES[1]);
    format!("{}{unit}", millis / factor)
}

fn size_in_words(bytes: u64) -> String {
    let (unit, factor) = SIZES.iter().rev().find(|(_, factor)| bytes >= *factor).unwrap_or(&SIZES[0]);
    format!("{}{unit}", bytes / factor)
}
