//! When tokens were last used, to the minute: noted in memory with each request, and written once a minute together.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portcullis_core::id::TokenId;
use portcullis_core::sync::{read, write};
use portcullis_store::{StoreError, TokenIndex, TokenUse, Writes};

use crate::clock::{self, now_ms};
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;

/// Tokens whose uses are noted between two writes; a few dozen bytes each. Further ones are noted in the next minute.
const TOKENS_MAX: usize = 65_536;
/// Uses written in one batch.
const WRITTEN_AT_ONCE: usize = 50;
const MINUTE_MS: u64 = 60_000;

/// The uses that the process knows of.
#[derive(Default)]
pub(crate) struct TokenUses(RwLock<HashMap<TokenId, Use>>);

struct Use {
    /// Minutes since 1970.
    minute: AtomicU64,
    /// Whether it is stored.
    is_kept: AtomicBool,
}

impl TokenUses {
    /// Notes that a token is used now.
    pub(crate) fn note(&self, token: &TokenId) {
        self.note_at(token, now_ms() / MINUTE_MS);
    }

    fn note_at(&self, token: &TokenId, now: u64) {
        if let Some(known) = read(&self.0).get(token) {
            // Why compared first: most requests find their minute, and write nothing that other threads read.
            if known.minute.load(Ordering::Relaxed) < now {
                known.minute.store(now, Ordering::Relaxed);
                known.is_kept.store(false, Ordering::Release);
            }
            return;
        }
        let mut uses = write(&self.0);
        if uses.len() < TOKENS_MAX {
            let first = Use { minute: AtomicU64::new(now), is_kept: AtomicBool::new(false) };
            uses.entry(token.clone()).or_insert(first);
        }
    }

    fn get(&self, token: &TokenId) -> Option<u64> {
        read(&self.0).get(token).map(|known| known.minute.load(Ordering::Relaxed))
    }

    /// Forgets a token that is gone.
    pub(crate) fn forget(&self, token: &TokenId) {
        write(&self.0).remove(token);
    }

    /// Takes what is not stored yet, and forgets what is and was not used since the minute before.
    fn take(&self, now: u64) -> Vec<(TokenId, u64)> {
        write(&self.0)
            .retain(|_, known| !*known.is_kept.get_mut() || known.minute.get_mut().saturating_add(1) >= now);
        let uses = read(&self.0);
        let unkept = uses.iter().filter(|(_, known)| !known.is_kept.swap(true, Ordering::AcqRel));
        unkept.map(|(token, known)| (token.clone(), known.minute.load(Ordering::Relaxed))).collect()
    }

    /// Notes that uses could not be stored.
    fn give_back(&self, uses: &[(TokenId, u64)]) {
        let known = read(&self.0);
        for (token, _) in uses {
            if let Some(one) = known.get(token) {
                one.is_kept.store(false, Ordering::Release);
            }
        }
    }
}

/// When a token was last used, RFC 3339; `None` if it never was, as far as is known.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn of(resources: &Resources, token: &TokenId) -> Result<Option<String>, Error> {
    let noted = resources.token_uses.get(token).map(shown);
    let kept = resources.records.get::<TokenUse>(&[token.as_str()]).await?;
    // Why compared as texts: all have one form.
    Ok(noted.max(kept.map(|(kept, _)| kept.last_used_at)))
}

fn shown(minute: u64) -> String {
    clock::of_ms(minute.saturating_mul(MINUTE_MS))
}

/// Stores the uses that are not stored yet. Called once a minute, and when the process stops.
///
/// # Errors
/// Those of the store; what could not be stored is tried again the next time.
pub async fn keep(engine: &Engine) -> Result<(), StoreError> {
    let resources = &engine.resources;
    let taken = resources.token_uses.take(now_ms() / MINUTE_MS);
    let mut left = taken.as_slice();
    while !left.is_empty() {
        let (chunk, rest) = left.split_at(WRITTEN_AT_ONCE.min(left.len()));
        let kept = match resources.commit(writes_of(chunk)).await {
            // A token was revoked meanwhile: the others are stored without it.
            Err(StoreError::Conflict { .. }) => one_by_one(resources, chunk).await,
            kept => kept.map(drop),
        };
        if let Err(error) = kept {
            resources.token_uses.give_back(left);
            return Err(error);
        }
        left = rest;
    }
    Ok(())
}

async fn one_by_one(resources: &Resources, uses: &[(TokenId, u64)]) -> Result<(), StoreError> {
    for one in uses {
        match resources.commit(writes_of(std::slice::from_ref(one))).await {
            Ok(_) => {}
            Err(StoreError::Conflict { .. }) => resources.token_uses.forget(&one.0),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn writes_of(uses: &[(TokenId, u64)]) -> Writes {
    uses.iter().fold(Writes::new(), |writes, (token, minute)| {
        let parts = [token.as_str()];
        // Why required: a use must not outlive its token.
        writes.require_present::<TokenIndex>(&parts).put(&parts, &TokenUse { last_used_at: shown(*minute) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: u64) -> TokenId {
        TokenId::parse(&format!("tok_{number}")).unwrap()
    }

    #[test]
    fn a_token_is_written_once_a_minute_however_often_it_is_used() {
        let uses = TokenUses::default();
        for _ in 0..100 {
            uses.note_at(&token(1), 7);
        }
        uses.note_at(&token(2), 7);
        assert_eq!(uses.take(7).len(), 2);
        uses.note_at(&token(1), 7);
        assert!(uses.take(7).is_empty(), "the minute is stored");
        uses.note_at(&token(1), 8);
        assert_eq!(uses.take(8), [(token(1), 8)]);
    }

    #[test]
    fn what_could_not_be_stored_is_tried_again_and_what_is_old_is_forgotten() {
        let uses = TokenUses::default();
        uses.note_at(&token(1), 7);
        let taken = uses.take(7);
        uses.give_back(&taken);
        assert_eq!(uses.take(100), taken, "not forgotten before it is stored");
        assert!(uses.take(100).is_empty());
        assert_eq!(uses.get(&token(1)), None);
    }
}
