//! Budgets that several nodes share, over one store.

use std::sync::Arc;
use std::time::Duration;

use portcullis_store::{MemoryStore, RateRecord, Records, SlotsRecord};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::shared::{SharedTurn, SharedTurns};
use super::shared_slots::{SharedSlot, SharedSlots};
use super::turns::Rate;
use super::{NoTurn, hash};

fn records() -> Records {
    Records::new(Arc::new(MemoryStore::new()))
}

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[tokio::test]
async fn three_nodes_together_are_granted_no_more_than_the_budget() {
    const PER_MS: u32 = 64_000;
    let (records, rate) = (records(), Rate::new(20, PER_MS));
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let turns = SharedTurns::new(records.clone());
        for _ in 0..20 {
            let turns = turns.clone();
            tasks
                .spawn(async move { turns.take("budget".to_owned(), rate, within(600)).await.ok().unwrap() });
        }
    }
    // Why they are kept: a turn that is dropped before its time is given back.
    let turns = tasks.join_all().await;
    let mut times: Vec<Instant> = turns.iter().map(SharedTurn::comes).collect();
    times.sort_unstable();
    // Why a second less: a turn that comes at once is granted a moment before its time is taken.
    let least = Duration::from_millis(u64::from(PER_MS) - 1000);
    for stretch in times.windows(21) {
        let took = stretch[20] - stretch[0];
        assert!(took >= least, "21 requests of a budget of 20 within {took:?}");
    }
    let (record, _) = records.get::<RateRecord>(&["budget"]).await.unwrap().unwrap();
    let counted: u32 = record.turns.iter().map(|(_, count)| count).sum();
    assert_eq!((times.len(), counted), (60, 60), "each is counted once");
    assert!(times[59] - times[0] < 3 * least, "and not later than it must be");
}

#[tokio::test]
async fn a_node_that_would_wait_too_long_is_told_how_long_and_takes_nothing() {
    let records = records();
    let (one, other) = (SharedTurns::new(records.clone()), SharedTurns::new(records.clone()));
    let rate = Rate::new(1, 64_000);
    one.take("budget".to_owned(), rate, within(1)).await.ok().unwrap().come().await;
    for _ in 0..2 {
        let Err(NoTurn::UsedUp { wait }) = other.take("budget".to_owned(), rate, within(1)).await else {
            panic!("the budget is used up");
        };
        assert!((60..=65).contains(&wait.as_secs()), "{wait:?}");
    }
    other.take("another".to_owned(), rate, within(1)).await.ok().unwrap();
}

#[tokio::test]
async fn a_turn_that_was_left_is_given_to_another_node() {
    let records = records();
    let (one, other) = (SharedTurns::new(records.clone()), SharedTurns::new(records.clone()));
    let rate = Rate::new(1, 64_000);
    one.take("budget".to_owned(), rate, within(1)).await.ok().unwrap().come().await;
    let waiting = one.take("budget".to_owned(), rate, within(100)).await.ok().unwrap();
    assert!(other.take("budget".to_owned(), rate, within(100)).await.is_err());
    drop(waiting);
    let given_back = async {
        while other.take("budget".to_owned(), rate, within(100)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), given_back).await.unwrap();
}

async fn slot(
    slots: &SharedSlots,
    places: &Arc<Semaphore>,
    most: u32,
    until: Instant,
) -> Result<SharedSlot, NoTurn> {
    let place = Arc::clone(places).acquire_owned().await.unwrap();
    slots.take("budget".to_owned(), most, place, until).await
}

#[tokio::test]
async fn nodes_together_have_as_many_requests_at_once_as_the_budget() {
    let records = records();
    let nodes: Vec<_> =
        (0..3).map(|_| (SharedSlots::new(records.clone(), 60_000), Arc::new(Semaphore::new(2)))).collect();
    let first = slot(&nodes[0].0, &nodes[0].1, 2, within(10)).await.ok().unwrap();
    let _second = slot(&nodes[1].0, &nodes[1].1, 2, within(10)).await.ok().unwrap();
    let third = slot(&nodes[2].0, &nodes[2].1, 2, Instant::now()).await;
    assert!(matches!(third, Err(NoTurn::UsedUp { .. })));
    drop(first);
    slot(&nodes[2].0, &nodes[2].1, 2, within(30)).await.ok().unwrap();
}

#[tokio::test]
async fn the_slot_of_a_node_that_is_gone_is_free_when_its_time_is_over() {
    let records = records();
    let held =
        |until_ms| SlotsRecord { over_ms: until_ms, held: vec![("slot_of_another".to_owned(), until_ms)] };
    let (slots, places) = (SharedSlots::new(records.clone(), 60_000), Arc::new(Semaphore::new(2)));
    for (until_ms, is_free) in [(u64::MAX, false), (1, true)] {
        records.commit(portcullis_store::Writes::new().put(&["budget"], &held(until_ms))).await.unwrap();
        assert_eq!(slot(&slots, &places, 1, Instant::now()).await.is_ok(), is_free, "{until_ms}");
    }
}

#[test]
fn budgets_of_different_names_have_different_records() {
    assert_eq!(hash(&["a/b", "1"]), hash(&["a/b", "1"]));
    assert_ne!(hash(&["a/b", "1"]), hash(&["a/b1", ""]));
    assert_eq!(hash(&["x"]).len(), 64);
}
