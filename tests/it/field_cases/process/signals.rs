//! Signals: which one stops the process, which one has it read its configuration again, and which do nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use portcullis_core::fault::Code;
use serde_json::json;

use super::{Arriving, SOON, Serving, soon};
use crate::black_box::{NO_NAMES, connected, token};
use crate::support::binary::init;
use crate::support::until;

const CALL: &str = "/run/acme/main/connector/salesforce/create-contact";

/// A server on a name server that never answers, and thirty calls that wait for it.
async fn with_calls(dir: &Path) -> (Serving, Vec<tokio::task::JoinHandle<u16>>) {
    let first = init(dir);
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let names = silent.local_addr().unwrap().to_string();
    let more = ["--egress-dns-servers", &names, "--limit", "dns_ms=2500"];
    let server = Serving::start(dir, &more, Stdio::null());
    let platform = server.client(&first);
    let caller = platform.with_token(connected(&platform).await);
    let calls = (0..30).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let input = json!({ "input": { "Email": "ada@example.org" } });
            caller.post(CALL, &input).await.problem(Code::DnsFailed).status
        })
    });
    let calls = calls.collect();
    // The socket is read and stays open, or the operating system would refuse the queries.
    tokio::spawn(async move {
        let mut piece = [0; 512];
        while silent.recv(&mut piece).await.is_ok() {}
    });
    let org = token(&platform, json!({ "role": "org", "org": "acme" })).await;
    let org = platform.with_token(org);
    until("thirty calls look a name up", async || {
        let ledger = org.get("/org/acme/outbound?limit=100").await.is(200);
        ledger.json["data"].as_array().unwrap().len() >= 30
    })
    .await;
    (server, calls)
}

#[tokio::test]
async fn h12_signals_that_ask_for_no_stop_cut_no_call() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, calls) = with_calls(dir.path()).await;
    for name in ["HUP", "HUP", "USR1", "USR2", "PIPE", "XFSZ"] {
        server.signal(name);
    }
    for call in calls {
        soon("a call", call).await.unwrap();
    }
    assert!(server.child.try_wait().unwrap().is_none(), "it lives");
    server.client("").anonymous().get("/readyz").await.is(200);
    // SIGHUP also cuts nothing while the process stops.
    server.signal("TERM");
    server.signal("HUP");
    assert!(server.ends_within(SOON).success());
}

#[tokio::test]
async fn h12_every_signal_that_asks_for_a_stop_lets_calls_end() {
    for name in ["TERM", "INT", "QUIT"] {
        let dir = tempfile::tempdir().unwrap();
        let (mut server, calls) = with_calls(dir.path()).await;
        server.signal(name);
        std::thread::sleep(Duration::from_millis(50));
        // A second one changes nothing.
        server.signal(name);
        for call in calls {
            soon("a call", call).await.unwrap();
        }
        assert!(server.ends_within(SOON).success(), "{name}");
    }
}

#[tokio::test]
async fn h12_a_changed_configuration_is_read_again_and_a_broken_one_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let file = dir.path().join("portcullis.toml");
    std::fs::write(&file, "log = \"info\"\n").unwrap();
    let more = [&NO_NAMES[..], &["--config", "portcullis.toml"]].concat();
    let mut server = Serving::start(dir.path(), &more, Stdio::piped());
    let log = Arriving::from(server.child.stderr.take().unwrap());
    let client = server.client(&token);
    client.get("/healthz").await.is(200);
    assert!(!log.text().contains("\"DEBUG\""), "{}", log.text());
    // What can be taken is taken, and the rest is named.
    std::fs::write(&file, "log = \"debug\"\n[limits]\nresponse_bytes = 1000\n[ledger]\nsync = \"strict\"\n")
        .unwrap();
    server.signal("HUP");
    log.shows("limits.response_bytes").await;
    log.shows("ledger.sync").await;
    assert!(log.text().contains("restart"), "{}", log.text());
    client.get("/admin/org").await.is(200);
    log.shows("\"DEBUG\"").await;
    // What is broken changes nothing.
    for broken in
        ["log = \"info\"\nlistn = \"x\"\n", "log = [", "log = \"info\"\n[egress]\nca_file = \"none.pem\"\n"]
    {
        let told = log.text().matches("stays in force").count();
        std::fs::write(&file, broken).unwrap();
        server.signal("HUP");
        log.shows_times("stays in force", told + 1).await;
    }
    assert!(log.text().contains("did you mean listen"), "{}", log.text());
    let before = log.text().matches("\"DEBUG\"").count();
    client.get("/admin/org").await.is(200);
    log.shows_times("\"DEBUG\"", before + 1).await;
    // And the way back.
    std::fs::write(&file, "log = \"warn\"\n").unwrap();
    server.signal("HUP");
    until("debug lines end", async || {
        let before = log.text().matches("\"DEBUG\"").count();
        client.get("/admin/org").await.is(200);
        tokio::time::sleep(Duration::from_millis(50)).await;
        log.text().matches("\"DEBUG\"").count() == before
    })
    .await;
    server.signal("TERM");
    assert!(server.ends_within(SOON).success());
}
