//! Pagination: from one page's answer to the request of the next, until the list or a limit
//! ends.
//!
//! The driver is pure: the caller sends. A next URL from the upstream must stay on the host and
//! port of the first request; the gate checks every page again, from the top.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::judge::Answer;
use crate::plan::{MissingItems, PaginationKind, PaginationPlan};
use crate::render::RenderedRequest;
use crate::response::MappedResponse;
use crate::scalar::{kind_of, truth};

/// The usual attribute of a link that says whether rows follow.
const LINK_RESULTS: &str = "results";

mod edit;
mod link;
pub(crate) mod next_url;

use next_url::Origin;

/// Why a list cannot be followed further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The upstream returned the same cursor or URL a second time.
    #[error("the list loops: the upstream returned the same {0} twice")]
    Loop(&'static str),
    /// The next URL leads away from the first request.
    #[error("the next page's URL leaves the scheme, host or port of the first request")]
    Foreign,
    /// The next URL is in no accepted form.
    #[error("the next page's URL {link:?} {why}; it must be https://…, /path, name or ?query")]
    NotAUrl {
        /// Its beginning.
        link: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The value at the next URL's position is no text.
    #[error("the next page's URL at {0:?} is no text")]
    NotText(String),
    /// A page has the items of the one before: the upstream does not know the page's parameter.
    #[error("the page repeats: page {0} has the same items as the one before")]
    Repeats(u32),
    /// The header does not follow RFC 8288.
    #[error("the link header cannot be read")]
    LinkHeader,
    /// The answer has no list at the list's position.
    #[error("no items at {}; {found}", shown(.pointer))]
    NoItems {
        /// The position.
        pointer: String,
        /// What the answer has instead.
        found: String,
    },
    /// The value that says whether there are more cannot be read.
    #[error("{found} at {pointer:?} does not say whether there are more pages")]
    HasMore {
        /// Its position.
        pointer: String,
        /// The value.
        found: String,
    },
    /// The cursor is missing or not a scalar.
    #[error("the cursor at {0:?} is missing, or is neither text nor a number")]
    Cursor(String),
    /// The answer says that there are more pages and leads to none.
    #[error("the answer says that there are more pages, but {0}")]
    Nowhere(&'static str),
    /// The request's body has no such position.
    #[error("the request's body has no place for the page's {0:?}")]
    NoPlace(String),
}

impl PageError {
    /// Stable code, `snake_case`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Loop(_) | Self::Repeats(_) => "pagination_loop",
            Self::Foreign | Self::NotAUrl { .. } | Self::NotText(_) => "pagination_url_refused",
            Self::NoItems { .. } => NO_ITEMS,
            Self::LinkHeader
            | Self::HasMore { .. }
            | Self::Cursor(_)
            | Self::Nowhere(_)
            | Self::NoPlace(_) => "pagination_invalid",
        }
    }
}

/// Code of a page without a list where the definition says that it is.
pub const NO_ITEMS: &str = "pagination_no_items";

/// The most names of members that are listed in an error.
const NAMES_MAX: usize = 20;
/// Longest value or link that is shown in an error, characters.
const SHOWN_CHARS_MAX: usize = 100;

/// A pointer as it is shown: that of the whole answer is empty.
fn shown(pointer: &str) -> &str {
    if pointer.is_empty() { "the top of the answer" } else { pointer }
}

/// The items of a page. `may_miss` says that a page without a list is one without items; a null always is.
///
/// # Errors
/// [`PageError::NoItems`] with what is there instead.
pub(crate) fn items<'b>(
    plan: &PaginationPlan,
    body: &'b Value,
    may_miss: bool,
) -> Result<&'b [Value], PageError> {
    let found = match body.pointer(&plan.items) {
        Some(Value::Array(items)) => return Ok(items),
        Some(Value::Null) if !plan.items.is_empty() => return Ok(&[]),
        _ if may_miss => return Ok(&[]),
        None | Some(Value::Null) if plan.missing_items == MissingItems::Empty => return Ok(&[]),
        Some(other) => format!("there is {}", kind_of(other)),
        None => match body {
            Value::Object(members) if members.is_empty() => "the answer has no members".to_owned(),
            Value::Object(members) => {
                let names: Vec<String> = members.keys().take(NAMES_MAX).map(|name| beginning(name)).collect();
                let more = if members.len() > NAMES_MAX { " and others" } else { "" };
                format!("the answer has {}{more}", names.join(", "))
            }
            other => format!("the answer is {}", kind_of(other)),
        },
    };
    Err(PageError::NoItems { pointer: plan.items.clone(), found })
}

pub(crate) fn beginning(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// The pages of one list so far.
#[derive(Debug, Clone)]
pub struct Pages<'p> {
    plan: &'p PaginationPlan,
    /// Origin of the first request; `None` if its URL is in no accepted form.
    origin: Option<Origin>,
    items: Vec<Value>,
    /// Where the items of the last page begin.
    page_start: usize,
    /// Cursors or URLs that were used already.
    seen: BTreeSet<String>,
    /// Page number or offset of the last request.
    position: u64,
    pages: u32,
    truncated: bool,
}

impl<'p> Pages<'p> {
    /// A list that begins with this request.
    #[must_use]
    pub fn new(plan: &'p PaginationPlan, first: &RenderedRequest) -> Self {
        let position = match plan.kind {
            PaginationKind::Page { start, .. } | PaginationKind::Offset { start, .. } => start,
            _ => 0,
        };
        Self {
            plan,
            origin: Origin::of(&first.url),
            items: Vec::new(),
            page_start: 0,
            seen: BTreeSet::new(),
            position,
            pages: 0,
            truncated: false,
        }
    }

    /// The first request, with the page size and the first page inserted.
    ///
    /// # Errors
    /// [`PageError::NoPlace`] when the body cannot take them.
    pub fn first(&mut self, mut request: RenderedRequest) -> Result<RenderedRequest, PageError> {
        if let Some((param, size)) = &self.plan.limit {
            edit::set(&mut request, param, &Value::from(*size))?;
        }
        if let PaginationKind::Page { param, start } | PaginationKind::Offset { param, start } =
            &self.plan.kind
        {
            edit::set(&mut request, param, &Value::from(*start))?;
        }
        if matches!(self.plan.kind, PaginationKind::LinkHeader | PaginationKind::NextUrl { .. }) {
            self.seen.insert(request.url.clone());
        }
        Ok(request)
    }

    /// Takes a page's items and makes the request of the next page; `None` at the end of the list or
    /// at a limit; [`Pages::truncated`] says which.
    ///
    /// # Errors
    /// [`PageError`] if the list cannot be followed.
    pub fn next(
        &mut self,
        last: &RenderedRequest,
        answer: &Answer,
    ) -> Result<Option<RenderedRequest>, PageError> {
        let (body, status) = (&answer.mapped.body, answer.mapped.status);
        let may_miss = answer.ends || matches!(status, 204 | 205);
        let page = items(self.plan, body, may_miss)?;
        self.check_repeated(page)?;
        let room =
            usize::try_from(self.plan.max_items).unwrap_or(usize::MAX).saturating_sub(self.items.len());
        self.page_start = self.items.len();
        self.items.extend(page.iter().take(room).cloned());
        self.truncated |= page.len() > room;
        self.pages = self.pages.saturating_add(1);
        let following = if answer.ends { None } else { self.following(last, &answer.mapped, body, page)? };
        let full = self.truncated || page.len() >= room || self.pages >= self.plan.max_pages;
        if full && following.is_some() {
            self.truncated = true;
            return Ok(None);
        }
        Ok(following)
    }

    /// Whether an answer with this status ends the list instead of failing it: no page has it but one after the first.
    #[must_use]
    pub fn end_at(&self, status: u16) -> bool {
        self.pages > 0 && self.plan.end_status.contains(&status)
    }

    /// A counted page that has the items of the one before: an upstream that ignores the count never ends.
    fn check_repeated(&self, page: &[Value]) -> Result<(), PageError> {
        let is_counted =
            matches!(self.plan.kind, PaginationKind::Page { .. } | PaginationKind::Offset { .. });
        let before = self.items.get(self.page_start..).unwrap_or_default();
        if is_counted && self.pages > 0 && !page.is_empty() && page == before {
            return Err(PageError::Repeats(self.pages.saturating_add(1)));
        }
        Ok(())
    }

    /// Number of pages taken.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.pages
    }

    /// Whether a limit stopped the list before its end.
    #[must_use]
    pub const fn truncated(&self) -> bool {
        self.truncated
    }

    /// The items of every page, as one array.
    #[must_use]
    pub fn finish(self) -> Value {
        Value::Array(self.items)
    }

    fn following(
        &mut self,
        last: &RenderedRequest,
        answer: &MappedResponse,
        body: &Value,
        page: &[Value],
    ) -> Result<Option<RenderedRequest>, PageError> {
        let more = self.plan.has_more_path.as_deref().map(|path| has_more(body, path)).transpose()?.flatten();
        if more == Some(false) {
            return Ok(None);
        }
        let plan = self.plan;
        match &plan.kind {
            PaginationKind::Cursor { cursor_path, param } => {
                let Some(cursor) = cursor(body, cursor_path)? else { return ended(more, cursor_path) };
                self.visit(scalar_text(cursor), "cursor")?;
                with(last, |request| edit::set(request, param, cursor))
            }
            PaginationKind::LastId { id_path, param } => {
                let Some(item) = page.last() else { return ended(more, id_path) };
                let id = cursor(item, id_path)?.ok_or_else(|| PageError::Cursor(id_path.clone()))?;
                self.visit(scalar_text(id), "last id")?;
                with(last, |request| edit::set(request, param, id))
            }
            PaginationKind::Page { param, .. } => {
                if self.counts_as_last(page.len(), more) {
                    return Ok(None);
                }
                self.position = self.position.saturating_add(1);
                with(last, |request| edit::set(request, param, &self.position.into()))
            }
            PaginationKind::Offset { param, .. } => {
                if page.is_empty() && more == Some(true) {
                    return Err(PageError::Nowhere("this one has no items to count on from"));
                }
                if self.counts_as_last(page.len(), more) {
                    return Ok(None);
                }
                self.position = self.position.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
                with(last, |request| edit::set(request, param, &self.position.into()))
            }
            PaginationKind::LinkHeader => {
                let header = answer.headers.get("link").and_then(Value::as_str).unwrap_or_default();
                let results = plan.link_results.as_deref().unwrap_or(LINK_RESULTS);
                match link::next(header, results)? {
                    Some(url) => self.visit_url(last, &url),
                    None if more == Some(true) => Err(PageError::Nowhere("no link to the next one")),
                    None => Ok(None),
                }
            }
            PaginationKind::NextUrl { cursor_path } => match cursor(body, cursor_path)? {
                None => ended(more, cursor_path),
                Some(Value::String(url)) => self.visit_url(last, url),
                Some(_) => Err(PageError::NotText(cursor_path.clone())),
            },
        }
    }

    /// A page without items ends a counted list, and so does a short page, unless the answer says that there are more.
    fn counts_as_last(&self, found: usize, more: Option<bool>) -> bool {
        let short = |size: u32| found < usize::try_from(size).unwrap_or(usize::MAX);
        more.is_none() && (found == 0 || self.plan.page_size.is_some_and(short))
    }

    fn visit_url(&mut self, last: &RenderedRequest, url: &str) -> Result<Option<RenderedRequest>, PageError> {
        let url = next_url::resolve(self.origin.as_ref(), &last.url, url)?;
        self.visit(url.clone(), "next URL")?;
        with(last, |request| {
            request.url = url;
            Ok(())
        })
    }

    fn visit(&mut self, key: String, what: &'static str) -> Result<(), PageError> {
        if self.seen.insert(key) { Ok(()) } else { Err(PageError::Loop(what)) }
    }
}

/// The end of a list whose answer leads no further. Not if it says that there are more: half a list looks like a whole
/// one.
fn ended(more: Option<bool>, path: &str) -> Result<Option<RenderedRequest>, PageError> {
    if more == Some(true) { Err(PageError::Cursor(path.to_owned())) } else { Ok(None) }
}

fn with(
    last: &RenderedRequest,
    change: impl FnOnce(&mut RenderedRequest) -> Result<(), PageError>,
) -> Result<Option<RenderedRequest>, PageError> {
    let mut request = last.clone();
    change(&mut request)?;
    Ok(Some(request))
}

/// What the value at a path says about further pages; `None` if it is absent or null.
fn has_more(body: &Value, path: &str) -> Result<Option<bool>, PageError> {
    let said = match body.pointer(path) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Bool(more)) => Some(*more),
        Some(Value::Number(number)) => number.as_f64().map(|count| count > 0.0),
        Some(Value::String(text)) => truth(text),
        Some(_) => None,
    };
    said.map(Some).ok_or_else(|| {
        let found = body.pointer(path).map(|found| match found {
            Value::Array(_) | Value::Object(_) => kind_of(found).to_owned(),
            scalar => beginning(&scalar.to_string()),
        });
        PageError::HasMore { pointer: path.to_owned(), found: found.unwrap_or_default() }
    })
}

/// The cursor at a path; `None` when it is absent, null, empty or false.
fn cursor<'b>(body: &'b Value, path: &str) -> Result<Option<&'b Value>, PageError> {
    match body.pointer(path) {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(found @ (Value::String(_) | Value::Number(_))) => Ok(Some(found)),
        Some(_) => Err(PageError::Cursor(path.to_owned())),
    }
}

/// A text or number as written in a query.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
