//! How an answer that is not finished yet is asked for again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where an answer says at which URL to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "in", content = "name")]
pub enum PollPlace {
    /// A header with this name, lower case.
    Header(String),
    /// A JSON pointer into the body.
    Body(String),
}

/// How an answer that is not finished yet is asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollPlan {
    pub place: PollPlace,
    /// A predicate on the body that says that the work is done; without it, a status other than 202 does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Value>,
    /// A predicate on the body that says that the work has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Value>,
    /// Pointer into the last answer to the URL of the result, if the result is not in that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_url: Option<String>,
    /// The request of this attempt, if it is not the action's own; the host writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// A request that asks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Absolute.
    pub url: String,
    /// Whether it fetches the result instead of asking whether there is one.
    #[serde(default)]
    pub result: bool,
}
