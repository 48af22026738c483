//! Documents that are made from the code and kept in the repository: they are what the code says. `make docs` writes
//! them anew.

use super::root;

#[path = "../../docs/generated.rs"]
mod generated;

#[test]
fn generated_documents_are_what_the_code_says() {
    let stale: Vec<String> = generated::documents(&root())
        .unwrap()
        .into_iter()
        .filter_map(|(path, made)| {
            let kept = std::fs::read_to_string(root().join(path)).unwrap();
            let line = kept.lines().zip(made.lines()).position(|(a, b)| a != b);
            (kept != made).then(|| format!("{path}, from line {:?} on", line.map(|line| line + 1)))
        })
        .collect();
    assert!(stale.is_empty(), "run `make docs`: {stale:#?}");
}
