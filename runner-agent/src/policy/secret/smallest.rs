//! The smallest entry of `secrets.files` that makes a program an owner of a file.

use std::sync::Arc;

use super::{Reader, ReaderPattern, SecretClass, SecretPolicy, SecretSpec};
use crate::policy::egress::smallest::quoted;
use crate::policy::{Mode, Severity};
use crate::text::base_name;

/// The entry, as a line below `secrets.files`. Tried before it is told: an interpreter owns nothing without its script, and
/// for a program that can't be an owner there is no line.
pub fn line(class: &SecretClass, reader: &Reader) -> Option<String> {
    let name = base_name(reader.exe);
    let script = reader.argv.iter().skip(1).find(|argument| !argument.starts_with('-'));
    let with_script = script.map(|script| format!("{name}:{}", base_name(script)));
    [Some(name.to_owned()), with_script].into_iter().flatten().find_map(|written| {
        let spec = SecretSpec {
            id: "".into(),
            title: "".into(),
            severity: Severity::High,
            patterns: vec![reader.path.to_owned()],
            readers: vec![ReaderPattern::parse(&written).ok()?],
            why: Arc::clone(&class.why),
        };
        let only = SecretClass::new(spec, &class.place).ok()?;
        let fits = SecretPolicy::new(vec![only], Mode::Audit);
        let owned = fits.classify(reader.path).is_some_and(|class| class.may_read(reader));
        owned.then(|| format!("- {{ path: {}, readers: [{}], why: \"…\" }}", quoted(reader.path), quoted(&written)))
    })
}
