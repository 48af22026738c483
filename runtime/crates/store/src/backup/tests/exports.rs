//! Exports of chains that a move out of a database left.

use super::*;

fn export(dir: &Path, org: &str) -> Option<Vec<u8>> {
    std::fs::read(dir.join(LEDGER_EXPORTS_DIR).join(format!("{org}.ndjson"))).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_of_ledgers_come_back_as_they_were_and_go_with_those_that_are_gone() {
    let root = tempfile::tempdir().unwrap();
    let data = Data::open(&root.path().join("data"));
    data.call("acme", "main", 1).await;
    let none = root.path().join("none.bak");
    data.backup(&none, None).await;
    let fresh = root.path().join("none");
    restored(&[&none], &fresh).await;
    assert!(!fresh.join(LEDGER_EXPORTS_DIR).exists(), "a backup without exports makes no folder of them");

    let exports = data.dir.join(LEDGER_EXPORTS_DIR);
    std::fs::create_dir_all(exports.join("folder.ndjson")).unwrap();
    let text = b"{\"a\":1}\n".repeat(50_000);
    std::fs::write(exports.join("acme.ndjson"), &text).unwrap();
    std::fs::write(exports.join("globex.ndjson"), "{}\n").unwrap();
    std::fs::write(exports.join("notes.txt"), "not the product's").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", exports.join("link.ndjson")).unwrap();
    let (full, more) = (root.path().join("full.bak"), root.path().join("more.bak"));
    data.backup(&full, None).await;
    let fresh = root.path().join("full");
    restored(&[&full], &fresh).await;
    assert_eq!(export(&fresh, "acme").unwrap(), text);
    assert_eq!(export(&fresh, "globex").unwrap(), b"{}\n");
    assert_eq!(std::fs::read_dir(fresh.join(LEDGER_EXPORTS_DIR)).unwrap().count(), 2);
    is_whole(&fresh).await;

    std::fs::remove_file(exports.join("globex.ndjson")).unwrap();
    data.call("acme", "main", 2).await;
    data.backup(&more, Some(&full)).await;
    let fresh = root.path().join("more");
    restored(&[&full, &more], &fresh).await;
    assert_eq!(export(&fresh, "acme").unwrap(), text);
    assert_eq!(export(&fresh, "globex"), None);
    is_whole(&fresh).await;
}
