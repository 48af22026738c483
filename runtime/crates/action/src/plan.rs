//! The action plan: what a guest needs to know to make one action's request, and nothing more.
//!
//! The host makes it from a checked definition and passes it as JSON with each call. It contains
//! no secret, no domain list and no rule of the gate: a guest gains nothing by ignoring it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod error;
mod poll;
mod read;

pub use error::{ErrorAction, ErrorClass, ErrorRule};
pub use poll::{Asked, PollPlace, PollPlan};

/// The supported methods. CONNECT, TRACE and custom methods cannot be expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET
    #[default]
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// The method token of RFC 9110 section 9.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// The method with exactly that token; tokens are case-sensitive (RFC 9110 section 9.1).
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == token)
    }

    /// Whether a request of this method may be repeated without changing its effect
    /// (RFC 9110 section 9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }

    /// Whether inputs go to the body by default.
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an input goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum InputPlace {
    /// A variable in the URL template's path.
    Path,
    /// A query pair.
    Query,
    /// A header.
    Header,
    /// The body.
    #[default]
    Body,
}

/// How an array or object is written in a query or form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ArrayFormat {
    /// `a=1&a=2`
    #[default]
    Repeat,
    /// `a[]=1&a[]=2`; an object is `a[k]=v`.
    Brackets,
    /// `a[0]=1&a[1]=2`; an object is `a[k]=v`.
    Indices,
    /// `a=1,2`
    Comma,
    /// `a=1|2`
    Pipe,
    /// `a=["1","2"]`
    Json,
}

/// When an input is left out of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OmitIf {
    /// When it is null or absent.
    #[default]
    Null,
    /// Also when it is an empty text, array or object.
    Empty,
    /// Only when it is absent: null is written.
    Never,
}

/// One input of the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct InputPlan {
    pub name: String,
    /// Name on the wire, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<String>,
    pub place: InputPlace,
    /// Steps of its position in the body; if empty, the wire name at the top level. A step of digits is an
    /// index of an array.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// How an array or object is written in a query or form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array_format: Option<ArrayFormat>,
    /// Filters, as in a template after the first `|`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// When it is left out.
    #[serde(skip_serializing_if = "is_default")]
    pub omit_if: OmitIf,
    /// Whether a null is written whatever `omit_if` says.
    #[serde(skip_serializing_if = "is_default")]
    pub nullable: bool,
    /// Whether its value is a file: `{"filename", "content_type"?, "data": <base64>}`, or plain text.
    #[serde(skip_serializing_if = "is_default")]
    pub file: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl InputPlan {
    /// The name on the wire.
    #[must_use]
    pub fn wire_name(&self) -> &str {
        self.wire.as_deref().unwrap_or(&self.name)
    }
}

/// How nested values are written in a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FormStyle {
    /// `a[b][c]=1`
    #[default]
    Brackets,
    /// `a.b.c=1`
    Dots,
    /// Nested values are JSON text.
    Flat,
}

/// The shape of the body. Body inputs are merged in definition order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum BodyPlan {
    /// No body.
    #[default]
    None,
    /// A JSON document (RFC 8259): `template` with the body inputs merged into it, under `wrap`; or
    /// the one input that is the whole body.
    Json {
        /// Name under which the object is put.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wrap: Option<String>,
        /// Document whose texts are templates.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<Value>,
        /// The input that is the whole body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<String>,
    },
    /// `application/x-www-form-urlencoded`.
    Form {
        /// How nested values are written.
        #[serde(default)]
        style: FormStyle,
        /// Document of fixed members whose texts are templates.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<Value>,
    },
    /// `multipart/form-data` (RFC 7578).
    Multipart,
    /// XML from a text template.
    Xml { template: String },
    /// Text from a template.
    Text { template: String },
    /// The bytes of the file input named by `root`.
    Raw { root: String },
    /// GraphQL over HTTP.
    Graphql {
        /// The operation; not a template.
        query: String,
        /// Document whose texts are templates; body inputs are merged into it.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        variables: Map<String, Value>,
    },
}

/// Where an idempotency key goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "in", content = "name")]
pub enum KeyPlace {
    /// A header with this name.
    Header(String),
    /// A query pair with this name.
    Query(String),
    /// Steps of a position in the JSON body.
    Body(Vec<String>),
}

/// Everything the generic handler needs for one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ActionPlan {
    pub action_id: String,
    pub method: Method,
    /// URL template text, absolute.
    pub url: String,
    /// Query pairs besides the URL's, templates. A pair that is one absent variable is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    /// Header templates. A header that is one absent variable is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Inputs in definition order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputPlan>,
    pub body: BodyPlan,
    /// Content type of the body, if it is not the usual one of its shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Where the idempotency key goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<KeyPlace>,
    /// Whether the action only reads although its method may change something.
    #[serde(skip_serializing_if = "is_default")]
    pub reads: bool,
    /// Name of the credential slot to ask for; never a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Which answers are a success.
    #[serde(skip_serializing_if = "is_default")]
    pub success: SuccessPlan,
    /// How the answer becomes the output.
    #[serde(skip_serializing_if = "is_default")]
    pub response: ResponsePlan,
    /// What error answers mean; the first matching rule applies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorRule>,
    /// How the next page of a list is requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagination: Option<PaginationPlan>,
    /// How an answer that is not finished yet is asked for again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<PollPlan>,
    /// The tables that its templates and transforms look into.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tables: Map<String, Value>,
    /// What rendering may make, bytes, where it is not [`crate::budget::RENDERED_BYTES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered_bytes: Option<u64>,
}

impl ActionPlan {
    /// Whether the output is made of the members of the answer, or GraphQL, which answers nothing else: it must be JSON
    /// then.
    #[must_use]
    pub fn needs_json(&self) -> bool {
        let of_answer = |place: &str| !place.is_empty() && place != "status" && !place.starts_with("header:");
        let response = &self.response;
        self.pagination.is_some()
            || matches!(self.body, BodyPlan::Graphql { .. })
            || response.root.as_deref().is_some_and(of_answer)
            || response.map.iter().any(|(_, place)| of_answer(place))
    }

    /// Whether the action only reads, so that a request of it may be repeated without harm.
    #[must_use]
    pub const fn only_reads(&self) -> bool {
        let asks = matches!(&self.poll, Some(PollPlan { asked: Some(_), .. }));
        self.reads || asks || matches!(self.method, Method::Get | Method::Head | Method::Options)
    }
}

/// Which answers are a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct SuccessPlan {
    /// Statuses; every 2xx when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// A predicate on the body, as written in the definition; checked when the plan was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate: Option<Value>,
}

/// How an answer's body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ResponseType {
    /// JSON where the content type says so and it parses, else text, else bytes. Where the output is made of the
    /// members of the answer, it is read as `json`.
    #[default]
    Auto,
    /// JSON, whatever the content type says; a body that does not parse is an error.
    Json,
    /// A JSON value on each line: an array.
    Ndjson,
    /// Text.
    Text,
    /// XML as text.
    Xml,
    /// `{"media_type", "base64", "bytes": <how many>}`.
    Binary,
    /// Not read: null.
    None,
}

/// How an answer becomes the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ResponsePlan {
    /// How the body is read.
    #[serde(skip_serializing_if = "is_default")]
    pub r#type: ResponseType,
    /// JSON pointer to the value that the output is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Name of an output member and the source of its value: a pointer below `root`, `header:<name>` or `status`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<(String, String)>,
}

/// Pagination types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum PaginationKind {
    /// The answer contains a cursor for the next request; null, absent or empty ends the list.
    Cursor {
        /// Pointer to the cursor.
        cursor_path: String,
        /// Where the cursor goes.
        param: PageParam,
    },
    /// The last item's id is the cursor.
    LastId {
        /// Pointer below the last item.
        id_path: String,
        /// Where it goes.
        param: PageParam,
    },
    /// Pages are numbered from `start`.
    Page {
        /// Where the number goes.
        param: PageParam,
        /// First page.
        start: u64,
    },
    /// Items are counted from `start`.
    Offset {
        /// Where the count goes.
        param: PageParam,
        /// First offset.
        start: u64,
    },
    /// `Link: <…>; rel="next"` (RFC 8288).
    LinkHeader,
    /// The answer contains the next URL.
    NextUrl {
        /// Pointer to the URL.
        cursor_path: String,
    },
}

/// Where a page's value goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "in", content = "name")]
pub enum PageParam {
    /// A query pair with this name; replaces one with the same name.
    Query(String),
    /// Steps of a position in the JSON body (a GraphQL cursor's begin with `variables`).
    Body(Vec<String>),
}

/// What a success without a list at the pagination's `items` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MissingItems {
    /// An error: the definition or the answer is wrong.
    #[default]
    Error,
    /// A page without items: the vendor leaves the list out.
    Empty,
}

/// How the next page of a list is requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaginationPlan {
    pub kind: PaginationKind,
    /// Pointer to the list in the answer; empty for the answer itself.
    pub items: String,
    /// Whether a success without a list there is a page without items; else it is an error.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing_items: MissingItems,
    /// Statuses that end the list, unless the first page has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub end_status: Vec<u16>,
    /// A predicate on a page's body which says that no page follows, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_when: Option<Value>,
    /// Attribute of the `next` link that says whether rows follow; `results` if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_results: Option<String>,
    /// Pointer to a boolean that says whether there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_more_path: Option<String>,
    /// Where the page size goes, and the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<(PageParam, u32)>,
    /// The page size that is requested or that the upstream uses, if known: fewer items than that end a
    /// `page` or `offset` list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u32>,
    pub max_pages: u32,
    pub max_items: u32,
}
