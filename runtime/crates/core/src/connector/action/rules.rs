//! Rules between the parts of one action: nothing is sent twice, and the body or the answer has what other
//! members refer to.

use std::collections::HashSet;

use portcullis_action::plan::{
    ActionPlan, KeyPlace, PageParam, PaginationKind, PaginationPlan, ResponseType,
};
use portcullis_action::template::{Scope, Template};
use portcullis_action::{BodyPlan, InputPlace, Method, UrlTemplate};

use super::{Context, Report, decoded};
use crate::definition::{ActionDef, Effect};

/// Checks an action whose parts are checked already.
pub(super) fn check(
    context: &Context<'_>,
    wire: &ActionDef,
    pairs: &HashSet<String>,
    plan: &ActionPlan,
    pointer: &str,
    report: &mut Report<'_>,
) {
    check_effect(wire, plan.method, pointer, report);
    check_query_names(pairs, plan, pointer, report);
    check_key(context, plan, pointer, report);
    if let Some(pagination) = &plan.pagination {
        if !plan.only_reads() {
            let message = format!(
                "only reads go on page by page: every page of a {} would change something again; effect: \"read\" is \
                 for a POST that reads",
                plan.method
            );
            report.error(format!("{pointer}/pagination"), "pagination_of_a_write", message);
        }
        check_pages(context, plan, pagination, pointer, report);
    }
}

/// The decoded names of a URL's fixed query pairs.
pub(super) fn pair_names(url: &UrlTemplate) -> HashSet<String> {
    url.query.iter().filter_map(|(pair, _)| pair.as_literal()).map(decoded).collect()
}

/// An org's rules and approvals depend on the effect, so a method that changes something is not a read.
fn check_effect(wire: &ActionDef, method: Method, pointer: &str, report: &mut Report<'_>) {
    let changes = matches!(method, Method::Put | Method::Patch | Method::Delete);
    if wire.effect == Some(Effect::Read) && changes {
        let message = format!("{method} is no read; POST may be one");
        report.error(format!("{pointer}/effect"), "effect_contradicts_method", message);
    }
}

/// An input with the name of a fixed query pair would be sent as a second pair.
fn check_query_names(pairs: &HashSet<String>, plan: &ActionPlan, pointer: &str, report: &mut Report<'_>) {
    let fixed: HashSet<&str> = plan.query.iter().map(|(name, _)| name.as_str()).collect();
    for (index, input) in plan.inputs.iter().enumerate().filter(|(_, i)| i.place == InputPlace::Query) {
        let name = input.wire_name();
        if fixed.contains(name) || pairs.contains(name) {
            let message =
                format!("the query has a fixed pair {name:?}; name the input in it, or leave the pair out");
            report.error(format!("{pointer}/body_schema/{index}/name"), "duplicate_query", message);
        }
    }
}

/// The idempotency key must arrive: otherwise the vendor carries a repeat out a second time.
fn check_key(context: &Context<'_>, plan: &ActionPlan, pointer: &str, report: &mut Report<'_>) {
    let at = format!("{pointer}/idempotency");
    match &plan.idempotency {
        None => {}
        Some(KeyPlace::Header(name)) => {
            super::check_header(name, &format!("{at}/name"), &context.injected, report);
            let own = plan.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            if own.is_some_and(|(_, text)| !names_input(text)) {
                let message = format!("header {name:?} is fixed by headers, so the key would not be sent");
                report.error(format!("{at}/name"), "duplicate_header", message);
            }
        }
        Some(KeyPlace::Query(name)) => {
            if context.takes_query(name) {
                let message = format!("query pair {name:?} is where the credential goes");
                report.error(format!("{at}/name"), "query_forbidden", message);
            }
            let own = plan.query.iter().find(|(other, _)| other == name);
            if own.is_some_and(|(_, text)| !names_input(text)) {
                let message = format!("query pair {name:?} is fixed by query, so the key would not be sent");
                report.error(format!("{at}/name"), "duplicate_query", message);
            }
        }
        Some(KeyPlace::Body(_)) => {
            let takes = matches!(
                plan.body,
                BodyPlan::Json { .. }
                    | BodyPlan::Form { .. }
                    | BodyPlan::Multipart
                    | BodyPlan::Graphql { .. }
            );
            if !takes {
                let message =
                    "the body has no members; a key goes to a json, form, multipart or graphql body";
                report.error(format!("{at}/in"), "idempotency_no_place", message);
            }
        }
    }
}

/// Whether the caller decides what is sent there.
fn names_input(text: &str) -> bool {
    Template::parse_text(text).is_ok_and(|t| t.variables().any(|v| v.scope == Scope::Input))
}

/// The parameters of a page, and where each goes.
pub(super) fn page_params(plan: &PaginationPlan) -> impl Iterator<Item = (&'static str, &PageParam)> {
    let param = match &plan.kind {
        PaginationKind::Cursor { param, .. }
        | PaginationKind::LastId { param, .. }
        | PaginationKind::Page { param, .. }
        | PaginationKind::Offset { param, .. } => Some(("param", param)),
        PaginationKind::LinkHeader | PaginationKind::NextUrl { .. } => None,
    };
    param.into_iter().chain(plan.limit.iter().map(|(param, _)| ("limit_param", param)))
}

fn check_pages(
    context: &Context<'_>,
    plan: &ActionPlan,
    pages: &PaginationPlan,
    pointer: &str,
    report: &mut Report<'_>,
) {
    let at = format!("{pointer}/pagination");
    for (member, param) in page_params(pages) {
        match param {
            PageParam::Query(name) if context.takes_query(name) => {
                let message = format!("query pair {name:?} is where the credential goes");
                report.error(format!("{at}/{member}"), "query_forbidden", message);
            }
            PageParam::Query(_) => {}
            PageParam::Body(steps) => {
                let graphql = steps.first().is_some_and(|first| first == "variables");
                let takes = match &plan.body {
                    BodyPlan::Json { .. } => true,
                    BodyPlan::Graphql { .. } => graphql,
                    BodyPlan::Form { .. } => steps.len() == 1,
                    _ => false,
                };
                if !takes {
                    let message = "the action's body cannot take it: a json body, one name of a form, or \
                                   graphql_cursor and a variable of graphql";
                    report.error(format!("{at}/{member}"), "pagination_no_place", message);
                }
            }
        }
    }
    let response = &plan.response;
    if !matches!(response.r#type, ResponseType::Auto | ResponseType::Json | ResponseType::Ndjson) {
        let message = "a list goes on in JSON answers only";
        report.error(format!("{pointer}/response/type"), "response_unused", message);
    }
    for (member, written) in [("root", response.root.is_some()), ("map", !response.map.is_empty())] {
        if written {
            let message = "the output of a list is its items; pagination.items says where they are";
            report.error(format!("{pointer}/response/{member}"), "response_unused", message);
        }
    }
}
