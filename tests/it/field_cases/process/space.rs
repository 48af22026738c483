//! Address space: how much calls reserve, and what happens where there is less.

use std::path::Path;
use std::process::Stdio;

use portcullis_core::fault::Code;
use serde_json::json;

use super::Serving;
use crate::black_box::{NO_NAMES, connected};
use crate::support::binary::{Ran, SERVE, command_behind, init};

fn serve_within(dir: &Path, gib: u64, more: &[&str]) -> std::process::Command {
    let words = format!("ulimit -v {}; exec", gib * 1024 * 1024);
    command_behind(&words, dir, &[&SERVE[..], &NO_NAMES, more].concat())
}

async fn calls(server: &Serving, platform_token: &str) {
    let platform = server.client(platform_token);
    let caller = platform.with_token(connected(&platform).await);
    let input = json!({ "input": { "Email": "ada@example.org" } });
    let call = "/run/acme/main/connector/salesforce/create-contact";
    caller.post(call, &input).await.problem(Code::DnsFailed);
}

#[tokio::test]
async fn h18_under_a_limit_of_64_gib_the_defaults_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let server = Serving::of(serve_within(dir.path(), 64, &[]), Stdio::null());
    calls(&server, &token).await;
    server.kill();
    // The machine code of one way to reserve memory is not taken for the other's.
    let kept = || std::fs::read_dir(dir.path().join("portcullis-data/compiled")).unwrap().count();
    assert_eq!(kept(), 1);
    let server = Serving::start(dir.path(), &NO_NAMES, Stdio::null());
    server.client(&token).get("/readyz").await.is(200);
    server.kill();
    assert_eq!(kept(), 2);
}

#[tokio::test]
async fn h18_too_little_address_space_is_refused_by_the_name_of_the_limit_and_with_a_number_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let ran = Ran::of(serve_within(dir.path(), 12, &[]).output().unwrap()).exits(1);
    let (_, after) = ran.err.split_once("set limits.concurrent_calls to ").expect(&ran.err);
    let fits: u64 = after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    assert!(fits > 10 && fits < 1000, "{}", ran.err);
    assert!(ran.err.contains("ulimit -v") && ran.err.contains("GiB"), "{}", ran.err);
    let limit = format!("concurrent_calls={fits}");
    let server = Serving::of(serve_within(dir.path(), 12, &["--limit", &limit]), Stdio::null());
    calls(&server, &token).await;
}

#[test]
fn h18_more_calls_than_the_machine_holds_are_refused_by_the_name_of_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    // 100,000 times 4 GiB is more than a process can address; 256 MiB each it may be able to.
    let huge = ["--limit", "concurrent_calls=100000", "--limit", "guest_memory_bytes=268435456"];
    let mut command = command_behind("exec timeout 20", dir.path(), &[&SERVE[..], &huge].concat());
    let ran = Ran::of(command.output().unwrap());
    let served = ran.code == Some(124) && ran.out.contains("listening");
    let named = ran.code == Some(1) && ran.err.contains("limits.concurrent_calls is 100000");
    assert!(served || named, "{ran:?}");
}
