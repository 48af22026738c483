//! Work that a vendor does later, as written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// How an answer that is not finished yet is asked for again, within the time of the call.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["url"]))]
pub struct PollDef {
    /// Where an answer says at which URL to ask again. It must be at the host of the action.
    pub url: PollUrlDef,
    /// A predicate on the body which says that the work is done; by default it is unless the status is 202.
    pub done: Option<Value>,
    /// A predicate on the body which says that the work has failed.
    pub failed: Option<Value>,
    /// Where the result is; by default the answer that says that the work is done.
    pub result: Option<PollResultDef>,
    /// Seconds between two requests, 2 by default. A longer `Retry-After` of the vendor counts.
    #[schemars(range(min = 1, max = 600))]
    pub interval_s: Option<u32>,
    /// Seconds after which the call fails although the work goes on; by default the time of the call.
    #[schemars(range(min = 1, max = 1800))]
    pub max_s: Option<u32>,
    /// Paths that the URL may have, such as `/jobs/*`; by default every path at the host of the action. A `*` is one
    /// piece of a segment, `**` several segments; `{{config.x}}` is filled in.
    #[schemars(length(max = 20), inner(length(min = 1, max = 1000)))]
    pub paths: Vec<String>,
}

/// Where an answer has a URL: one of both.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PollUrlDef {
    /// A header of the answer, such as `location`.
    #[schemars(length(min = 1, max = 100))]
    pub header: Option<String>,
    /// Pointer into the body.
    #[schemars(length(min = 1, max = 400))]
    pub path: Option<String>,
}

/// Where the result of finished work is: one of both.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PollResultDef {
    /// Pointer into the answer that says that the work is done; `response.root` and `response.map` begin there.
    #[schemars(length(min = 1, max = 400))]
    pub path: Option<String>,
    /// Pointer to the URL from which the result is fetched, at the host of the action.
    #[schemars(length(min = 1, max = 400))]
    pub url_path: Option<String>,
}
