//! How many notices a second each form takes on one core. `cargo xtask bench encode` runs it and makes a table.
//!
//! The mix is that of a build: programs that start and end, destinations, names, some secret files. Each form gets rounds of
//! the same length in turn, so that a machine that gets slower meets all alike; the best round counts, because whatever
//! disturbs one only makes it slower. One line a form is printed: the word, notices a second, bytes a notice.
#![allow(clippy::print_stdout, reason = "a benchmark tells what it measured")]

#[path = "../tests/forms/notices.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod notices;

use std::hint::black_box;
use std::time::{Duration, Instant};

use runner_agent::notice::Notice;
use runner_agent::sink::wire::format::{About, Format};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(150);
/// How often each notice of the table is in the mix.
const MIX: [(&str, usize); 7] = [
    ("exec", 30),
    ("exit", 30),
    ("connect-allowed", 15),
    ("connect-audited", 5),
    ("dns-question", 8),
    ("dns-answer", 8),
    ("file", 4),
];

fn mix() -> Vec<Notice> {
    let table = notices::table();
    let named = |wanted: &str| table.iter().find(|(name, _)| *name == wanted).expect("a notice of the table").1.clone();
    MIX.iter().flat_map(|(name, count)| std::iter::repeat_n(named(name), *count)).collect()
}

/// Slack and Alertmanager take findings alone.
fn findings() -> Vec<Notice> {
    notices::table().into_iter().filter(|(name, _)| *name == "finding").map(|(_, notice)| notice).collect()
}

/// Notices a second in one round, and bytes a notice.
fn round(form: Format, mix: &[Notice], about: &About, out: &mut Vec<u8>) -> (f64, f64) {
    let (mut notices, mut bytes) = (0_usize, 0_usize);
    let start = Instant::now();
    while start.elapsed() < ROUND {
        for notice in mix {
            out.clear();
            form.encode(black_box(notice), about, out);
            bytes += black_box(&*out).len();
        }
        notices += mix.len();
    }
    (notices as f64 / start.elapsed().as_secs_f64(), bytes as f64 / notices as f64)
}

fn main() {
    let (about, mix, findings) = (notices::about(), mix(), findings());
    let mut out = Vec::with_capacity(64 * 1024);
    let mut best = vec![(0.0_f64, 0.0_f64); Format::ALL.len()];
    for _ in 0..ROUNDS {
        for (form, best) in Format::ALL.iter().zip(&mut best) {
            let takes = if matches!(form, Format::Slack | Format::Alertmanager) { &findings } else { &mix };
            let (per_second, bytes) = round(*form, takes, &about, &mut out);
            *best = (best.0.max(per_second), bytes);
        }
    }
    for (form, (per_second, bytes)) in Format::ALL.iter().zip(&best) {
        println!("{form} {per_second:.0} {bytes:.0}");
    }
}
