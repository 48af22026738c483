//! What happens after an action's request is sent: success, errors, retries, pagination, budgets.

use portcullis_action::plan::{ErrorAction, ErrorClass, MissingItems};
use portcullis_action::retry::WaitKind;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Which answers are a success.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SuccessDef {
    /// Statuses; every 2xx by default.
    #[schemars(length(max = 32), inner(range(min = 100, max = 599)))]
    pub status: Vec<u16>,
    /// A condition on the body, in addition to the status.
    pub predicate: Option<Value>,
}

/// What one kind of error answer means.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["when", "class"]))]
pub struct ErrorRuleDef {
    /// When it applies: every condition that is written must hold.
    pub when: ErrorWhenDef,
    /// Class of the error.
    pub class: ErrorClass,
    /// What is done; by default from the class: `rate_limit` and `transient` are retried.
    pub action: Option<ErrorAction>,
    /// Pointer to the upstream's code in the body.
    #[schemars(length(max = 400))]
    pub code_path: Option<String>,
    /// Pointer to the upstream's message in the body.
    #[schemars(length(max = 400))]
    pub message_path: Option<String>,
    /// Message shown to people instead.
    #[schemars(length(max = 500))]
    pub message: Option<String>,
    /// One such answer says for certain that the credential is not accepted any more: the connection needs attention at
    /// once, and not only after three calls in a row. For class `auth` only.
    pub r#final: bool,
}

/// When an error rule applies.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorWhenDef {
    /// One of these statuses.
    #[schemars(length(max = 32), inner(range(min = 100, max = 599)))]
    pub status: Vec<u16>,
    /// A condition on the body.
    pub predicate: Option<Value>,
    /// A condition on the headers, whose names are lower-case members, such as
    /// `{"path": "/retry-after", "exists": true}`.
    pub header: Option<Value>,
}

/// When a failed call is retried.
///
/// A request that may have been carried out is never sent again unless the action is idempotent, an
/// idempotency key went with it, or `allow_non_idempotent` is set.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RetryDef {
    /// Maximum attempts, including the first; 3 by default.
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: Option<u8>,
    /// First wait, milliseconds; doubled each time, full jitter; 500 by default.
    #[schemars(range(min = 1, max = 60_000))]
    pub base_ms: Option<u32>,
    /// Longest single wait, milliseconds; 30,000 by default. A longer one that the upstream asks for
    /// ends the run, with `retry_at`.
    #[schemars(range(min = 1, max = 300_000))]
    pub max_wait_ms: Option<u32>,
    /// Statuses to retry; 408, 429, 502, 503, 504 by default.
    #[schemars(length(max = 32), inner(range(min = 400, max = 599)))]
    pub on_status: Option<Vec<u16>>,
    /// Whether a failed connection is retried; true by default.
    pub on_network: Option<bool>,
    /// Also retry requests that may have been carried out.
    pub allow_non_idempotent: bool,
    /// The vendor guarantees that a request answered with 429 or 503 and a wait was not carried out.
    pub rate_limited_not_executed: bool,
    /// Headers that say how long to wait, tried in order; `retry-after` (auto) by default.
    #[schemars(length(max = 8))]
    pub headers: Vec<RetryHeaderDef>,
    /// A wait given in the body.
    pub body: Option<RetryBodyDef>,
}

/// A header that says how long to wait.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct RetryHeaderDef {
    /// Name.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// Format of its value.
    pub kind: WaitKind,
    /// Only when this other header is zero.
    #[schemars(length(min = 1, max = 120))]
    pub when_remaining_zero: Option<String>,
}

/// A wait given in the body.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["path"]))]
pub struct RetryBodyDef {
    /// Pointer to the text or number.
    #[schemars(length(min = 1, max = 400))]
    pub path: String,
    /// Regular expression whose first group is the wait.
    #[schemars(length(min = 1, max = 500))]
    pub pattern: Option<String>,
    /// Format of the value.
    pub kind: WaitKind,
}

/// The idempotency key, by which the vendor recognizes a repeated request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["in", "name"]))]
pub struct IdempotencyDef {
    /// Where the key goes.
    pub r#in: IdempotencyIn,
    /// Header or query name, or pointer into the body.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// Longest key the vendor accepts, characters; 255 by default.
    #[schemars(range(min = 16, max = 255))]
    pub max_length: Option<u16>,
    /// How long the vendor remembers it, seconds.
    pub ttl_s: Option<u32>,
}

/// Where an idempotency key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdempotencyIn {
    /// A header.
    #[default]
    Header,
    /// A query pair.
    Query,
    /// A member of the JSON body.
    Body,
}

/// How the pages of a list are requested.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["type", "items"]))]
pub struct PaginationDef {
    /// Pagination type.
    pub r#type: PaginationType,
    /// Pointer to the list in the answer; empty for the answer itself.
    #[schemars(length(max = 400))]
    pub items: String,
    /// `cursor`, `graphql_cursor`, `next_url`: pointer to the cursor or URL. `last_id`: pointer below
    /// the last item, `/id` by default.
    #[schemars(length(min = 1, max = 400))]
    pub cursor_path: Option<String>,
    /// What a success without a list at `items` is: an error, or a page without items.
    pub missing_items: MissingItems,
    /// Statuses that end the list, unless the first page has one.
    #[schemars(length(max = 20), inner(range(min = 100, max = 599)))]
    pub end_status: Vec<u16>,
    /// A predicate on the body of a page which says that no page follows.
    pub end_when: Option<Value>,
    /// `link_header`: attribute of the link that says whether rows follow, `results` by default.
    #[schemars(length(min = 1, max = 100))]
    pub link_results: Option<String>,
    /// `link_header`, `next_url`: paths that a next page may have besides the action's own, such as
    /// `/repositories/*/issues`. A `*` is one piece of a segment, `**` several segments; `{{config.x}}` is filled in.
    #[schemars(length(max = 20), inner(length(min = 1, max = 1000)))]
    pub paths: Vec<String>,
    /// Pointer to a value that says whether there is another page: a boolean, a number or a word such as `"N"`.
    #[schemars(length(min = 1, max = 400))]
    pub has_more_path: Option<String>,
    /// Name of the query pair, or pointer into the JSON body, that carries cursor, page or offset.
    #[schemars(length(min = 1, max = 200))]
    pub param: Option<String>,
    /// Where `param` and `limit_param` go; the query by default.
    pub r#in: PaginationIn,
    /// Name or pointer of the parameter with the page size.
    #[schemars(length(min = 1, max = 200))]
    pub limit_param: Option<String>,
    /// Page size.
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<u32>,
    /// First page number (1 by default) or offset (0 by default).
    pub start: Option<u64>,
    /// Maximum pages, 1 to 100; 10 by default.
    #[schemars(range(min = 1, max = 100))]
    pub max_pages: Option<u32>,
    /// Maximum items; 10,000 by default.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_items: Option<u32>,
}

/// Pagination types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaginationType {
    /// The answer contains a cursor for the next request.
    #[default]
    Cursor,
    /// The last item's id is the cursor.
    LastId,
    /// Pages are numbered.
    Page,
    /// An offset counts the items.
    Offset,
    /// `Link: <…>; rel="next"` (RFC 8288).
    LinkHeader,
    /// The answer contains the next URL, absolute or relative; same scheme and host only.
    NextUrl,
    /// A cursor that goes into the GraphQL variables.
    GraphqlCursor,
}

/// Where a page's parameter goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaginationIn {
    /// The query.
    #[default]
    Query,
    /// The JSON body.
    Body,
}

/// A client-side budget.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RateLimitDef {
    /// Requests per period.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests: Option<u32>,
    /// The period, milliseconds; 1,000 by default.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub per_ms: Option<u32>,
    /// Maximum concurrent calls.
    #[schemars(range(min = 1, max = 1_000))]
    pub concurrency: Option<u32>,
    /// Who shares it.
    pub scope: BudgetScope,
    /// Template over `input.*` and `config.*` that divides the budget, one for each value, such as
    /// `{{input.base_id}}`.
    #[schemars(length(min = 1, max = 200))]
    pub key: Option<String>,
}

/// Who shares a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// One workspace's connection.
    #[default]
    Connection,
    /// Every workspace of one org.
    Org,
    /// Every call of the connector.
    Connector,
}
