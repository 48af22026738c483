//! Which changes end a running call and which do not, whoever makes them: the product that the call runs in, or another
//! one on the same store, of whose changes the first one learns from the feed alone.

mod feed;
mod preparing;
mod scene;
mod table;

use self::scene::{Scene, Writer};
use self::table::{ENDINGS, NEIGHBOURS};

/// Makes every change that ends calls, each while a call of its own runs; a call that none of them concerns runs on.
async fn every_ending(writer: Writer) {
    let scene = Scene::start(writer).await;
    let bystander = scene.call(&scene.place("bystander").await).await;
    let mut failures = Vec::new();
    for (number, (kind, code, change)) in ENDINGS.iter().enumerate() {
        let place = scene.place(&number.to_string()).await;
        let call = scene.call(&place).await;
        scene.change(&place, change(&place)).await;
        if let Err(why) = scene.ends(&place, call, *code).await {
            failures.push(format!("{kind}: {why}"));
        }
    }
    if let Err(why) = scene.goes_on(bystander).await {
        failures.push(format!("a call that no change concerns: {why}"));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Makes every change that ends no call, each while a call runs that is near.
async fn no_neighbour(writer: Writer) {
    let scene = Scene::start(writer).await;
    let mut failures = Vec::new();
    for (number, (kind, change)) in NEIGHBOURS.iter().enumerate() {
        let place = scene.place(&number.to_string()).await;
        let call = scene.call(&place).await;
        scene.change(&place, change(&place)).await;
        if let Err(why) = scene.goes_on(call).await {
            failures.push(format!("{kind}: {why}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn every_change_that_forbids_a_running_call_ends_it_with_its_code_and_a_record() {
    every_ending(Writer::Own).await;
}

#[tokio::test]
async fn a_change_that_still_allows_a_running_call_does_not_end_it() {
    no_neighbour(Writer::Own).await;
}

#[tokio::test]
async fn every_change_by_another_product_ends_what_it_forbids_within_a_second() {
    every_ending(Writer::Other).await;
}

#[tokio::test]
async fn a_change_by_another_product_that_still_allows_a_running_call_does_not_end_it() {
    no_neighbour(Writer::Other).await;
}

#[tokio::test]
async fn every_change_that_the_feed_no_longer_has_ends_what_it_forbids_within_a_second() {
    every_ending(Writer::Missed).await;
}

#[tokio::test]
async fn a_change_that_the_feed_no_longer_has_and_that_still_allows_a_running_call_does_not_end_it() {
    no_neighbour(Writer::Missed).await;
}
