//! JSON as it is signed: RFC 8785 (JCS), for values whose numbers are integers. One value has one text, however it was written.

use serde_json::Value;

/// The text of a value: keys sorted by UTF-16 units, no space, escapes only where JSON needs them.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            out.push('{');
            for (at, (key, item)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(&Value::from(key.as_str()), out);
                out.push(':');
                write(item, out);
            }
            out.push('}');
        }
        // serde_json escapes as RFC 8785 does.
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth_and_nothing_is_between() {
        let value = json!({ "b": [1, { "z": null, "a": true }], "a": "x\u{1}\n\"é" });
        assert_eq!(canonical(&value), r#"{"a":"x\u0001\n\"é","b":[1,{"a":true,"z":null}]}"#);
    }

    #[test]
    fn keys_are_sorted_by_utf16_units_and_not_by_bytes() {
        // RFC 8785, section 3.2.3: a character beyond the basic plane begins with a surrogate, which sorts before U+FB33.
        let value = json!({ "\u{fb33}": 1, "\u{1f600}": 2 });
        assert_eq!(canonical(&value), "{\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }
}
