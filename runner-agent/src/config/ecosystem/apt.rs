//! apt's package sources and proxies.

use std::path::Path;

use super::{Resolved, Runtime, runtime};

/// Hosts from `sources.list`, `sources.list.d` in both forms, mirror lists, and `Acquire::…::Proxy`.
///
/// Not seen: `cdrom:`, `file:` and `copy:` sources, which need no network, and mirrors that a server redirects to.
pub fn hosts(runtime: &Runtime) -> Resolved {
    let mut resolved = Resolved::default();
    let mut lists = vec![runtime.system("/etc/apt/sources.list")];
    lists.extend(runtime.files_in("/etc/apt/sources.list.d", &["list", "sources"]));
    for file in lists {
        let Some(text) = runtime::text(&file, &mut resolved) else {
            continue;
        };
        let deb822 = file.extension().is_some_and(|ending| ending == "sources");
        let uris = if deb822 { from_stanzas(&text) } else { from_lines(&text) };
        for uri in uris {
            add(runtime, &uri, &file, &mut resolved);
        }
    }
    let mut settings = vec![runtime.system("/etc/apt/apt.conf")];
    settings.extend(runtime.files_in("/etc/apt/apt.conf.d", &["", "conf"]));
    for file in settings {
        let Some(text) = runtime::text(&file, &mut resolved) else {
            continue;
        };
        for url in proxies(&text) {
            resolved.add(url, format!("{}, Acquire proxy", file.display()));
        }
    }
    if resolved.hosts.is_empty() {
        resolved
            .warnings
            .push("apt has no package source on this runner; add rules with the `host` of the mirrors".into());
    }
    resolved
}

fn add(runtime: &Runtime, uri: &str, file: &Path, resolved: &mut Resolved) {
    let source = file.display().to_string();
    if let Some(list) = uri.strip_prefix("mirror+file:") {
        let list = runtime.system(list);
        let Some(text) = runtime::text(&list, resolved) else {
            resolved.warnings.push(format!("{source}: the mirror list {} is not there; left out", list.display()));
            return;
        };
        let mirrors =
            text.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| !word.starts_with('#'));
        for mirror in mirrors {
            resolved.add(mirror, list.display().to_string());
        }
    } else if !["cdrom:", "file:", "copy:"].iter().any(|local| uri.starts_with(local)) {
        resolved.add(uri.strip_prefix("mirror+").unwrap_or(uri), source);
    }
}

/// `deb [options] uri suite …`
fn from_lines(text: &str) -> Vec<String> {
    let uri = |line: &str| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb-src").or_else(|| line.strip_prefix("deb"))?;
        let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
        rest.split_whitespace().next().map(str::to_owned)
    };
    text.lines().filter_map(uri).collect()
}

/// `URIs:` of stanzas that are not switched off; the value may go on over indented lines.
fn from_stanzas(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let mut uris = Vec::new();
        let mut enabled = true;
        let mut key = String::new();
        for line in stanza.lines().filter(|line| !line.starts_with('#')) {
            let value = if line.starts_with([' ', '\t']) {
                line
            } else {
                let Some((name, value)) = line.split_once(':') else {
                    continue;
                };
                key = name.trim().to_ascii_lowercase();
                value
            };
            match key.as_str() {
                "uris" => uris.extend(value.split_whitespace().map(str::to_owned)),
                "enabled" => enabled = !matches!(value.trim(), "no" | "false" | "0"),
                _ => {}
            }
        }
        if enabled {
            found.extend(uris);
        }
    }
    found
}

/// Values of `Acquire::http::Proxy "…";`, also of the form with braces, and for one host alone.
fn proxies(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with('#')) {
        let lower = line.to_ascii_lowercase();
        if !lower.contains("proxy") || lower.contains("proxy-auto") {
            continue;
        }
        found.extend(line.split('"').skip(1).step_by(2).filter(|value| value.contains("://")));
    }
    found
}
