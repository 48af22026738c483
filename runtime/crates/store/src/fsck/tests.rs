//! Damage of every kind is named; a directory without any is whole.

use std::path::{Path, PathBuf};

use portcullis_core::ledger::LedgerPhase;

use super::*;
use crate::ledger::tests::event;
use crate::runs::tests::{generated, ids};
use crate::{Backends, Batch, LedgerSync};

async fn fill(dir: &Path) {
    let backends = Backends::open_directory(dir, LedgerSync::Group).unwrap();
    for n in 0..40_u64 {
        let value = format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(n as usize * 150)).into_bytes();
        backends.store.commit(Batch::new().put(format!("thing/{n:03}"), value)).await.unwrap();
        backends.ledger.append(&event("acme", &format!("out_{n}"), LedgerPhase::Refused)).await.unwrap();
        let (org, workspace) = ids("acme", if n % 2 == 0 { "main" } else { "side" });
        backends.runs.append(&generated(&org, &workspace, n)).await.unwrap();
    }
    drop(backends);
    let files = crate::ModuleFiles::new(dir.join("modules"));
    files.write_file(&hex::encode(&Sha256::digest(b"module")), b"module").unwrap();
}

async fn check(dir: &Path) -> FsckReport {
    fsck(dir, None, &mut |_, _| ()).await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn flip(path: &Path, part: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = (bytes.len() as u64 * part / 100) as usize;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_without_damage_is_whole_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path()).await;
    for _ in 0..3 {
        let report = check(dir.path()).await;
        assert!(report.is_whole(), "{:?}", report.findings);
        assert_eq!(
            (report.records, report.ledger_records, report.run_records, report.modules),
            (40, 40, 40, 1)
        );
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(check(empty.path()).await.is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_named_with_its_file() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    fill(&whole).await;
    let module = format!("modules/{}.wasm", hex::encode(&Sha256::digest(b"module")));
    let ledger = "ledger/acme/0000000001.ndjson";
    let runs = "runs/acme/main/0000000001.ndjson";
    type Damage = Box<dyn Fn(&Path)>;
    let flipped = |file: &str| {
        let file = file.to_owned();
        Box::new(move |dir: &Path| flip(&dir.join(&file), 50)) as Damage
    };
    let gone = |file: &str| {
        let file = file.to_owned();
        Box::new(move |dir: &Path| {
            let path: PathBuf = dir.join(&file);
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap()
            } else {
                std::fs::remove_file(path).unwrap()
            }
        }) as Damage
    };
    let spoilt = |file: &str| {
        let file = file.to_owned();
        Box::new(move |dir: &Path| {
            let bytes = std::fs::read(dir.join(&file)).unwrap().len();
            std::fs::write(dir.join(&file), vec![b'x'; bytes]).unwrap();
        }) as Damage
    };
    let cut = |file: &str| {
        let file = file.to_owned();
        Box::new(move |dir: &Path| {
            let text = std::fs::read_to_string(dir.join(&file)).unwrap();
            let kept: Vec<&str> = text.lines().take(5).collect();
            std::fs::write(dir.join(&file), kept.join("\n") + "\n").unwrap();
        }) as Damage
    };
    let cases: Vec<(Damage, &str, &str)> = vec![
        (flipped(ledger), ledger, ""),
        (cut(ledger), ledger, "its head says"),
        (gone(ledger), "ledger/acme", ""),
        (gone("ledger/acme"), "ledger/acme", "missing"),
        (flipped("ledger/acme/head.json"), "ledger/acme", ""),
        (spoilt("ledger/.heads/acme"), "ledger/.heads/acme", "head"),
        (flipped(runs), runs, "hash"),
        (cut(runs), runs, "written"),
        (gone(runs), "runs/acme/main", ""),
        (gone("runs/acme/side"), "runs/acme/side", "missing"),
        (spoilt("runs/.heads/acme/main"), "runs/.heads/acme/main", "head"),
        (flipped(&module), &module, "named after"),
        (gone("store/watermark"), "store/watermark", "missing"),
        (gone("store/sled/db"), "store/sled", "missing"),
        (gone("runs"), "runs", "missing"),
        (gone("ledger"), "ledger", "missing"),
    ];
    for (n, (damage, file, part)) in cases.into_iter().enumerate() {
        let dir = root.path().join(n.to_string());
        copy(&whole, &dir);
        damage(&dir);
        let report = check(&dir).await;
        let named = |finding: &FsckFinding| finding.file.starts_with(file) && finding.reason.contains(part);
        assert!(report.findings.iter().any(named), "{n} {file} {part:?}: {:?}", report.findings);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_records_speak_of_are_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path()).await;
    let job = |parts: u32, bytes: u64| {
        serde_json::to_vec(&serde_json::json!({
            "run_id": "run_0123456789ab7abc8def0123456789ab", "org": "acme", "workspace": "main", "workspace_commit": 1,
            "state": "queued", "at_ms": 1, "tries": 0, "fence": 0, "sent": false, "cancel": false,
            "input_parts": parts, "input_bytes": bytes, "detail": {},
        }))
        .unwrap()
    };
    let name = "acme/main/run_0123456789ab7abc8def0123456789ab";
    let large = vec![b'x'; 200_000];
    let blob = hex::encode(&Sha256::digest(&large));
    let cases = [
        (Batch::new().put(format!("job/{name}"), job(1, 9)), "part 0 of its input is missing"),
        (Batch::new().put(format!("job_input/{name}/00000"), vec![0; 8]), "8 bytes, and 9 were written"),
        (Batch::new().put(format!("job_input/{name}/00000"), vec![0; 9]), "form of what is sealed"),
        (Batch::new().put(format!("job/{name}"), job(0, 0)), ""),
        (
            Batch::new().put("thing/large", format!("{{\"$blob\":\"{blob}\",\"parts\":4}}").into_bytes()),
            "a part is missing",
        ),
    ];
    for (batch, part) in cases {
        let backends = Backends::open_directory(dir.path(), LedgerSync::Group).unwrap();
        backends.store.commit(batch).await.unwrap();
        drop(backends);
        let report = check(dir.path()).await;
        if part.is_empty() {
            assert!(report.is_whole(), "{:?}", report.findings);
        } else {
            let found: Vec<&str> = report.findings.iter().map(|finding| finding.reason.as_str()).collect();
            assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
        }
    }
}

/// A generator, so that a failure can be made again.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most.max(1)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_damage_that_changes_what_is_read_is_never_silent() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    fill(&whole).await;
    let read = async |dir: &Path| -> Result<Vec<String>, String> {
        let backends = Backends::open_directory(dir, LedgerSync::Group).map_err(|error| error.to_string())?;
        let mut read = Vec::new();
        let all = backends.store.list("", None, 1000).await.map_err(|error| error.to_string())?;
        read.extend(all.into_iter().map(|(key, found)| format!("{key} {:?}", found)));
        let (org, _) = ids("acme", "main");
        let chain = backends.ledger.verify(&org).await.map_err(|error| error.to_string())?;
        read.push(format!("{} {} {:?}", chain.records, chain.last_hash, chain.bad));
        for workspace in ["main", "side"] {
            let (org, workspace) = ids("acme", workspace);
            let query = crate::runs::tests::oldest_first((org, workspace), None, 100);
            let page = backends.runs.query(&query).await.map_err(|error| error.to_string())?;
            read.extend(page.unwrap().records.iter().map(|record| serde_json::to_string(record).unwrap()));
        }
        Ok(read)
    };
    let as_written = read(&whole).await.unwrap();
    let mut files = Vec::new();
    let mut open = vec![whole.clone()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path)
            } else {
                files.push(path.strip_prefix(&whole).unwrap().to_owned())
            }
        }
    }
    files.sort();
    let mut random = Random(7);
    let (mut silent, mut found, mut changed) = (Vec::new(), 0, 0);
    for n in 0..120 {
        let file = &files[random.below(files.len() as u64) as usize];
        let dir = root.path().join("damaged");
        let _ = std::fs::remove_dir_all(&dir);
        copy(&whole, &dir);
        let path = dir.join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(3) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            _ => bytes[at..].iter_mut().take(32).for_each(|byte| *byte = 0),
        }
        std::fs::write(&path, &bytes).unwrap();
        let copied = root.path().join("read");
        let _ = std::fs::remove_dir_all(&copied);
        copy(&dir, &copied);
        let report = check(&dir).await;
        let is_changed = read(&copied).await.map_or(true, |read| read != as_written);
        changed += usize::from(is_changed);
        found += usize::from(!report.is_whole());
        if is_changed && report.is_whole() {
            silent.push(format!("{n}: {} at {at}", file.display()));
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
    assert!(changed > 15 && found >= changed, "{changed} {found}");
}
