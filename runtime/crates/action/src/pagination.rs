//! Pagination: from one page's answer to the request of the next, until the list or a limit
//! ends.
//!
//! The driver is pure: the caller sends. A next URL from the upstream must stay on the host and
//! port of the first request; the gate checks every page again, from the top.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::plan::{PaginationKind, PaginationPlan};
use crate::render::RenderedRequest;
use crate::response::MappedResponse;

mod edit;
mod link;
mod next_url;

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
    #[error("the next page's URL must be https://…, /path or ?query, in printable ASCII")]
    NotAUrl,
    /// The header does not follow RFC 8288.
    #[error("the link header cannot be read")]
    LinkHeader,
    /// The value at the list's position is not a list.
    #[error("there is no list at {0:?} of the answer")]
    NotAList(String),
    /// The cursor is missing or not a scalar.
    #[error("the cursor at {0:?} is missing, or is neither text nor a number")]
    Cursor(String),
    /// The request's body has no such position.
    #[error("the request's body has no place for the page's {0:?}")]
    NoPlace(String),
}

impl PageError {
    /// Stable code, `snake_case`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Loop(_) => "pagination_loop",
            Self::Foreign | Self::NotAUrl => "pagination_url_refused",
            Self::LinkHeader | Self::NotAList(_) | Self::Cursor(_) | Self::NoPlace(_) => "pagination_invalid",
        }
    }
}

/// The pages of one list so far.
#[derive(Debug, Clone)]
pub struct Pages<'p> {
    plan: &'p PaginationPlan,
    /// Origin of the first request; `None` if its URL is in no accepted form.
    origin: Option<Origin>,
    items: Vec<Value>,
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
        answer: &MappedResponse,
        full_body: &Value,
    ) -> Result<Option<RenderedRequest>, PageError> {
        let page = self.page(full_body)?;
        let room =
            usize::try_from(self.plan.max_items).unwrap_or(usize::MAX).saturating_sub(self.items.len());
        self.items.extend(page.iter().take(room).cloned());
        self.truncated |= page.len() > room;
        self.pages = self.pages.saturating_add(1);
        let following = self.following(last, answer, full_body, page)?;
        let full = self.truncated || page.len() >= room || self.pages >= self.plan.max_pages;
        if full && following.is_some() {
            self.truncated = true;
            return Ok(None);
        }
        Ok(following)
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

    /// The items of a page. Several vendors omit an empty list.
    fn page<'b>(&self, body: &'b Value) -> Result<&'b [Value], PageError> {
        match body.pointer(&self.plan.items) {
            Some(Value::Array(items)) => Ok(items),
            None | Some(Value::Null) => Ok(&[]),
            Some(_) => Err(PageError::NotAList(self.plan.items.clone())),
        }
    }

    fn following(
        &mut self,
        last: &RenderedRequest,
        answer: &MappedResponse,
        body: &Value,
        page: &[Value],
    ) -> Result<Option<RenderedRequest>, PageError> {
        let more = self.plan.has_more_path.as_deref().and_then(|path| body.pointer(path)?.as_bool());
        if more == Some(false) {
            return Ok(None);
        }
        let plan = self.plan;
        match &plan.kind {
            PaginationKind::Cursor { cursor_path, param } => {
                let Some(cursor) = cursor(body, cursor_path)? else { return Ok(None) };
                self.visit(scalar_text(cursor), "cursor")?;
                with(last, |request| edit::set(request, param, cursor))
            }
            PaginationKind::LastId { id_path, param } => {
                let Some(item) = page.last() else { return Ok(None) };
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
                if self.counts_as_last(page.len(), more) {
                    return Ok(None);
                }
                self.position = self.position.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
                with(last, |request| edit::set(request, param, &self.position.into()))
            }
            PaginationKind::LinkHeader => {
                let header = answer.headers.get("link").and_then(Value::as_str).unwrap_or_default();
                let Some(url) = link::next(header)? else { return Ok(None) };
                self.visit_url(last, &url)
            }
            PaginationKind::NextUrl { cursor_path } => match cursor(body, cursor_path)? {
                None => Ok(None),
                Some(Value::String(url)) => self.visit_url(last, url),
                Some(_) => Err(PageError::NotAUrl),
            },
        }
    }

    /// A page without items ends a counted list, and so does a short page unless the answer says that
    /// there are more.
    fn counts_as_last(&self, found: usize, more: Option<bool>) -> bool {
        let short = |size: u32| found < usize::try_from(size).unwrap_or(usize::MAX);
        found == 0 || (more.is_none() && self.plan.page_size.is_some_and(short))
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

fn with(
    last: &RenderedRequest,
    change: impl FnOnce(&mut RenderedRequest) -> Result<(), PageError>,
) -> Result<Option<RenderedRequest>, PageError> {
    let mut request = last.clone();
    change(&mut request)?;
    Ok(Some(request))
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
