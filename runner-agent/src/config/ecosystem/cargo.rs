//! cargo's registries: the default one or what replaces it, and alternative ones.

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Resolved, Runtime, runtime};

/// Hosts from `$CARGO_HOME/config.toml`, the environment, and the indexes cargo has fetched on this runner.
///
/// cargo has its default registry built in and tells it nowhere without asking the network, so a default registry that
/// this runner never used is not known. The download host stands in the index's own `config.json`, which is read where
/// cargo keeps a copy. Not seen: git dependencies, and the project's own `.cargo/config.toml` (on purpose).
pub fn hosts(runtime: &Runtime) -> Resolved {
    let mut resolved = Resolved::default();
    let home = runtime.var("CARGO_HOME").map_or_else(|| runtime.home.join(".cargo"), PathBuf::from);
    let mut replaced = false;
    for name in ["config.toml", "config"] {
        let file = home.join(name);
        let Some(text) = runtime::text(&file, &mut resolved) else {
            continue;
        };
        match text.parse::<Table>() {
            Ok(table) => replaced |= configured(&table, &file, &mut resolved),
            Err(error) => {
                resolved.warnings.push(format!("{} is no TOML: {}; left out", file.display(), error.message()));
            }
        }
        break;
    }
    for (key, value) in &runtime.vars {
        if key.starts_with("CARGO_REGISTRIES_") && key.ends_with("_INDEX") && !value.is_empty() {
            resolved.add(value, key.clone());
        }
    }
    let known = resolved.hosts.len();
    fetched(&home.join("registry/index"), &mut resolved);
    if !replaced && resolved.hosts.len() == known {
        resolved.warnings.push(
            "cargo's default registry is not known: this runner has fetched nothing from it yet, and cargo names it in no \
             file; add rules with the `host` of its index and of its downloads"
                .into(),
        );
    }
    resolved
}

/// Notes what a configuration names; whether it replaces the default registry.
fn configured(table: &Table, file: &Path, resolved: &mut Resolved) -> bool {
    let mut replaced = false;
    for (name, source) in table.get("source").and_then(Value::as_table).into_iter().flatten() {
        replaced |= source.get("replace-with").is_some();
        if let Some(url) = source.get("registry").and_then(Value::as_str) {
            resolved.add(url, format!("{}, source.{name}", file.display()));
        }
    }
    for (name, registry) in table.get("registries").and_then(Value::as_table).into_iter().flatten() {
        if let Some(url) = registry.get("index").and_then(Value::as_str) {
            resolved.add(url, format!("{}, registries.{name}", file.display()));
        }
    }
    replaced
}

/// Indexes that cargo has fetched: directories `<host>-<hash>`, and in each what the index says of its downloads.
fn fetched(directory: &Path, resolved: &mut Resolved) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    for name in names {
        let source = format!("{}/{name}", directory.display());
        if let Some((host, hash)) = name.rsplit_once('-')
            && host.contains('.')
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            resolved.add_host(host.to_ascii_lowercase(), 443, source.clone());
        }
        let config = fs::read_to_string(directory.join(&name).join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        if config.get("dl").is_none() {
            resolved.warnings.push(format!(
                "{source} does not say where its downloads are; if that is another host, add a rule with its `host`"
            ));
        }
        for key in ["dl", "api"] {
            if let Some(url) = config.get(key).and_then(|url| url.as_str()) {
                resolved.add(url, format!("{source}/config.json, {key}"));
            }
        }
    }
}
