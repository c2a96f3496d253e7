//! Any bytes as a policy file: never a panic, never slow, every problem with a place, and what is accepted can be used.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use runner_agent::config::check::check;
use runner_agent::policy::secret::{Place, SecretClass, SecretPolicy};

fuzz_target!(|bytes: &[u8]| {
    let (draft, problems) = check(Path::new("policy.yml"), bytes);
    assert!(problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
    assert_eq!(draft.is_some(), !problems.iter().any(|problem| problem.is_error()));
    let Some(draft) = draft else { return };
    let place = Arc::new(Place { homes: vec!["/home/other".into(), "/home/runner".into()], workspaces: Vec::new() });
    let classes = draft.secrets.into_iter().filter_map(|spec| SecretClass::new(spec, &place).ok()).collect();
    let secrets = SecretPolicy::new(classes, draft.on_read);
    let list = secrets.watch();
    for path in ["/home/other/.npmrc", "/home/runner/.ssh/id_rsa", "/a/b/c/d", "/proc/1/environ"] {
        assert!(secrets.classify(path).is_none() || list.accepts(path));
    }
});
