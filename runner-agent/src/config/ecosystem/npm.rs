//! npm's registries: the default one and those of scopes.

use std::path::PathBuf;

use super::program::{Answer, ask};
use super::{Resolved, Runtime, runtime};

/// Hosts from the environment, the user's and the machine's `.npmrc`, and npm itself for its default.
///
/// Not seen: the project's own `.npmrc` (on purpose), and registries that only yarn, pnpm or bun are configured with.
pub fn hosts(runtime: &Runtime) -> Resolved {
    let mut resolved = Resolved::default();
    let mut default_known = false;
    for key in ["npm_config_registry", "NPM_CONFIG_REGISTRY"] {
        if let Some(url) = runtime.var(key) {
            resolved.add(url, key);
            default_known = true;
        }
    }
    for file in files(runtime) {
        let Some(text) = runtime::text(&file, &mut resolved) else {
            continue;
        };
        for (key, value) in entries(&text) {
            let value = expand(value, runtime);
            if key == "registry" || (key.starts_with('@') && key.ends_with(":registry")) {
                resolved.add(&value, format!("{}, {key}", file.display()));
                default_known |= key == "registry";
            }
        }
    }
    if !default_known {
        let pass = ["NPM_CONFIG_USERCONFIG", "npm_config_userconfig", "NPM_CONFIG_GLOBALCONFIG", "NPM_CONFIG_PREFIX"];
        match ask(runtime, "npm", &["config", "get", "registry"], &pass) {
            Answer::Text(url) => resolved.add(&url, "npm config, registry"),
            Answer::Missing => resolved.warnings.push(
                "npm is not installed and no .npmrc names a registry; add a rule with the `host` of the registry"
                    .into(),
            ),
            Answer::Failed(why) => {
                resolved.warnings.push(format!("{why}; add a rule with the `host` of the npm registry"));
            }
        }
    }
    resolved
}

fn files(runtime: &Runtime) -> Vec<PathBuf> {
    let user = runtime.var("NPM_CONFIG_USERCONFIG").or_else(|| runtime.var("npm_config_userconfig"));
    let user = user.map_or_else(|| runtime.home.join(".npmrc"), PathBuf::from);
    vec![user, runtime.system("/etc/npmrc"), runtime.system("/usr/etc/npmrc"), runtime.system("/usr/local/etc/npmrc")]
}

/// `key = value` lines; the value without quotes.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with([';', '#']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim().trim_matches(['"', '\''])))
}

/// Puts variables in for `${NAME}`, as npm does.
fn expand(value: &str, runtime: &Runtime) -> String {
    let mut done = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else {
            break;
        };
        done.push_str(before);
        done.push_str(runtime.var(name).unwrap_or_default());
        rest = tail;
    }
    done + rest
}
