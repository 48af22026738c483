//! Query parameters and request headers: read by the types in the OpenAPI document.
//!
//! A handler's parameters are one struct. A member is a query parameter, or a header if its schema says
//! `x-in: header`. An unknown query parameter is refused with the nearest name: `?dryrun=true` must not send the
//! real request. Unknown headers are ignored.

use http::HeaderMap;
use portcullis_core::fault::Code;
use portcullis_core::violation::{Violation, nearest};
use portcullis_engine::{Error, PageRequest};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Context, RawRequest, structure_of};

/// Where a parameter is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the query.
    Query,
    /// A header.
    Header,
}

/// A parameter for the OpenAPI document.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) required: bool,
    pub(crate) schema: Map<String, Value>,
}

/// Parameters that a handler takes.
pub(crate) trait Parameters: DeserializeOwned + JsonSchema + Send + 'static {
    /// The parameters for the OpenAPI document.
    fn describe() -> Vec<Parameter> {
        let Ok(structure) = structure_of::<Self>() else { return Vec::new() };
        let schema = structure.schema();
        let required = schema.get("required").and_then(Value::as_array);
        let properties = schema.get("properties").and_then(Value::as_object);
        let described = properties.into_iter().flatten().map(|(name, schema)| {
            let mut members = schema.as_object().cloned().unwrap_or_default();
            // Why in place: a parameter's schema stands alone in the document.
            let named = members.shift_remove("$ref");
            let named = named.as_ref().and_then(Value::as_str).and_then(|name| name.strip_prefix('#'));
            let named = named.and_then(|pointer| structure.schema().pointer(pointer)?.as_object());
            let mut schema = named.cloned().unwrap_or_default();
            schema.extend(members);
            let header = schema.shift_remove("x-in").is_some_and(|place| place == "header");
            Parameter {
                name: name.clone(),
                place: if header { Place::Header } else { Place::Query },
                required: required.is_some_and(|all| all.iter().any(|one| one == name)),
                schema,
            }
        });
        described.collect()
    }

    /// Reads them.
    ///
    /// # Errors
    /// As [`read_typed`].
    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        read_typed(context, request)
    }
}

/// Reads parameters by their type's schema.
///
/// # Errors
/// `unknown_parameter`, and `bad_request` with every value that is none.
pub(crate) fn read_typed<P: Parameters>(context: &Context, request: &RawRequest) -> Result<P, Error> {
    let structure = structure_of::<P>()?;
    let properties = structure.schema().get("properties").and_then(Value::as_object);
    let empty = Map::new();
    let properties = properties.unwrap_or(&empty);
    let mut given = Map::new();
    let query = request.query();
    for (name, text) in url::form_urlencoded::parse(query.as_bytes()) {
        match properties.get(&*name).filter(|schema| !is_header(schema)) {
            Some(schema) => {
                if given.insert(name.to_string(), typed(schema, &text)).is_some() {
                    return Err(Error::new(Code::BadRequest, format!("{name} is given twice")));
                }
            }
            None if request.lenient => {}
            None => return Err(unknown(&name, properties)),
        }
    }
    for (name, schema) in properties.iter().filter(|(_, schema)| is_header(schema)) {
        if let Some(text) = header(context.headers(), name)? {
            given.insert(name.clone(), typed(schema, &text));
        }
    }
    if given.is_empty() {
        // Why: most requests have none, and then only a missing one could be wrong, which the type knows as well.
        if let Ok(read) = P::deserialize(Value::Object(Map::new())) {
            return Ok(read);
        }
    }
    structure.read(Value::Object(given)).map_err(refused)
}

/// A header's value; several lines of a name are one list (RFC 9110 section 5.3).
///
/// # Errors
/// `bad_request` for one that is no text: passed over, `If-Match` would not protect.
fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>, Error> {
    let mut lines = Vec::new();
    for value in headers.get_all(name) {
        let text = value
            .to_str()
            .map_err(|_| Error::new(Code::BadRequest, format!("{name} must be visible ASCII characters")))?;
        lines.push(text);
    }
    Ok((!lines.is_empty()).then(|| lines.join(", ")))
}

fn is_header(schema: &Value) -> bool {
    schema.get("x-in").is_some_and(|place| place == "header")
}

/// A text as a value of the schema's type; it stays a text if it is none, and the schema then refuses it.
fn typed(schema: &Value, text: &str) -> Value {
    let accepts = |name: &str| match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    };
    match text {
        "true" if accepts("boolean") => Value::Bool(true),
        "false" if accepts("boolean") => Value::Bool(false),
        // Why not any number: a count in a query is written in digits alone.
        digits if accepts("integer") && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse::<u64>().map_or_else(|_| Value::from(text), Value::from)
        }
        _ => Value::from(text),
    }
}

fn unknown(name: &str, properties: &Map<String, Value>) -> Error {
    let shown: String = name.chars().take(80).collect();
    let known: Vec<&str> =
        properties.iter().filter(|(_, schema)| !is_header(schema)).map(|(name, _)| name.as_str()).collect();
    let detail = match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown parameter {shown:?}; did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown parameter {shown:?}; this route takes none"),
        None => format!("unknown parameter {shown:?}; this route takes {}", known.join(", ")),
    };
    Error::new(Code::UnknownParameter, detail)
}

fn refused(violations: Vec<Violation>) -> Error {
    let name = |violation: &Violation| violation.pointer.trim_start_matches('/').to_owned();
    let told: Vec<String> = violations.iter().map(|v| format!("{}: {}", name(v), v.message)).collect();
    Error::new(Code::BadRequest, told.join("; "))
}

/// No parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

impl Parameters for NoParameters {}

/// Selects a page of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageParameters {
    /// Maximum entries of the page.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// The last entry of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,79}$"))]
    starting_after: Option<String>,
}

/// Entries of a page that names no limit.
pub(crate) const fn default_limit() -> u32 {
    50
}

impl Parameters for PageParameters {}

impl PageParameters {
    /// The engine's form.
    pub(crate) fn wanted(self) -> PageRequest {
        PageRequest { limit: usize::try_from(self.limit).unwrap_or(50), after: self.starting_after }
    }
}

/// The revision to which a change applies.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IfMatch {
    /// The `ETag` of the record as it was read: the change is refused if the record has changed since. `*` means any.
    #[serde(rename = "If-Match", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    if_match: Option<String>,
}

impl Parameters for IfMatch {}

impl IfMatch {
    /// The expected revision, if any.
    ///
    /// # Errors
    /// Those of [`revision`].
    pub(crate) fn revision(&self) -> Result<Option<u64>, Error> {
        revision(self.if_match.as_deref())
    }
}

/// The revision in an `If-Match`.
///
/// # Errors
/// `bad_request` for a text without quotes, `revision_mismatch` for a tag that no revision can have.
pub(crate) fn revision(tag: Option<&str>) -> Result<Option<u64>, Error> {
    let Some(tag) = tag.map(str::trim).filter(|tag| *tag != "*") else { return Ok(None) };
    if !tag.contains('"') {
        // Why refused: whoever writes it so means a revision, and some servers take it for no condition at all.
        let detail = "If-Match must be an ETag as it was sent, in quotes, such as \"3\", or *";
        return Err(Error::new(Code::BadRequest, detail));
    }
    let text = tag.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    // Why compared as text: "01" and "+1" are read as 1 and are no tag that was ever given.
    let revision = text.parse::<u64>().ok().filter(|revision| revision.to_string() == text);
    let none = || Error::new(Code::RevisionMismatch, "If-Match names no revision of this record");
    revision.map(Some).ok_or_else(none)
}
