//! `trust` in the daemon's configuration: whose word is believed, and what makes code trusted.

use crate::config::check::walk::{Cursor, Fields};
use crate::identity::TrustRules;

/// Keys of `trust`.
const TRUST_KEYS: &[&str] =
    &["believe", "protected", "provider-protects", "internal-pull-requests", "plain", "release"];

/// Keys of `trust.release`.
const RELEASE_KEYS: &[&str] = &["tags", "environments", "events"];

/// Reads it; what is not right is told, and left as it is by default.
pub(super) fn trust(cursor: &Cursor) -> TrustRules {
    let mut rules = TrustRules::default();
    let Some(fields) = cursor.fields(TRUST_KEYS) else { return rules };
    if let Some(believe) = fields.get("believe") {
        rules.believe = believe.one_or_more().iter().filter_map(Cursor::word).collect();
    }
    let globs = |fields: &Fields, key: &str, place: &mut Vec<String>| {
        if let Some(cursor) = fields.get(key) {
            *place = cursor.one_or_more().iter().filter_map(glob).collect();
        }
    };
    globs(&fields, "protected", &mut rules.protected);
    for (key, place) in [
        ("provider-protects", &mut rules.provider_protects),
        ("internal-pull-requests", &mut rules.internal_pull_requests),
        ("plain", &mut rules.plain),
    ] {
        if let Some(truth) = fields.get(key).and_then(|cursor| cursor.truth()) {
            *place = truth;
        }
    }
    if let Some(release) = fields.get("release").and_then(|cursor| cursor.fields(RELEASE_KEYS)) {
        globs(&release, "tags", &mut rules.release.tags);
        globs(&release, "environments", &mut rules.release.environments);
        globs(&release, "events", &mut rules.release.events);
    }
    rules
}

fn glob(cursor: &Cursor) -> Option<String> {
    let text = cursor.text()?;
    if let Err(error) = globset::GlobBuilder::new(text).literal_separator(true).build() {
        cursor.error(format!("{text:?} is no glob: {}; quote special characters as `[*]`", error.kind()));
        return None;
    }
    Some(text.to_owned())
}
