//! pip's indexes, and where the default index keeps its files.

use std::path::PathBuf;

use super::program::{Answer, ask};
use super::{Resolved, Runtime, parse_url, runtime};

/// Prints the default index and its file host, which pip holds as constants.
///
/// An internal module, because pip tells neither in its configuration; a pip that moves it makes a warning.
const DEFAULTS: &str = "from pip._internal.models.index import PyPI as index\nprint(index.url)\nprint('https://' + index.file_storage_domain + '/')";

/// Hosts from the environment, pip's configuration files, and pip itself for its defaults.
///
/// Not seen: where an index of one's own keeps its files if that is another host (the index's pages say so, not the
/// configuration), and what only other tools are configured with.
pub fn hosts(runtime: &Runtime) -> Resolved {
    let mut resolved = Resolved::default();
    let mut replaced = false;
    for key in ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"] {
        if let Some(url) = runtime.var(key) {
            resolved.add(url, key);
            replaced |= key == "PIP_INDEX_URL";
        }
    }
    for key in ["PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"] {
        for url in runtime.var(key).unwrap_or_default().split_whitespace() {
            resolved.add(url, key);
        }
    }
    for file in files(runtime) {
        let Some(text) = runtime::text(&file, &mut resolved) else {
            continue;
        };
        for (key, url) in urls(&text) {
            resolved.add(&url, format!("{}, {key}", file.display()));
            replaced |= key == "index-url";
        }
    }
    if !replaced {
        defaults(runtime, &mut resolved);
    }
    resolved
}

fn defaults(runtime: &Runtime, resolved: &mut Resolved) {
    let mut reasons = Vec::new();
    for python in ["python3", "python"] {
        // Isolated: neither the working directory nor PYTHON… variables decide what is imported.
        match ask(runtime, python, &["-I", "-c", DEFAULTS], &[]) {
            Answer::Text(text) if text.lines().any(|line| parse_url(line).is_some()) => {
                for (line, what) in text.lines().zip(["default index", "files of the default index"]) {
                    resolved.add(line, format!("pip, {what}"));
                }
                return;
            }
            Answer::Text(_) => reasons.push(format!("`{python}` answered with no address")),
            Answer::Missing => {}
            Answer::Failed(why) => reasons.push(why),
        }
    }
    let reason = if reasons.is_empty() { "there is no python3".to_owned() } else { reasons.join(", ") };
    resolved.warnings.push(format!(
        "pip's default index is not known, because {reason}; add rules with the `host` of the index and of its files"
    ));
}

fn files(runtime: &Runtime) -> Vec<PathBuf> {
    let mut files = vec![
        runtime.system("/etc/pip.conf"),
        runtime.system("/etc/xdg/pip/pip.conf"),
        runtime.home.join(".pip/pip.conf"),
        runtime.home.join(".config/pip/pip.conf"),
    ];
    files.extend(runtime.var("PIP_CONFIG_FILE").map(PathBuf::from));
    files
}

/// `index-url` and `extra-index-url` in any section; the latter may go on over indented lines.
fn urls(text: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';', '[']) {
            current = if content.starts_with('[') { None } else { current };
            continue;
        }
        let value = if line.starts_with([' ', '\t']) && current.is_some() {
            content
        } else {
            let Some((key, value)) = content.split_once(['=', ':']) else {
                continue;
            };
            current = match key.trim().replace('_', "-").as_str() {
                "index-url" | "index" => Some("index-url"),
                "extra-index-url" => Some("extra-index-url"),
                _ => None,
            };
            value
        };
        if let Some(key) = current {
            found.extend(value.split_whitespace().map(|url| (key, url.to_owned())));
        }
    }
    found
}
