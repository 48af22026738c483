//! How the next page of a list is requested.

use super::super::{MissingItems, PageParam, PaginationKind, PaginationPlan};
use super::{document, list, page_param, scalar, text_of};
use crate::json::Reader;

pub(super) fn read(reader: &mut Reader<'_>) -> Option<PaginationPlan> {
    let (mut way, mut items, mut has_more_path) = (None, None, None);
    let (mut missing_items, mut end_status) = (MissingItems::default(), Vec::new());
    let (mut end_when, mut link_results) = (None, None);
    let (mut limit, mut page_size, mut max_pages, mut max_items) = (None, None, None, None);
    reader.members(|reader, name| {
        match name {
            "kind" => way = Some(kind(reader)?),
            "items" => items = Some(text_of(reader)?),
            "missing_items" => {
                missing_items = match reader.text()?.as_ref() {
                    "error" => MissingItems::Error,
                    "empty" => MissingItems::Empty,
                    _ => return None,
                }
            }
            "end_status" => end_status = list(reader, scalar)?,
            "end_when" => end_when = Some(document(reader)?),
            "link_results" => link_results = Some(text_of(reader)?),
            "has_more_path" => has_more_path = Some(text_of(reader)?),
            "limit" => limit = Some(sized(reader)?),
            "page_size" => page_size = Some(scalar(reader)?),
            "max_pages" => max_pages = Some(scalar(reader)?),
            "max_items" => max_items = Some(scalar(reader)?),
            _ => return None,
        }
        Some(())
    })?;
    Some(PaginationPlan {
        kind: way?,
        items: items?,
        missing_items,
        end_status,
        end_when,
        link_results,
        has_more_path,
        limit,
        page_size,
        max_pages: max_pages?,
        max_items: max_items?,
    })
}

/// Where the page size goes, and the size.
fn sized(reader: &mut Reader<'_>) -> Option<(PageParam, u32)> {
    let (mut param, mut size) = (None, None);
    reader.items(|reader| {
        match (&param, &size) {
            (None, None) => param = Some(page_param(reader)?),
            (Some(_), None) => size = Some(scalar(reader)?),
            _ => return None,
        }
        Some(())
    })?;
    Some((param?, size?))
}

fn kind(reader: &mut Reader<'_>) -> Option<PaginationKind> {
    let (mut kind, mut path, mut id_path, mut param, mut start) = (None, None, None, None, None);
    reader.members(|reader, name| {
        match name {
            "type" => kind = Some(reader.text()?),
            "cursor_path" => path = Some(text_of(reader)?),
            "id_path" => id_path = Some(text_of(reader)?),
            "param" => param = Some(page_param(reader)?),
            "start" => start = Some(scalar(reader)?),
            _ => return None,
        }
        Some(())
    })?;
    Some(match kind?.as_ref() {
        "cursor" => PaginationKind::Cursor { cursor_path: path?, param: param? },
        "last_id" => PaginationKind::LastId { id_path: id_path?, param: param? },
        "page" => PaginationKind::Page { param: param?, start: start? },
        "offset" => PaginationKind::Offset { param: param?, start: start? },
        "link_header" => PaginationKind::LinkHeader,
        "next_url" => PaginationKind::NextUrl { cursor_path: path? },
        _ => return None,
    })
}
