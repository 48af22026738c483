//! The outbound ledger: old segments count like new ones, and a directory that is gone is missed.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerEvent;
use portcullis_store::{FileLedger, Ledger as _, LedgerSync};
use serde_json::{Value, json};

use super::product::{Product, Tokens, call, copied, data, input, populated, refused_call};
use crate::support::binary;

/// Appends events like the last one of the org until it has this many segments.
pub(super) async fn grown(dir: &Path, org: &str, segments: usize) {
    let folder = data(dir).join("ledger").join(org);
    let first = fs::read_to_string(folder.join("0000000001.ndjson")).unwrap();
    let line: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let mut event: LedgerEvent = serde_json::from_value(line["event"].clone()).unwrap();
    event.path = format!("/{}", "p".repeat(32_000));
    let ledger = FileLedger::open(&data(dir).join("ledger"), LedgerSync::Group).unwrap();
    while self::segments(&folder).len() < segments {
        for _ in 0..50 {
            ledger.append(&event).await.unwrap();
        }
    }
    assert!(ledger.verify(&OrgId::parse(org).unwrap()).await.unwrap().is_intact());
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|x| x == "ndjson")).collect();
    found.sort();
    found
}

/// Asserts that everything that reads the ledger of acme says that it is damaged and where, that its calls are
/// refused, and that the other org goes on.
async fn assert_noticed(dir: &Path, what: &str, tokens: &Tokens, named: &str) {
    let product = Product::start(dir, &[]);
    let mine = &tokens.orgs[0];
    let usage = product.get(&mine.org, "/org/acme/settings/integrations/usage").await;
    assert_eq!(usage.status, 503, "{what}: usage says {}", usage.text);
    assert!(
        usage.text.contains("ledger_unavailable") && usage.text.contains(named),
        "{what}: {}",
        usage.text
    );
    let export = product.get(&mine.org, "/org/acme/outbound#ndjson").await;
    assert_eq!(export.status, 503, "{what}: the export has {} bytes", export.text.len());
    assert!(export.text.contains(named), "{what}: {}", export.text);
    let verify = product.get(&mine.org, "/org/acme/outbound/verify").await.is(200).json();
    assert_eq!(verify["intact"], false, "{what}: {verify}");
    assert!(verify["bad"]["segment"].as_str().unwrap().contains(named), "{what}: {verify}");
    let refused = product.ask(&mine.run, "POST", &call("acme"), &input()).await;
    assert_eq!(refused.json()["code"], "ledger_unavailable", "{what}: {}", refused.text);
    refused_call(&product, tokens, 1).await;
    assert!(product.log().contains(named), "{what}: the log names it: {}", product.log());
    product.stop();
    let offline = binary::run(dir, &["ledger", "verify"]).exits(1);
    assert!(offline.out.contains("acme: BROKEN") && offline.out.contains(named), "{what}: {offline:?}");
    assert!(offline.out.contains("other: intact"), "{what}: {offline:?}");
}

#[tokio::test]
async fn h5_old_segments_that_are_missing_or_changed_are_noticed_by_everything_that_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, _) = populated(dir.path(), 2).await;
    grown(dir.path(), "acme", 3).await;
    let sound = dir.path().join("sound");
    copied(&data(dir.path()), &sound);
    let folder = data(dir.path()).join("ledger/acme");
    let all = segments(&folder);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    for what in
        ["first missing", "middle missing", "first changed", "middle changed", "swapped", "directory missing"]
    {
        copied(&sound, &data(dir.path()));
        let named = match what {
            "first missing" => fs::remove_file(&all[0]).map(|()| name(&all[0])).unwrap(),
            "middle missing" => fs::remove_file(&all[1]).map(|()| name(&all[1])).unwrap(),
            "first changed" => {
                flip(&all[0]);
                name(&all[0])
            }
            "middle changed" => {
                flip(&all[1]);
                name(&all[1])
            }
            "swapped" => {
                let aside = folder.join("aside");
                fs::rename(&all[0], &aside).unwrap();
                fs::rename(&all[1], &all[0]).unwrap();
                fs::rename(&aside, &all[1]).unwrap();
                name(&all[0])
            }
            _ => fs::remove_dir_all(&folder).map(|()| "ledger/acme".to_owned()).unwrap(),
        };
        assert_noticed(dir.path(), what, &tokens, &named).await;
    }
    copied(&sound, &data(dir.path()));
    let product = Product::start(dir.path(), &[]);
    refused_call(&product, &tokens, 0).await;
    let verify = product.get(&tokens.orgs[0].org, "/org/acme/outbound/verify").await.is(200).json();
    assert_eq!(
        (&verify["intact"], &verify["segments"]),
        (&json!(true), &json!(3)),
        "the neighbour: untouched files"
    );
    product.get(&tokens.orgs[0].org, "/org/acme/settings/integrations/usage").await.is(200);
    product.get(&tokens.orgs[0].org, "/org/acme/outbound#ndjson").await.is(200);
}

#[tokio::test]
async fn h5_a_whole_ledger_or_runs_directory_that_is_gone_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, _) = populated(dir.path(), 1).await;
    for part in ["ledger", "runs"] {
        let (there, aside) = (data(dir.path()).join(part), dir.path().join("aside"));
        fs::rename(&there, &aside).unwrap();
        let log = Product::try_start(dir.path(), &[]).map(drop).expect_err(part);
        assert!(log.contains(&format!("{part} is missing")), "{log}");
        fs::rename(&aside, &there).unwrap();
    }
    let product = Product::start(dir.path(), &[]);
    refused_call(&product, &tokens, 0).await;
}
