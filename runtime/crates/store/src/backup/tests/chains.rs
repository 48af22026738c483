//! Backups that continue others, and files that are not what they should be.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_backups_comes_back_as_the_last_moment() {
    let root = tempfile::tempdir().unwrap();
    let mut data = Data::open(&root.path().join("data"));
    let (org, main) = ids("acme", "main");
    let side = WorkspaceId::parse("side").unwrap();
    let file = |n: usize| root.path().join(format!("{n}.bak"));
    let mut sizes = Vec::new();
    let mut n = 0;
    for round in 0..5 {
        for _ in 0..30 {
            data.call("acme", "main", n).await;
            data.call("globex", "main", n).await;
            if round != 2 {
                data.call("acme", "side", n).await;
            }
            n += 1;
        }
        let module = vec![round as u8; 3000];
        let digest = portcullis_core::hex::encode(&<sha2::Sha256 as sha2::Digest>::digest(&module));
        data.modules.write_file(&digest, &module).unwrap();
        match round {
            // A workspace that goes and one of its name that comes later; old files that are dropped; a module that goes.
            1 => data.runs.remove(&org, &side).await.unwrap(),
            2 => {
                data.ledger.prune(&org, 1).await.unwrap();
                data.modules.remove_file(&digest).unwrap();
            }
            3 => assert!(data.runs.prune(&org, &main, 2).await.unwrap() > 0),
            _ => {}
        }
        data = data.settled();
        let before = (round > 0).then(|| file(round - 1));
        data.backup(&file(round), before.as_deref()).await;
        sizes.push(std::fs::metadata(file(round)).unwrap().len());
        let fresh = root.path().join(format!("fresh{round}"));
        let files: Vec<PathBuf> = (0..=round).map(file).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let back = restored(&files, &fresh).await;
        assert_eq!(back.seq, data.store.stats().await.unwrap().seq);
        is_whole(&fresh).await;
        assert_eq!(content(&fresh), content(&data.dir), "round {round}");
    }
    // The whole of it once more: what is new alone is far less.
    data.backup(&file(9), None).await;
    let whole = std::fs::metadata(file(9)).unwrap().len();
    assert!(sizes[4] * 3 < whole * 2, "{sizes:?} {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_order_and_a_missing_link_are_named() {
    let root = tempfile::tempdir().unwrap();
    let data = Data::open(&root.path().join("data"));
    let file = |n: usize| root.path().join(format!("{n}.bak"));
    for n in 0..3 {
        data.call("acme", "main", n as u64).await;
        let before = (n > 0).then(|| file(n - 1));
        data.backup(&file(n), before.as_deref()).await;
    }
    data.backup(&file(7), None).await;
    let (zero, one, two, other) = (file(0), file(1), file(2), file(7));
    let cases: [(&[&Path], &str, &str); 6] = [
        (&[&one], "1.bak", "must come before it"),
        (&[&zero, &two], "2.bak", "one is missing, or the order is wrong"),
        (&[&zero, &two, &one], "2.bak", "one is missing, or the order is wrong"),
        (&[&zero, &zero], "0.bak", "it is a full backup"),
        (&[&other, &one], "1.bak", "one is missing, or the order is wrong"),
        (&[], "restore", "it needs a file"),
    ];
    for (n, (files, name, part)) in cases.into_iter().enumerate() {
        let told = refusal(files, &root.path().join(format!("wrong{n}"))).await;
        assert!(told.contains(name) && told.contains(part), "{told}");
    }
    restored(&[&zero, &one, &two], &root.path().join("right")).await;
    is_whole(&root.path().join("right")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_or_changed_is_refused_wherever_that_is() {
    let root = tempfile::tempdir().unwrap();
    let data = Data::open(&root.path().join("data"));
    for n in 0..5 {
        data.call("acme", "main", n).await;
    }
    let (data, file) = (data.settled(), root.path().join("a.bak"));
    data.backup(&file, None).await;
    let whole = std::fs::read(&file).unwrap();
    let wrong = root.path().join("wrong.bak");
    let mut tried = 0;
    // What follows the last entry is padding of zeros; what the archive says besides names, lengths and content is not
    // looked at.
    let end = whole.windows(8).rposition(|part| part == b"\"sha256\"").unwrap();
    for at in (0..end).step_by(997) {
        std::fs::write(&wrong, &whole[..at]).unwrap();
        refusal(&[&wrong], &root.path().join(format!("cut{at}"))).await;
        tried += 1;
    }
    let mut changed = 0;
    for at in (0..end).step_by(499) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(&wrong, &bytes).unwrap();
        let fresh = root.path().join(format!("changed{at}"));
        match restore_backups(vec![wrong.clone()], None, &fresh, Box::new(|_| ())).await {
            Err(_) => changed += 1,
            Ok(back) => {
                assert_eq!(back.records, 5);
                is_whole(&fresh).await;
                assert_eq!(content(&fresh), content(&data.dir), "byte {at} was of no account");
            }
        }
    }
    assert!(tried > 10 && changed > 20, "{tried} {changed}");
    for (text, part) in [
        (&b"PCSTORE1x"[..], "records alone"),
        (b"", "ends too early"),
        (b"age-encryption.org/v1\n", "--identity"),
    ] {
        std::fs::write(&wrong, text).unwrap();
        let told = refusal(&[&wrong], &root.path().join(format!("no{}", text.len()))).await;
        assert!(told.contains("wrong.bak") && told.contains(part), "{told}");
    }
}
