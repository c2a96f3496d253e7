//! Secret files: the floor's stay whose they are; others may be added.

use std::collections::BTreeSet;

use crate::policy::Policy;
use crate::policy::secret::{SecretClass, SecretPolicy};

use super::Widening;

/// Every class that would give a file of the floor's a reader more.
pub(super) fn check(floor: &Policy, wanted: &Policy, widenings: &mut Vec<Widening>, kept: &mut Vec<String>) {
    for class in added(floor, &wanted.secrets) {
        let own = words(class);
        // By the pattern as written, and by the path that a pattern without wildcards is.
        let mut known: Vec<&SecretClass> =
            class.patterns.iter().filter_map(|text| floor.secrets.classify(text)).collect();
        known.extend(floor.secrets.classes.iter().filter(|known| shares_pattern(known, class)));
        let mut seen = BTreeSet::new();
        for known in known.into_iter().filter(|known| seen.insert(known.id.clone())) {
            let theirs = words(known);
            let more: Vec<&str> = own.difference(&theirs).map(String::as_str).collect();
            if more.is_empty() {
                if own != theirs {
                    kept.push(format!(
                        "{}: files that are {} keep the readers that the floor names",
                        class.id, known.id
                    ));
                }
                continue;
            }
            let place = floor.origin.written.get(&known.id).map(|at| format!(" ({at})")).unwrap_or_default();
            let readers: Vec<&str> = theirs.iter().map(String::as_str).collect();
            widenings.push(Widening {
                id: class.id.clone(),
                written: wanted.origin.written.get(&class.id).cloned(),
                what: format!("adds the readers {} to files that the floor has", more.join(", ")),
                floor: match readers[..] {
                    [] => format!("{}{place} is nobody's to read", known.id),
                    [..] => format!("the floor lets {} read {}{place}", readers.join(", "), known.id),
                },
            });
        }
    }
}

/// The floor's classes, then those that it doesn't have: the first class that matches a path is the file's.
pub(super) fn merge(floor: &Policy, wanted: SecretPolicy) -> SecretPolicy {
    let mut classes = floor.secrets.classes.clone();
    classes.extend(added(floor, &wanted).cloned());
    SecretPolicy::new(classes, floor.secrets.on_read.max(wanted.on_read))
}

/// Classes that the floor doesn't have word for word; both include the shipped catalogue.
fn added<'a>(floor: &'a Policy, wanted: &'a SecretPolicy) -> impl Iterator<Item = &'a SecretClass> {
    wanted.classes.iter().filter(|class| !floor.secrets.classes.iter().any(|known| is_same(known, class)))
}

fn is_same(known: &SecretClass, class: &SecretClass) -> bool {
    known.id == class.id
        && known.severity == class.severity
        && known.patterns == class.patterns
        && known.readers == class.readers
}

fn shares_pattern(known: &SecretClass, class: &SecretClass) -> bool {
    known.patterns.iter().any(|pattern| class.patterns.contains(pattern))
}

fn words(class: &SecretClass) -> BTreeSet<String> {
    class.readers.iter().map(ToString::to_string).collect()
}
