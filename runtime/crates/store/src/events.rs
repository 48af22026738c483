//! Documents of events: which event ids a workspace has seen, and what came of them.
//!
//! An event is found by its id, and the oldest ones by their order. Both records are written and deleted together.

use portcullis_core::id::{AutomationId, RunId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// An event that a workspace has seen. Parts: `[org, workspace, SHA-256 of its id in hexadecimal]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRecord {
    pub event_id: String,
    /// When it came first, RFC 3339.
    pub created_at: String,
    /// The last part of the key of its [`EventOrder`].
    pub order: String,
    /// Who fires it; absent once all its calls have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<EventLease>,
    /// The automations that it fires, in order.
    pub fired: Vec<FiredAutomation>,
}

/// The exclusive right to fire an event for a limited time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLease {
    /// The process.
    pub holder: String,
    /// When it expires, RFC 3339.
    pub until: String,
}

/// An automation that an event fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FiredAutomation {
    pub automation_id: AutomationId,
    /// The id that its run has, if there is a run.
    pub run_id: RunId,
    /// How the run ended, or that it was accepted; absent before that, and without a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// That the process ended while it ran, and whether it was carried out is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Why there is no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<FiringProblem>,
}

/// Why an automation was fired without a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FiringProblem {
    pub code: String,
    /// Shown to people.
    pub message: String,
}

impl FiredAutomation {
    /// The status of a run that was accepted to be executed later: how it ended is not told here.
    pub const ACCEPTED: &str = "accepted";
}

impl Document for EventRecord {
    const KIND: &'static str = "event";
}

/// The time of an event, in its key. Parts: `[org, workspace, <milliseconds since 1970>-<the hash of its id>]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventOrder {}

/// Digits of the milliseconds, so that keys sort by time until the year 2286.
const DIGITS: usize = 13;

impl EventOrder {
    /// The last part of the key of an event that came at this time.
    #[must_use]
    pub fn part(now_ms: u64, hash: &str) -> String {
        format!("{now_ms:0width$}-{hash}", width = DIGITS)
    }

    /// The time and the hash in such a part; `None` for any other text.
    #[must_use]
    pub fn parse(part: &str) -> Option<(u64, &str)> {
        let (ms, hash) = part.split_once('-')?;
        Some((ms.parse().ok()?, hash))
    }
}

impl Document for EventOrder {
    const KIND: &'static str = "event_order";
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryStore;
    use crate::records::{Key, Records, Writes};

    #[test]
    fn the_parts_of_a_key_fit_and_say_when_and_which() {
        let hash = "a".repeat(64);
        let part = EventOrder::part(1_795_343_400_250, &hash);
        assert_eq!(EventOrder::parse(&part), Some((1_795_343_400_250, hash.as_str())));
        let longest = "a".repeat(63);
        assert!(Key::of::<EventOrder>(&[&longest, &longest, &part]).is_ok());
        assert!(Key::of::<EventRecord>(&[&longest, &longest, &hash]).is_ok());
        for other in ["", "a", "a-b", "-b"] {
            assert_eq!(EventOrder::parse(other), None, "{other:?}");
        }
    }

    #[tokio::test]
    async fn the_oldest_event_of_a_workspace_is_listed_first() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        for ms in [2000, 999, 1_795_343_400_250, 10_000] {
            let part = EventOrder::part(ms, "ab");
            records.commit(Writes::new().put(&["acme", "main", &part], &EventOrder {})).await.unwrap();
        }
        let found = records.list::<EventOrder>(&["acme", "main"], None, 10).await.unwrap();
        let times: Vec<u64> =
            found.iter().filter_map(|(part, _, _)| EventOrder::parse(part)).map(|(ms, _)| ms).collect();
        assert_eq!(times, [999, 2000, 10_000, 1_795_343_400_250]);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let id = |text: &str| AutomationId::parse(text).unwrap();
        let record = EventRecord {
            event_id: "order/7 created".to_owned(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            order: EventOrder::part(1, "ab"),
            lease: Some(EventLease { holder: "proc_1".to_owned(), until: "2026-01-01T00:02:00Z".to_owned() }),
            fired: vec![FiredAutomation {
                automation_id: id("auto_1"),
                run_id: RunId::parse("run_1").unwrap(),
                status: None,
                interrupted: false,
                problem: Some(FiringProblem { code: "input_invalid".to_owned(), message: "no".to_owned() }),
            }],
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<EventRecord>(&text).unwrap(), record);
    }
}
