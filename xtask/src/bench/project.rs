//! The project of the `cargo build` load: generated, without dependencies, enough work for a few seconds.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Libraries beside the program; each starts a compiler of its own, as real dependencies do.
const LIBRARIES: usize = 12;
/// Functions in each.
const FUNCTIONS: usize = 25;

/// Writes the project to `folder`.
pub fn create(folder: &Path) -> Result<()> {
    let mut dependencies = String::new();
    let mut calls = String::new();
    for number in 0..LIBRARIES {
        let _ = writeln!(dependencies, "part{number} = {{ path = \"part{number}\" }}");
        let _ = writeln!(calls, "    sum = sum.wrapping_add(part{number}::sum());");
        let library = folder.join(format!("part{number}"));
        write(&library.join("Cargo.toml"), &manifest(&format!("part{number}"), ""))?;
        write(&library.join("src/lib.rs"), &library_source())?;
    }
    write(&folder.join("Cargo.toml"), &(manifest("whole", &dependencies) + "\n[workspace]\n"))?;
    write(
        &folder.join("src/main.rs"),
        &format!("fn main() {{\n    let mut sum = 0_u64;\n{calls}    println!(\"{{sum}}\");\n}}\n"),
    )
}

fn manifest(name: &str, dependencies: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n{dependencies}")
}

/// Generic code over the standard library's collections: what keeps a compiler busy.
fn library_source() -> String {
    let mut source =
        String::from("use std::collections::BTreeMap;\n\npub fn sum() -> u64 {\n    let mut sum = 0_u64;\n");
    for number in 0..FUNCTIONS {
        let _ = writeln!(source, "    sum = sum.wrapping_add(function{number}(sum));");
    }
    source.push_str("    sum\n}\n");
    for number in 0..FUNCTIONS {
        let _ = write!(
            source,
            "\nfn function{number}(seed: u64) -> u64 {{\n    \
             let map: BTreeMap<u64, String> = (seed..seed + {number}).map(|key| (key, format!(\"{{key:?}}\"))).collect();\n    \
             map.iter().filter(|(key, _)| *key % 3 == 0).map(|(key, text)| key ^ text.len() as u64).sum()\n}}\n"
        );
    }
    source
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}
