//! How the pages of an action's list are requested.

use portcullis_action::UrlTemplate;
use portcullis_action::plan::{PageParam, PaginationKind, PaginationPlan};
use portcullis_action::template::Scope;

use super::behaviour::predicate;
use super::{Context, Report};
use crate::connector::place::{check_pointer, steps};
use crate::definition::{ActionDef, BodyTypeDef, Definition, PaginationDef, PaginationIn, PaginationType};

/// Default for the maximum pages of one call: enough for a form's choices, not for an export.
const PAGES: u32 = 10;
/// Default for the maximum items of one call.
const ITEMS: u32 = 10_000;

/// The action's pagination, or the connector's where the action uses it.
pub(super) fn build(
    definition: &Definition,
    wire: &ActionDef,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<PaginationPlan> {
    if wire.pagination.is_none() && wire.paginate && definition.pagination.is_none() {
        let message = "the definition has no pagination to use";
        report.error(format!("{pointer}/paginate"), "unknown_reference", message);
    }
    let (at, written) = written(definition, wire, pointer)?;
    check_pointer(&written.items, &format!("{at}/items"), report.errors);
    for (member, path) in [("cursor_path", &written.cursor_path), ("has_more_path", &written.has_more_path)] {
        if let Some(path) = path {
            check_pointer(path, &format!("{at}/{member}"), report.errors);
        }
    }
    let end_when = predicate(written.end_when.as_ref(), &format!("{at}/end_when"), report);
    check_unread(written, &at, report);
    let has_variables = wire.body.as_ref().is_some_and(|body| body.r#type == BodyTypeDef::Graphql);
    if written.r#type == PaginationType::GraphqlCursor && !has_variables {
        let message = "graphql_cursor goes to the variables of a graphql body; cursor is for the others";
        report.error(format!("{at}/type"), "pagination_no_place", message);
    }
    let kind = pagination_kind(written, &at, report)?;
    let limit =
        written.limit_param.as_ref().zip(written.limit).map(|(name, limit)| (param(written, name), limit));
    Some(PaginationPlan {
        kind,
        items: written.items.clone(),
        missing_items: written.missing_items,
        end_status: written.end_status.clone(),
        end_when,
        link_results: written.link_results.clone(),
        has_more_path: written.has_more_path.clone(),
        limit,
        page_size: written.limit,
        max_pages: written.max_pages.unwrap_or(PAGES),
        max_items: written.max_items.unwrap_or(ITEMS),
    })
}

/// The action's pagination or the one it takes from the connector, with its pointer.
fn written<'d>(
    definition: &'d Definition,
    wire: &'d ActionDef,
    pointer: &str,
) -> Option<(String, &'d PaginationDef)> {
    if let Some(own) = &wire.pagination {
        return Some((format!("{pointer}/pagination"), own));
    }
    let shared = definition.pagination.as_ref().filter(|_| wire.paginate)?;
    Some(("/pagination".to_owned(), shared))
}

/// Where the next page of an action may be besides its own URL: each of `paths`, on the host of the action.
pub(super) fn page_urls(
    context: &Context<'_>,
    wire: &ActionDef,
    url: Option<&UrlTemplate>,
    pointer: &str,
    report: &mut Report<'_>,
) -> Vec<UrlTemplate> {
    let (Some((at, written)), Some(url)) = (written(context.definition, wire, pointer), url) else {
        return Vec::new();
    };
    own_paths(context, url, &written.paths, &format!("{at}/paths"), report)
}

/// Patterns of paths, each with the host of the action.
pub(super) fn own_paths(
    context: &Context<'_>,
    url: &UrlTemplate,
    paths: &[String],
    at: &str,
    report: &mut Report<'_>,
) -> Vec<UrlTemplate> {
    let mut urls = Vec::with_capacity(paths.len());
    for (index, path) in paths.iter().enumerate() {
        match page_url(context, url, path) {
            Ok(url) => urls.push(url),
            Err(why) => report.error(format!("{at}/{index}"), "path_pattern_invalid", why),
        }
    }
    urls
}

/// A pattern as a URL template: what a `*` stands for is an input to it.
fn page_url(context: &Context<'_>, action: &UrlTemplate, path: &str) -> Result<UrlTemplate, String> {
    if !path.starts_with('/') || path.starts_with("//") || path.contains(['?', '#', '\\']) {
        return Err("is a path: it begins with one / and has no query".to_owned());
    }
    let filled = path.replace("**", "{{+input.page}}").replace('*', "{{input.page}}");
    let url = UrlTemplate::parse(&format!("https://page.invalid{filled}")).map_err(|e| e.to_string())?;
    let unknown = url.variables().find(|v| match v.scope {
        Scope::Input => v.name != "page",
        Scope::Config => !context.fields.iter().any(|f| f.name == v.name && !f.secret),
        _ => true,
    });
    if let Some(variable) = unknown {
        return Err(format!(
            "{variable} is no field of config_fields, and nothing else may stand in a path here"
        ));
    }
    Ok(UrlTemplate { segments: url.segments, query: Vec::new(), ..action.clone() })
}

/// Refuses members that this pagination type does not read: they are mistakes that would go unnoticed.
fn check_unread(written: &PaginationDef, at: &str, report: &mut Report<'_>) {
    use PaginationType::{Cursor, GraphqlCursor, LastId, LinkHeader, NextUrl, Offset, Page};
    for (member, is_written, read_by) in [
        ("cursor_path", written.cursor_path.is_some(), &[Cursor, GraphqlCursor, LastId, NextUrl][..]),
        ("param", written.param.is_some(), &[Cursor, GraphqlCursor, LastId, Page, Offset]),
        ("start", written.start.is_some(), &[Page, Offset]),
        ("link_results", written.link_results.is_some(), &[LinkHeader]),
        ("paths", !written.paths.is_empty(), &[LinkHeader, NextUrl]),
    ] {
        if is_written && !read_by.contains(&written.r#type) {
            report.error(format!("{at}/{member}"), "pagination_unused", "is not read by this way of paging");
        }
    }
    if written.limit_param.is_some() && written.limit.is_none() {
        report.error(
            format!("{at}/limit"),
            "pagination_incomplete",
            "limit_param needs limit, the page size",
        );
    }
    let counted = matches!(written.r#type, Page | Offset);
    if written.limit.is_some() && written.limit_param.is_none() && !counted {
        let message = "the page size goes to limit_param, which is not written";
        report.error(format!("{at}/limit"), "pagination_unused", message);
    }
}

fn param(written: &PaginationDef, name: &str) -> PageParam {
    match (written.r#type, written.r#in) {
        (PaginationType::GraphqlCursor, _) => {
            let mut path = vec!["variables".to_owned()];
            path.extend(steps(name));
            PageParam::Body(path)
        }
        (_, PaginationIn::Query) => PageParam::Query(name.to_owned()),
        (_, PaginationIn::Body) => PageParam::Body(steps(name)),
    }
}

fn pagination_kind(written: &PaginationDef, at: &str, report: &mut Report<'_>) -> Option<PaginationKind> {
    let mut need = |value: &Option<String>, member: &str| {
        if value.is_none() {
            let message = format!("this pagination needs {member}");
            report.error(format!("{at}/{member}"), "pagination_incomplete", message);
        }
        value.clone()
    };
    Some(match written.r#type {
        PaginationType::Cursor | PaginationType::GraphqlCursor => {
            let cursor_path = need(&written.cursor_path, "cursor_path");
            let name = need(&written.param, "param")?;
            PaginationKind::Cursor { cursor_path: cursor_path?, param: param(written, &name) }
        }
        PaginationType::LastId => PaginationKind::LastId {
            id_path: written.cursor_path.clone().unwrap_or_else(|| "/id".to_owned()),
            param: param(written, &need(&written.param, "param")?),
        },
        PaginationType::Page => PaginationKind::Page {
            param: param(written, &need(&written.param, "param")?),
            start: written.start.unwrap_or(1),
        },
        PaginationType::Offset => PaginationKind::Offset {
            param: param(written, &need(&written.param, "param")?),
            start: written.start.unwrap_or(0),
        },
        PaginationType::LinkHeader => PaginationKind::LinkHeader,
        PaginationType::NextUrl => {
            PaginationKind::NextUrl { cursor_path: need(&written.cursor_path, "cursor_path")? }
        }
    })
}
