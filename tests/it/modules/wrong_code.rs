//! Calls of modules whose code breaks the rules between a guest and its host: traps and loops at every place where
//! the host enters it, answers that are none, and an allocator that lies.

use portcullis_core::fault::Code;
use serde_json::json;

use super::guests::{self, Place};
use super::harness::{act, assert_others_are_served, exchange_module, installed, quick};

const ANSWER: &[&str] = &["succeeded"];
const TRAPPED: &[&str] = &["guest_trapped"];
const TIMEOUT: &[&str] = &["guest_timeout"];
const TRAPPED_OR_INVALID: &[&str] = &["guest_trapped", "guest_output_invalid"];
const TRAPPED_OR_ANSWER: &[&str] = &["guest_trapped", "succeeded"];
const TIMEOUT_OR_ANSWER: &[&str] = &["guest_timeout", "succeeded"];

/// An ordinary answer.
const OUTPUT: &str = "{\"output\":\"\u{e9}\u{1f600}\"}";

/// An answer in UTF-16 that claims so many units more than it has.
fn wide(text: &str, more: u32, place: u32, compact: bool) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let length = u32::try_from(units.len()).unwrap();
    guests::wide_answer(&units, length.saturating_add(more).min(u32::MAX >> 1), place, compact)
}

/// An answer whose last letter is half of a pair.
fn lone_surrogate() -> Vec<u8> {
    let units: Vec<u16> =
        "{\"output\":\"".encode_utf16().chain([0xd83d, u16::from(b'"'), u16::from(b'}')]).collect();
    guests::wide_answer(&units, u32::try_from(units.len()).unwrap(), 512, false)
}

/// What a module is, and how its call may end.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let not_utf8 = b"{\"output\":\"\xff\xfe\"}";
    let length = u32::try_from(not_utf8.len()).unwrap();
    vec![
        ("a trap while it is made", guests::trapping(Place::Start), TRAPPED),
        ("a trap in its allocator", guests::trapping(Place::Realloc), TRAPPED),
        ("a trap in its handler", guests::trapping(Place::Invoke), TRAPPED),
        ("a trap after its answer", guests::trapping(Place::PostReturn), TRAPPED_OR_ANSWER),
        ("a loop while it is made", guests::looping(Place::Start), TIMEOUT),
        ("a loop in its allocator", guests::looping(Place::Realloc), TIMEOUT),
        ("a loop in its handler", guests::looping(Place::Invoke), TIMEOUT),
        ("a loop after its answer", guests::looping(Place::PostReturn), TIMEOUT_OR_ANSWER),
        ("an answer that is no text", guests::answer(not_utf8, length), TRAPPED_OR_INVALID),
        ("an answer of 4 GiB", guests::answer(b"{}", u32::MAX), TRAPPED_OR_INVALID),
        ("an answer beyond its memory", guests::answer(b"{}", 300_000), TRAPPED_OR_INVALID),
        ("an answer in UTF-16", wide(OUTPUT, 0, 512, false), ANSWER),
        ("an answer marked as UTF-16", wide(OUTPUT, 0, 512, true), ANSWER),
        ("a lone surrogate", lone_surrogate(), TRAPPED),
        ("UTF-16 at an odd place", wide(OUTPUT, 0, 513, false), TRAPPED),
        ("UTF-16 beyond its memory", wide(OUTPUT, 1 << 20, 512, false), TRAPPED),
        ("UTF-16 of 4 GiB", wide(OUTPUT, u32::MAX >> 1, 512, true), TRAPPED),
        ("an answer of neither case", guests::impossible_case(), TRAPPED),
        ("an allocator outside of its memory", guests::lying_allocator(-16), TRAPPED),
        ("an allocator of an odd address", guests::lying_allocator(7), TRAPPED_OR_ANSWER),
        ("a table that grows without end", guests::table_bomb(), TRAPPED),
    ]
}

#[tokio::test]
async fn code_that_breaks_the_rules_ends_its_own_call() {
    let mut stage = quick();
    stage.limits.module_cpu_ms = 200;
    let (world, acme) = installed(stage, &guests::good(), &json!({})).await;
    let before = world.before().await;
    let mut wrong = Vec::new();
    for (what, bytes, ends) in cases() {
        let replaced = exchange_module(&world.platform, &bytes).await;
        if replaced.status != 200 {
            wrong.push(format!("{what} is not admitted: {}", replaced.text));
            continue;
        }
        let answer = act(&acme, json!({ "do": "x" })).await;
        let end = answer.json["code"].as_str().or(answer.json["status"].as_str()).unwrap_or("?");
        if !ends.contains(&end) {
            wrong.push(format!("{what} is none of {ends:?}: {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    world.assert_nothing_looked_up(&before).await;
    exchange_module(&world.platform, &guests::good()).await.is(200);
    act(&acme, json!({ "do": "x" })).await.is(200);
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn modules_of_unusual_size_are_admitted_or_refused_and_the_next_one_is_served() {
    let (world, acme) = installed(quick(), &guests::good(), &json!({})).await;
    for (what, bytes) in [
        ("many functions", guests::many_functions(5000)),
        ("many segments of data", guests::data_bomb(2000, 1000)),
        ("large segments of data", guests::data_bomb(4, 1_000_000)),
        ("a long function", guests::huge_function(500)),
        ("all the memory that it may have", guests::memory_of(512)),
        ("all the elements that it may have", guests::table_of(20_000)),
    ] {
        let replaced = exchange_module(&world.platform, &bytes).await;
        if replaced.status == 422 {
            replaced.problem(Code::ModuleRefused);
            continue;
        }
        replaced.is(200);
        let answer = act(&acme, json!({ "do": "x" })).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    }
    exchange_module(&world.platform, &guests::good()).await.is(200);
    act(&acme, json!({ "do": "x" })).await.is(200);
}
