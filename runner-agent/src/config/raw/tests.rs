use std::fmt::Write as _;

use super::*;

fn error(bytes: &[u8]) -> (u32, u32, String) {
    let error = parse(bytes).unwrap_err();
    (error.at.line, error.at.column, error.message)
}

#[test]
fn keys_and_values_know_their_place_and_repetitions_are_kept() {
    let Value::Map(entries) = parse(b"a: 1\nb:\n  - \"2\"\n  - ~\na: x\n").unwrap().value else { panic!("a map") };
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[2].0, Key { at: At { line: 5, column: 1 }, text: "a".into() });
    let Value::List(items) = &entries[1].1.value else { panic!("a list") };
    assert_eq!(items[0], Node { at: At { line: 3, column: 5 }, value: Value::Text { text: "2".into(), plain: false } });
    assert_eq!(items[1].value, Value::Null);
}

#[test]
fn what_is_no_tree_is_told_where_and_why() {
    assert!(error(b"").2.starts_with("is empty"));
    assert!(error(b"# nothing\n").2.starts_with("is empty"));
    assert_eq!(error("a: ä\nb: ".as_bytes().iter().copied().chain([0xff]).collect::<Vec<_>>().as_slice()).0, 2);
    assert!(error(b"a: &x 1\nb: *x\n").2.contains("anchor"));
    assert!(error(b"a: !!str 1\n").2.contains("tag"));
    assert!(error(b"a: 1\n---\nb: 2\n").2.contains("second document"));
    assert!(error(b"a: [1, 2\n").2.starts_with("is no YAML"));
    assert!(error(b"[a, b]: 1\n").2.contains("a key is a word"));
    assert!(error(b"a: *nowhere\n").2.starts_with("is no YAML"));
}

#[test]
fn large_deep_and_explosive_files_are_refused_quickly() {
    let started = std::time::Instant::now();
    assert!(error(&vec![b'a'; 1024 * 1024]).2.contains("more than 262144 bytes"));
    assert!(error("- ".repeat(2000).as_bytes()).2.contains("nested deeper"));
    assert!(!error("[".repeat(2000).as_bytes()).2.is_empty());
    assert!(error("- a\n".repeat(60_000).as_bytes()).2.contains("more than 50000"));
    let mut bomb = "a0: &a0 [x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{items}]").unwrap();
    }
    assert!(error(bomb.as_bytes()).2.contains("anchor"));
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_path_that_is_no_readable_file_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    assert!(read(directory.path()).unwrap_err().message.contains("directory"));
    assert!(read(&directory.path().join("none.yml")).unwrap_err().message.contains("no such file"));
    assert!(read(Path::new("/dev/null")).unwrap_err().message.contains("regular file"));
}
