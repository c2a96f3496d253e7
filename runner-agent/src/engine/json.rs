//! JSON as an engine written in Go reads it, without what could be read in two ways.
//!
//! Go takes the last of several equal keys, merges objects that come twice, and finds a struct's field by a key in any case,
//! with two letters outside ASCII that fold to `k` and `s`. Here a key stands once, and fields are known by their folded names.

use serde_json::Value;

pub use crate::json::parse;

/// A key as Go compares it with a field's name.
pub fn fold(key: &str) -> String {
    let folded = key.chars().map(|char| match char {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.collect()
}

/// Whether a value says nothing: what clients send of settings that nobody made.
pub fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fold_as_go_folds_them() {
        assert_eq!(fold("HoſtConfig"), "hostconfig");
        assert_eq!(fold("Li\u{212a}s"), "liks");
        assert_eq!(fold("STRASSE"), "strasse");
        assert_eq!(fold("Straße"), "straße");
    }
}
