//! Logging never blocks a call and never ends the process; what could not be logged is counted.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use portcullis_core::fault::Code;
use serde_json::json;

use super::{Arriving, SOON, Serving, full_pipe, soon};
use crate::black_box::{NO_NAMES, connected};
use crate::support::binary::{SERVE, command, command_behind, init};

const CALL: &str = "/run/acme/main/connector/salesforce/create-contact";

/// What must work whatever becomes of the log: liveness, calls that log, and the kill switch.
async fn serves(server: &Serving, token: &str) {
    let platform = server.client(token);
    soon("/healthz", platform.get("/healthz")).await.is(200);
    let caller = platform.with_token(soon("the set-up", connected(&platform)).await);
    let input = json!({ "input": { "Email": "ada@example.org" } });
    for _ in 0..2 {
        soon("a call", caller.post(CALL, &input)).await.problem(Code::DnsFailed);
    }
    // Enough lines to fill every buffer on the way.
    for _ in 0..100 {
        soon("a request", platform.get("/admin/org")).await.is(200);
    }
    let off = json!({ "enabled": false });
    soon("the kill switch", platform.patch("/admin/connector/salesforce", &off)).await.is(200);
    soon("/readyz", platform.get("/readyz")).await.is(200);
}

async fn lost(server: &Serving) -> u64 {
    let ready = soon("/readyz", server.client("").anonymous().get("/readyz")).await.is(200);
    ready.json["log_lines_lost"].as_u64().expect("a count")
}

#[tokio::test]
async fn h2_a_log_that_nobody_reads_stops_nothing() {
    for level in ["debug", "info"] {
        let dir = tempfile::tempdir().unwrap();
        let token = init(dir.path());
        let (_reader, writer) = full_pipe();
        let more = [&NO_NAMES[..], &["--log", level]].concat();
        let mut server = Serving::start(dir.path(), &more, writer);
        serves(&server, &token).await;
        server.signal("TERM");
        assert!(server.ends_within(SOON).success(), "{level}: SIGTERM ends it, and it ends well");
    }
}

#[tokio::test]
async fn h2_lines_that_found_no_room_are_counted_and_the_log_says_so_when_it_flows_again() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let (reader, writer) = full_pipe();
    let more = [&NO_NAMES[..], &["--log", "debug", "--limit", "log_queue_bytes=4096"]].concat();
    let server = Serving::start(dir.path(), &more, writer);
    serves(&server, &token).await;
    assert!(lost(&server).await > 0);
    let log = Arriving::from(reader);
    log.shows("log lines were lost").await;
    // From here on it is complete again, and each line is whole.
    let before = lost(&server).await;
    log.shows("log lines were lost").await;
    soon("/healthz", server.client(&token).get("/healthz")).await.is(200);
    assert_eq!(lost(&server).await, before);
    let text = log.text();
    let (text, _) = text.rsplit_once('\n').unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let read: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(read.len() > 1, "{text}");
}

#[tokio::test]
async fn h2_an_output_that_is_closed_ends_nothing() {
    // Each of the outputs is closed, or its reader is gone.
    for words in ["exec 2>&-; exec", "exec 2>&1 >&-; exec"] {
        let dir = tempfile::tempdir().unwrap();
        let token = init(dir.path());
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let arguments = [&["serve", "--listen", &listen, "--log", "debug"], &NO_NAMES[..]].concat();
        let mut command = command_behind(words, dir.path(), &arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut server = Serving { child, address: listen.parse().unwrap() };
        // The readers of what is not closed go away.
        drop((server.child.stdout.take(), server.child.stderr.take()));
        listens(&server).await;
        serves(&server, &token).await;
        server.signal("TERM");
        assert!(server.ends_within(SOON).success(), "{words}");
    }
}

#[tokio::test]
async fn h2_a_banner_that_nobody_reads_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let (_reader, writer) = full_pipe();
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = [&["serve", "--listen", &listen], &NO_NAMES[..]].concat();
    let child = command(dir.path(), &arguments).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Serving { child, address: listen.parse().unwrap() };
    listens(&server).await;
    serves(&server, &token).await;
    server.signal("TERM");
    assert!(server.ends_within(SOON).success());
}

/// An error at the start is told, and does not wait for ever for a reader.
#[test]
fn h2_an_error_that_nobody_reads_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let (_reader, writer) = full_pipe();
    let mut serve = command(dir.path(), &["serve", "--listen", &listen]);
    let mut child = serve.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    assert_eq!(super::ends_within(&mut child, SOON).code(), Some(1));
    // The neighbour: who reads it sees it.
    let ran = crate::support::binary::run(dir.path(), &["serve", "--listen", &listen]).exits(1);
    assert!(ran.err.contains("portcullis: listen"), "{}", ran.err);
}

#[tokio::test]
async fn h20_a_log_on_a_full_disk_is_counted_and_the_calls_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let more = [&NO_NAMES[..], &["--log", "debug"]].concat();
    let mut server = Serving::start(dir.path(), &more, full);
    serves(&server, &token).await;
    assert!(lost(&server).await > 20);
    server.signal("TERM");
    assert!(server.ends_within(SOON).success());
}

/// A file that may not grow is a full disk whose error is a signal.
#[tokio::test]
async fn h20_a_log_at_its_limit_of_file_size_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    // Larger than any file of a young store: only the log is at its limit.
    File::create(dir.path().join("big.log")).unwrap().set_len(64 * 1024 * 1024).unwrap();
    let serve = [&SERVE[..], &NO_NAMES, &["--log", "debug"]].concat();
    let log = File::options().append(true).open(dir.path().join("big.log")).unwrap();
    let blocks = 64 * 1024 * 1024 / 512;
    let mut server =
        Serving::of(command_behind(&format!("ulimit -f {blocks}; exec"), dir.path(), &serve), log);
    serves(&server, &token).await;
    assert!(lost(&server).await > 20);
    server.signal("TERM");
    assert!(server.ends_within(SOON).success());
}

/// The neighbour: a log that is read is complete, and comes line by line.
#[tokio::test]
async fn h20_a_log_that_is_read_is_complete_to_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let more = [&NO_NAMES[..], &["--log", "debug"]].concat();
    let mut server = Serving::start(dir.path(), &more, Stdio::piped());
    let mut log = server.child.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });
    serves(&server, &token).await;
    assert_eq!(lost(&server).await, 0);
    server.signal("TERM");
    assert!(server.ends_within(SOON).success());
    let text = reading.join().unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    assert!(text.contains("stopping"), "the last lines are there: {text}");
    assert!(!text.contains("log lines were lost"));
}

/// A reader that closes the pipe of a command has what it wants.
#[test]
fn h20_a_command_whose_reader_left_ends_quietly() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("d.json"), crate::support::SALESFORCE).unwrap();
    let urls = "https://api.salesforce.com/v1\n".repeat(20_000);
    std::fs::write(dir.path().join("urls.txt"), urls).unwrap();
    let explain = ["explain", "--definition", "d.json", "--urls", "urls.txt"];
    for arguments in [&explain[..], &["limits"], &["codes"], &["catalog"], &["lint", "d.json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = command(dir.path(), arguments).stdout(writer).output().unwrap();
        let ran = crate::support::binary::Ran::of(ran).exits(0);
        assert_eq!(ran.err, "", "{arguments:?}");
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until the server takes connections.
async fn listens(server: &Serving) {
    crate::support::until("it listens", async || {
        tokio::net::TcpStream::connect(server.address).await.is_ok()
    })
    .await;
}
