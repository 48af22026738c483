//! A property: after any operations an engine and the one in memory return the same, also after reopening.

use portcullis_store::{Batch, MemoryStore, Precondition, Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(usize, Option<u16>)>, Option<(usize, u8)>),
    List(usize, Option<usize>, usize),
    Changes(u64, usize),
    Reopen,
}

const KEYS: [&str; 8] = ["a", "a/1", "a/2", "a/2/x", "a0", "b", "b/1", "c"];

fn step() -> impl Strategy<Value = Step> {
    let writes = prop::collection::vec((0..KEYS.len(), prop::option::of(0..9000_u16)), 0..5);
    let require = prop::option::of((0..KEYS.len(), 0..4_u8));
    prop_oneof![
        6 => (writes, require).prop_map(|(writes, require)| Step::Commit(writes, require)),
        2 => (0..KEYS.len(), prop::option::of(0..KEYS.len()), 0..6_usize)
            .prop_map(|(prefix, after, limit)| Step::List(prefix, after, limit)),
        1 => (0..12_u64, 0..6_usize).prop_map(|(since, limit)| Step::Changes(since, limit)),
        1 => Just(Step::Reopen),
    ]
}

fn batch(writes: &[(usize, Option<u16>)], require: Option<(usize, u8)>) -> Batch {
    let mut batch = Batch::new();
    if let Some((key, kind)) = require {
        let precondition = match kind {
            0 => Precondition::Absent,
            1 => Precondition::Present,
            other => Precondition::Revision(u64::from(other)),
        };
        batch = batch.require(KEYS[key], precondition);
    }
    for (key, size) in writes {
        batch = match size {
            Some(size) => batch.put(KEYS[*key], vec![u8::try_from(size % 256).unwrap(); usize::from(*size)]),
            None => batch.delete(KEYS[*key]),
        };
    }
    batch
}

fn same<T: PartialEq + std::fmt::Debug>(left: Result<T, StoreError>, right: Result<T, StoreError>) {
    let text = |result: Result<T, StoreError>| result.map_err(|error| error.to_string());
    assert_eq!(text(left), text(right));
}

/// Runs this many random sequences of operations on a new place each, and the same on a store in memory.
pub fn agrees_with_memory<P, S: Store>(cases: u32, place: impl AsyncFn() -> P, open: impl AsyncFn(&P) -> S) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let result = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
        runtime.block_on(async {
            let place = place().await;
            compare(steps, async || open(&place).await).await;
        });
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

async fn compare<S: Store>(steps: Vec<Step>, open: impl AsyncFn() -> S) {
    let model = MemoryStore::new();
    let mut opened = Some(open().await);
    for step in steps {
        let store = opened.as_ref().unwrap();
        match step {
            Step::Commit(writes, require) => {
                same(store.commit(batch(&writes, require)).await, model.commit(batch(&writes, require)).await)
            }
            Step::List(prefix, after, limit) => same(
                store.list(KEYS[prefix], after.map(|at| KEYS[at]), limit).await,
                model.list(KEYS[prefix], after.map(|at| KEYS[at]), limit).await,
            ),
            Step::Changes(since, limit) => {
                same(store.changes(since, limit).await, model.changes(since, limit).await)
            }
            Step::Reopen => {
                drop(opened.take());
                opened = Some(open().await);
            }
        }
    }
    let store = opened.as_ref().unwrap();
    same(store.list("", None, 99).await, model.list("", None, 99).await);
    same(
        store.stats().await.map(|stats| (stats.seq, stats.records)),
        model.stats().await.map(|stats| (stats.seq, stats.records)),
    );
}
