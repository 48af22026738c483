//! Every row of the lists of known attacks has a test with its name.

use std::path::{Path, PathBuf};

/// The lists: letter and number of rows. `i` is the list of spellings of addresses.
const LISTS: &[(char, usize)] = &[('u', 18), ('i', 31), ('d', 12), ('r', 9), ('h', 15), ('s', 12)];

/// The folders with these tests.
const FOLDERS: &[&str] = &[
    "tests/it/attack",
    "tests/it/netns",
    "runtime/crates/action/src",
    "runtime/crates/core/src",
    "runtime/crates/egress/src",
    "runtime/crates/sandbox/src",
    "runtime/crates/store/src",
];

fn texts(dir: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs")
            && path.file_name() != Some("coverage.rs".as_ref())
        {
            into.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_row_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    for folder in FOLDERS {
        texts(&root.join(folder), &mut sources);
    }
    let rows = LISTS.iter().flat_map(|(list, count)| (1..=*count).map(move |n| format!("{list}{n}")));
    let missing: Vec<String> =
        rows.filter(|row| !sources.iter().any(|text| text.contains(&format!("fn {row}_")))).collect();
    assert_eq!(missing, Vec::<String>::new(), "rows without a test");
}
