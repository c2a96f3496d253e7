//! The `secrets` part of a file.

use std::sync::Arc;

use super::egress::why;
use super::walk::Cursor;
use super::{Draft, FILE_KEYS, ON_READ_KEYS, SECRETS_KEYS, is_slug};
use crate::policy::Severity;
use crate::policy::secret::{ReaderPattern, SecretSpec, check_pattern};

pub fn read(cursor: &Cursor, draft: &mut Draft) {
    let Some(fields) = cursor.fields(SECRETS_KEYS) else {
        return;
    };
    for (index, entry) in fields.get("files").map(|list| list.items()).unwrap_or_default().iter().enumerate() {
        let Some(spec) = file(entry, &draft.name, index) else {
            continue;
        };
        if draft.secrets.iter().any(|known| known.id == spec.id) {
            entry.error(format!("has the class of an entry above, {}; add its paths there", spec.id));
        }
        draft.written.entry(Arc::clone(&spec.id)).or_insert(entry.node.at);
        draft.secrets.push(spec);
    }
    if let Some(on_read) = fields.get("on-read").and_then(|cursor| cursor.fields(ON_READ_KEYS)) {
        draft.on_read = on_read.get("other-readers").and_then(|mode| mode.word()).unwrap_or_default();
    }
}

fn file(entry: &Cursor, policy: &str, index: usize) -> Option<SecretSpec> {
    let fields = entry.fields(FILE_KEYS)?;
    let why = why(&fields);
    let paths = match (fields.get("path"), fields.get("paths")) {
        (Some(path), None) => vec![path],
        (None, Some(paths)) => {
            let items = paths.items();
            if matches!(&paths.node.value, super::raw::Value::List(list) if list.is_empty()) {
                paths.error("is an empty list; name the files");
            }
            items
        }
        (Some(_), Some(_)) => {
            fields.error("has both `path` and `paths`; put all into `paths`");
            return None;
        }
        (None, None) => {
            fields.error("names no file; add `path: \"~/.aws/credentials\"`, or `paths` with several");
            return None;
        }
    };
    let pattern = |cursor: &Cursor| {
        let text = cursor.text()?;
        match check_pattern(text) {
            Ok(()) => Some(text.to_owned()),
            Err(error) => {
                cursor.error(error.to_string());
                None
            }
        }
    };
    let patterns = paths.iter().filter_map(pattern).collect();
    let reader = |cursor: &Cursor| match ReaderPattern::parse(cursor.text()?) {
        Ok(reader) => Some(reader),
        Err(error) => {
            cursor.error(error.to_string());
            None
        }
    };
    let readers = fields.need("readers", "name the programs that own the file; `readers: []` means nobody")?;
    let readers = readers.items().iter().filter_map(reader).collect();
    let id = match fields.get("class").map(|class| (class.text(), class)) {
        None => format!("{policy}/secrets.files[{index}]"),
        Some((Some(text), _)) if is_slug(text) => format!("{policy}/{text}"),
        Some((text, class)) => {
            if let Some(text) = text {
                class.error(format!("{text:?} is no class name; use up to 64 of a-z, 0-9 and `-`, as in \"aws\""));
            }
            return None;
        }
    };
    let why = why?;
    Some(SecretSpec {
        title: fields.get("title").and_then(|title| title.text()).map_or_else(|| why.clone(), Into::into),
        severity: fields.get("severity").and_then(|word| word.word()).unwrap_or(Severity::High),
        id: id.into(),
        patterns,
        readers,
        why,
    })
}
