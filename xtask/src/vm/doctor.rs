//! What `runner-agent doctor` says in each guest, side by side: the hooks, and how much the verifier had to do for each program,
//! against a ceiling.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::anyhow;
use serde_json::Value;

use super::table::Column;
use crate::suite::Suite;

/// Instructions that the verifier may go through for a program; what is not named has [`OTHERS`]. The kernel's own limit is a
/// million, verifiers differ by a factor of two, and each instruction is time before a job can start.
const CEILINGS: &[(&str, u64)] = &[
    ("file_open", 350_000),
    ("process_exec", 110_000),
    ("sys_exit", 100_000),
    ("path_link", 180_000),
    ("path_rename", 250_000),
    ("connect6", 110_000),
    ("sendmsg6", 110_000),
    ("packet_out", 60_000),
    ("connect4", 40_000),
    ("sendmsg4", 45_000),
    ("bprm_check_security", 40_000),
    ("move_mount", 80_000),
    ("file_truncate", 40_000),
    ("sb_pivotroot", 40_000),
    ("path_chmod", 40_000),
    ("path_chown", 40_000),
    ("path_truncate", 40_000),
    ("sb_mount", 40_000),
    ("unix_stream_connect", 40_000),
    ("file_lock", 40_000),
    ("path_notify", 40_000),
    ("netlink_send", 20_000),
];

/// See [`CEILINGS`].
const OTHERS: u64 = 5_000;

fn ceiling(program: &str) -> u64 {
    CEILINGS.iter().find(|(name, _)| *name == program).map_or(OTHERS, |(_, ceiling)| *ceiling)
}

/// Two tables, a column for each kernel: hooks with what became of them, programs with instructions.
pub fn render(columns: &[Column]) -> String {
    let guests: Vec<(&str, &Value)> =
        columns.iter().filter_map(|column| Some((&*column.release, column.diagnosis.as_ref()?))).collect();
    let heads: Vec<&str> = guests.iter().map(|(release, _)| *release).collect();
    let mut hooks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut programs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (at, (_, diagnosis)) in guests.iter().enumerate() {
        let put = |rows: &mut BTreeMap<_, Vec<String>>, name, text| {
            rows.entry(name).or_insert_with(|| vec!["-".to_owned(); guests.len()])[at] = text;
        };
        for hook in each(diagnosis, "hooks") {
            let state = hook["state"].as_str().unwrap_or("?");
            let by = hook["by"].as_str().map(|by| format!(" ({by})")).unwrap_or_default();
            put(&mut hooks, hook["function"].as_str().unwrap_or("?"), format!("{state}{by}"));
        }
        for probe in each(diagnosis, "probes") {
            let count = probe["verified_instructions"].as_u64();
            let text = count.map_or_else(|| "loaded".to_owned(), |count| count.to_string());
            put(&mut programs, probe["name"].as_str().unwrap_or("?"), text);
        }
        if let Some(ms) = diagnosis["load_ms"].as_u64() {
            put(&mut programs, "all, milliseconds (emulated)", ms.to_string());
        }
        put(&mut hooks, "tier", diagnosis["tier"].as_str().unwrap_or("none").to_owned());
    }
    let is_program = |name: &&&str| !name.contains(' ');
    let limits: BTreeMap<&str, String> =
        programs.keys().filter(is_program).map(|name| (*name, format!("  at most {}", ceiling(name)))).collect();
    let mut text = rows("hook", &heads, &hooks, &BTreeMap::new());
    text.push('\n');
    text + &rows("program, instructions that the verifier went through", &heads, &programs, &limits)
}

fn each<'a>(diagnosis: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    diagnosis[list].as_array().into_iter().flatten()
}

fn rows(title: &str, heads: &[&str], rows: &BTreeMap<&str, Vec<String>>, notes: &BTreeMap<&str, String>) -> String {
    let first = rows.keys().map(|name| name.len()).chain([title.len()]).max().unwrap_or(0);
    let width = rows.values().flatten().map(String::len).chain(heads.iter().map(|head| head.len())).max().unwrap_or(0);
    let mut text = format!("{title:first$}");
    for head in heads {
        let _ = write!(text, "  {head:>width$}");
    }
    text.push('\n');
    for (name, cells) in rows {
        let _ = write!(text, "{name:first$}");
        for cell in cells {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push_str(notes.get(name).map_or("", String::as_str));
        text.push('\n');
    }
    text
}

/// The check that no verifier has more to do for a program than it may.
pub fn are_below_their_ceilings(columns: &[Column]) -> Suite {
    let over = over_their_ceilings(columns);
    let held = if over.is_empty() { Ok(()) } else { Err(anyhow!("see xtask/src/vm/doctor.rs:\n{}", over.join("\n"))) };
    Suite::check("guests: each program below its ceiling for the verifier", held)
}

/// Programs for which one has, each with the kernel. Before 5.16 none tells of programs on cgroups.
fn over_their_ceilings(columns: &[Column]) -> Vec<String> {
    let mut over = Vec::new();
    for column in columns {
        for probe in column.diagnosis.iter().flat_map(|diagnosis| each(diagnosis, "probes")) {
            let (name, count) = (probe["name"].as_str().unwrap_or("?"), probe["verified_instructions"].as_u64());
            if let Some(count) = count.filter(|count| *count > ceiling(name)) {
                over.push(format!("{name} on {}: {count}, at most {}", column.release, ceiling(name)));
            }
        }
    }
    over
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn column(release: &str, diagnosis: Value) -> Column {
        let (name, release) = (release.to_owned(), release.to_owned());
        Column { name, release, suites: Vec::new(), wall: Duration::ZERO, diagnosis: Some(diagnosis) }
    }

    #[test]
    fn kernels_stand_side_by_side_and_what_one_lacks_is_a_dash() {
        let old = json!({ "tier": "tracing", "hooks": [{ "function": "security_bpf", "state": "attached", "by": "fmod_ret" }],
            "probes": [{ "name": "bpf" }] });
        let new =
            json!({ "tier": "tracepoint", "hooks": [], "probes": [{ "name": "bpf", "verified_instructions": 700 }] });
        let text = render(&[column("5.10", old), column("6.1", new)]);
        let row = text.lines().find(|line| line.starts_with("security_bpf")).unwrap();
        assert!(row.contains("attached (fmod_ret)") && row.ends_with('-'), "{row}");
        let row = text.lines().find(|line| line.starts_with("bpf ")).unwrap();
        assert!(row.contains("loaded") && row.ends_with("700  at most 5000"), "{row}");
    }

    #[test]
    fn a_program_over_its_ceiling_is_named_with_its_kernel() {
        let probes = json!({ "probes": [{ "name": "bpf", "verified_instructions": 5001 }, { "name": "x" }] });
        assert_eq!(over_their_ceilings(&[column("6.1", probes)]), ["bpf on 6.1: 5001, at most 5000"]);
    }
}
