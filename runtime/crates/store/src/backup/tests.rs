//! Backups of a directory that is written to, and what comes back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::ledger::LedgerPhase;

use super::*;
use crate::ledger::tests::event;
use crate::runs::tests::{generated, ids};
use crate::{
    Batch, FileLedger, FileRuns, Ledger as _, LedgerSync, ModuleFiles, RunCursor, RunFilter, RunOrder,
    RunQuery, RunScope, Runs as _, SledStore, fsck,
};

mod chains;
mod exports;

/// A data directory that is open, with small files.
struct Data {
    store: Arc<SledStore>,
    ledger: FileLedger,
    runs: FileRuns,
    modules: ModuleFiles,
    dir: PathBuf,
}

impl Data {
    fn open(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        Self {
            store: Arc::new(SledStore::open(&dir.join("store")).unwrap()),
            ledger: FileLedger::open_with_segments(&dir.join("ledger"), LedgerSync::Group, 6000).unwrap(),
            runs: FileRuns::open_with_segments(&dir.join("runs"), 8000).unwrap(),
            modules: ModuleFiles::new(dir.join("modules")),
            dir: dir.to_owned(),
        }
    }

    /// The same directory, closed and opened again: every head says how far its log is.
    fn settled(self) -> Self {
        let dir = self.dir.clone();
        drop(self);
        Self::open(&dir)
    }

    /// What a call does: its attempt in the ledger, then its run, then the record that says so.
    async fn call(&self, org: &str, workspace: &str, n: u64) {
        let (org, workspace) = ids(org, workspace);
        let entry = format!("out_{workspace}_{n}");
        for phase in [LedgerPhase::Begin, LedgerPhase::Complete] {
            self.ledger.append(&event(org.as_str(), &entry, phase)).await.unwrap();
        }
        self.runs.append(&generated(&org, &workspace, n)).await.unwrap();
        let key = format!("ended/{org}/{workspace}/{n:06}");
        self.store.commit(Batch::new().put(key, b"{}".to_vec())).await.unwrap();
    }

    async fn backup(&self, file: &Path, since: Option<&Path>) -> BackupReport {
        let parts = BackupParts::of_directory(self.store.clone(), &self.dir);
        let since = since.map(|file| read_known(file, None).unwrap());
        let to = Box::new(File::create_new(file).unwrap());
        make_backup(parts, since, None, to).await.unwrap()
    }

    async fn run_numbers(&self, org: &str, workspace: &str) -> BTreeSet<u64> {
        let (org, workspace) = ids(org, workspace);
        let query = RunQuery {
            scope: RunScope::Workspace(org.clone(), workspace.clone()),
            filter: RunFilter::default(),
            order: RunOrder::OldestFirst,
            after: None::<RunCursor>,
            limit: 100,
        };
        let (mut found, mut after) = (BTreeSet::new(), None);
        loop {
            let page = self.runs.query(&RunQuery { after, ..query.clone() }).await.unwrap().unwrap();
            for record in &page.records {
                let body: serde_json::Value = serde_json::from_str(record.body.get()).unwrap();
                let number =
                    body["event_id"].as_str().unwrap().trim_start_matches("event ").parse::<u64>().unwrap();
                found.insert(number);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    }

    /// Numbers of the calls that the records know of.
    async fn ended(&self, org: &str, workspace: &str) -> Vec<u64> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let prefix = format!("ended/{org}/{workspace}/");
            let page = self.store.list(&prefix, after.as_deref(), 1000).await.unwrap();
            all.extend(page.iter().map(|(key, _)| key.rsplit('/').next().unwrap().parse::<u64>().unwrap()));
            match page.last() {
                Some((key, _)) => after = Some(key.clone()),
                None => return all,
            }
        }
    }
}

async fn make_backup(
    parts: BackupParts,
    since: Option<KnownBackup>,
    recipient: Option<BackupRecipient>,
    to: Box<dyn Write + Send>,
) -> Result<BackupReport, BackupError> {
    begin_backup(parts, since).await?.write(recipient, to, Box::new(|_| ())).await
}

async fn restored(files: &[&Path], dir: &Path) -> RestoreReport {
    let files = files.iter().map(|file| file.to_path_buf()).collect();
    restore_backups(files, None, dir, Box::new(|_| ())).await.unwrap()
}

async fn refusal(files: &[&Path], dir: &Path) -> String {
    let files = files.iter().map(|file| file.to_path_buf()).collect();
    restore_backups(files, None, dir, Box::new(|_| ())).await.unwrap_err().to_string()
}

async fn is_whole(dir: &Path) {
    let report = fsck(dir, None, &mut |_, _| ()).await.unwrap();
    assert!(report.is_whole(), "{:?}", report.findings);
}

/// Every file below a directory, without what is made anew by whoever opens it.
fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for kind in ["ledger", "runs", "modules"] {
        let mut open = vec![dir.join(kind)];
        while let Some(below) = open.pop() {
            for entry in std::fs::read_dir(&below).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                if path.is_dir() {
                    if name != ".index" {
                        open.push(path)
                    }
                } else if name != ".lock" {
                    let name = path.strip_prefix(dir).unwrap().display().to_string();
                    found.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_is_what_was_there() {
    let root = tempfile::tempdir().unwrap();
    let data = Data::open(&root.path().join("data"));
    for n in 0..40 {
        for (org, workspace) in [("acme", "main"), ("acme", "side"), ("globex", "main")] {
            data.call(org, workspace, n).await;
        }
    }
    let module = vec![7_u8; 5000];
    let digest = portcullis_core::hex::encode(&<sha2::Sha256 as sha2::Digest>::digest(&module));
    data.modules.write_file(&digest, &module).unwrap();
    std::fs::write(data.dir.join("master.key"), "a secret of the machine").unwrap();
    std::fs::create_dir(data.dir.join("compiled")).unwrap();
    std::fs::write(data.dir.join("compiled/x"), "machine code").unwrap();
    let (data, file) = (data.settled(), root.path().join("a.bak"));
    let report = data.backup(&file, None).await;
    assert_eq!((report.records, report.logs), (120, 5));
    assert!(!data.dir.join(BACKUP_SPOOL).exists(), "nothing is left");
    let text = std::fs::read(&file).unwrap();
    for secret in [&b"a secret of the machine"[..], b"machine code"] {
        assert!(!text.windows(secret.len()).any(|part| part == secret));
    }
    let fresh = root.path().join("fresh");
    let back = restored(&[&file], &fresh).await;
    assert_eq!((back.seq, back.records, back.logs), (report.seq, 120, 5));
    is_whole(&fresh).await;
    let Data { dir, .. } = data;
    assert_eq!(content(&fresh), content(&dir));
    let again = Data::open(&fresh);
    for n in 40..45 {
        again.call("acme", "main", n).await;
    }
    assert_eq!(again.ended("acme", "main").await.len(), 45);
    assert!(again.ledger.verify(&ids("acme", "main").0).await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_under_load_has_one_moment_and_nothing_refers_to_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let data = Arc::new(Data::open(&root.path().join("data")));
    let stop = Arc::new(AtomicBool::new(false));
    let places = [("acme", "main"), ("acme", "side"), ("globex", "main")];
    let acknowledged: Vec<Arc<AtomicU64>> = places.iter().map(|_| Arc::default()).collect();
    let mut calling = Vec::new();
    for ((org, workspace), done) in places.into_iter().zip(&acknowledged) {
        let (data, stop, done) = (data.clone(), stop.clone(), done.clone());
        calling.push(tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                data.call(org, workspace, n).await;
                n += 1;
                done.store(n, Ordering::SeqCst);
            }
        }));
    }
    while acknowledged.iter().any(|done| done.load(Ordering::SeqCst) < 30) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for round in 0..6 {
        let file = root.path().join(format!("{round}.bak"));
        let before: Vec<u64> = acknowledged.iter().map(|done| done.load(Ordering::SeqCst)).collect();
        data.backup(&file, None).await;
        let after: Vec<u64> = acknowledged.iter().map(|done| done.load(Ordering::SeqCst)).collect();
        let fresh = root.path().join(format!("fresh{round}"));
        restored(&[&file], &fresh).await;
        is_whole(&fresh).await;
        let back = Data::open(&fresh);
        for ((org, workspace), (before, after)) in places.into_iter().zip(before.into_iter().zip(after)) {
            let ended = back.ended(org, workspace).await;
            let count = ended.len() as u64;
            assert_eq!(
                ended,
                (0..count).collect::<Vec<_>>(),
                "calls as they were acknowledged, without a gap"
            );
            assert!((before..=after + 1).contains(&count), "{before} {count} {after}");
            let runs = back.run_numbers(org, workspace).await;
            // Two calls share an event's number.
            assert!(ended.iter().all(|n| runs.contains(&(n / 2))), "{org} {workspace}: a run is missing");
            let chain = back.ledger.verify(&OrgId::parse(org).unwrap()).await.unwrap();
            assert!(chain.is_intact(), "{:?}", chain.bad);
        }
        // Both workspaces of acme write to one ledger: each call that is known has its two records.
        let acme = back.ended("acme", "main").await.len() + back.ended("acme", "side").await.len();
        let chain = back.ledger.verify(&OrgId::parse("acme").unwrap()).await.unwrap();
        assert!(chain.records >= 2 * acme as u64, "{} {acme}", chain.records);
    }
    stop.store(true, Ordering::SeqCst);
    for one in calling {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_that_are_dropped_and_workspaces_that_go_meanwhile_leave_chains_whole() {
    let root = tempfile::tempdir().unwrap();
    let data = Arc::new(Data::open(&root.path().join("data")));
    let stop = Arc::new(AtomicBool::new(false));
    let dropping = {
        let (data, stop) = (data.clone(), stop.clone());
        tokio::spawn(async move {
            let (org, main) = ids("acme", "main");
            let side = WorkspaceId::parse("side").unwrap();
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                for _ in 0..20 {
                    data.call("acme", "main", n).await;
                    data.call("acme", "side", n).await;
                    n += 1;
                }
                data.ledger.prune(&org, 2).await.unwrap();
                data.runs.prune(&org, &main, 2).await.unwrap();
                data.runs.remove(&org, &side).await.unwrap();
            }
        })
    };
    for round in 0..12 {
        let file = root.path().join(format!("{round}.bak"));
        data.backup(&file, None).await;
        let fresh = root.path().join(format!("fresh{round}"));
        restored(&[&file], &fresh).await;
        is_whole(&fresh).await;
    }
    stop.store(true, Ordering::SeqCst);
    dropping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_backup_opens_with_its_key_alone() {
    let root = tempfile::tempdir().unwrap();
    let data = Data::open(&root.path().join("data"));
    data.call("acme", "main", 1).await;
    let key = age::x25519::Identity::generate();
    let identity = |key: &age::x25519::Identity| {
        use age::secrecy::ExposeSecret as _;
        BackupIdentity::parse(key.to_string().expose_secret()).unwrap()
    };
    let recipient = BackupRecipient::parse(&key.to_public().to_string()).unwrap();
    let parts = BackupParts::of_directory(data.store.clone(), &data.dir);
    let file = root.path().join("a.bak");
    let to = Box::new(File::create_new(&file).unwrap());
    make_backup(parts, None, Some(recipient), to).await.unwrap();
    let text = std::fs::read(&file).unwrap();
    assert!(!text.windows(4).any(|part| part == b"acme"));
    for (n, wrong) in [None, Some(age::x25519::Identity::generate())].iter().enumerate() {
        let files = vec![file.clone()];
        let fresh = root.path().join(format!("wrong{n}"));
        let wrong = wrong.as_ref().map(identity);
        assert!(restore_backups(files, wrong, &fresh, Box::new(|_| ())).await.is_err());
    }
    let fresh = root.path().join("fresh");
    let back =
        restore_backups(vec![file.clone()], Some(identity(&key)), &fresh, Box::new(|_| ())).await.unwrap();
    assert_eq!(back.records, 1);
    is_whole(&fresh).await;
    // A sealed one can be continued, too.
    assert!(read_known(&file, Some(&identity(&key))).is_ok());
}

/// Takes so many bytes and then no more.
struct Full(Arc<Mutex<usize>>);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut left = self.0.lock().unwrap();
        if *left == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        let taken = bytes.len().min(*left);
        *left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_written_leaves_nothing_and_the_next_one_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let data = Data::open(&root.path().join("data"));
    for n in 0..20 {
        data.call("acme", "main", n).await;
    }
    for bytes in [0, 700, 5000, 20_000] {
        let parts = BackupParts::of_directory(data.store.clone(), &data.dir);
        let to = Box::new(Full(Arc::new(Mutex::new(bytes))));
        let refused = make_backup(parts, None, None, to).await.unwrap_err();
        assert!(matches!(refused, BackupError::Output(_)), "{refused}");
        assert!(!data.dir.join(BACKUP_SPOOL).exists());
    }
    // What a process that was killed in the middle left.
    std::fs::create_dir_all(data.dir.join(BACKUP_SPOOL).join("log")).unwrap();
    std::fs::write(data.dir.join(BACKUP_SPOOL).join("log/0000000001.ndjson"), "old").unwrap();
    let file = root.path().join("a.bak");
    data.backup(&file, None).await;
    restored(&[&file], &root.path().join("fresh")).await;
    is_whole(&root.path().join("fresh")).await;
}
