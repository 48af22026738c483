//! Each pagination type over three pages, where a list ends, and what is refused.

use super::*;
use crate::plan::{Method, PageParam};
use serde_json::{Map, json};

fn request(url: &str, body: Option<Value>) -> RenderedRequest {
    RenderedRequest {
        method: if body.is_some() { Method::Post } else { Method::Get },
        url: url.to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.map(|body| body.to_string().into_bytes()),
    }
}

fn query(name: &str) -> PageParam {
    PageParam::Query(name.to_owned())
}

fn body(steps: &str) -> PageParam {
    PageParam::Body(steps.split('/').map(str::to_owned).collect())
}

fn plan(kind: PaginationKind, items: &str) -> PaginationPlan {
    PaginationPlan {
        kind,
        items: items.to_owned(),
        missing_items: MissingItems::Error,
        end_status: vec![],
        end_when: None,
        link_results: None,
        has_more_path: None,
        limit: None,
        page_size: None,
        max_pages: 10,
        max_items: 100,
    }
}

/// The result of following a list.
#[derive(Debug, PartialEq)]
struct Walk {
    /// URL of each request, with its body if it has one.
    requests: Vec<String>,
    items: Value,
    truncated: bool,
}

/// Follows a list over answers: body and `Link` header. Fewer requests than answers fail the test.
fn walk(plan: &PaginationPlan, first: RenderedRequest, answers: &[(Value, &str)]) -> Result<Walk, PageError> {
    let mut pages = Pages::new(plan, &first);
    let mut request = pages.first(first)?;
    let mut requests = Vec::new();
    for (number, (body, link)) in answers.iter().enumerate() {
        let sent = request.body.as_ref().map(|b| format!(" {}", String::from_utf8_lossy(b)));
        requests.push(format!("{}{}", request.url, sent.unwrap_or_default()));
        let mut headers = Map::new();
        headers.insert("link".to_owned(), json!(link));
        let mapped = MappedResponse { status: 200, headers, body: body.clone() };
        let outcome = crate::judge::Outcome::Success { output: Value::Null };
        match pages.next(&request, &Answer { mapped, outcome, ends: false })? {
            Some(next) => request = next,
            None => {
                assert_eq!(number + 1, answers.len(), "the list ended early");
                assert_eq!(pages.count() as usize, answers.len());
                let truncated = pages.truncated();
                return Ok(Walk { requests, items: pages.finish(), truncated });
            }
        }
    }
    panic!("the list goes on after {requests:?} to {}", request.url)
}

fn bodies(bodies: &[Value]) -> Vec<(Value, &'static str)> {
    bodies.iter().map(|body| (body.clone(), "")).collect()
}

#[track_caller]
fn check(walk: Result<Walk, PageError>, requests: &[&str], items: Value) {
    let walk = walk.unwrap();
    assert_eq!(walk.requests, requests);
    assert_eq!(walk.items, items);
    assert!(!walk.truncated);
}

#[test]
fn a_cursor_goes_into_the_query_until_it_is_empty() {
    let kind = PaginationKind::Cursor {
        cursor_path: "/response_metadata/next_cursor".to_owned(),
        param: query("cursor"),
    };
    let slack = PaginationPlan { limit: Some((query("limit"), 2)), ..plan(kind, "/channels") };
    let answer = |items: Value, cursor: Value| json!({ "ok": true, "channels": items, "response_metadata": { "next_cursor": cursor } });
    let first = || request("https://slack.com/api/conversations.list?types=a&limit=9", None);
    for end in [json!(""), json!(null)] {
        check(
            walk(
                &slack,
                first(),
                &bodies(&[
                    answer(json!([1, 2]), json!("dGVhb=")),
                    answer(json!([]), json!(7)),
                    answer(json!([3]), end),
                ]),
            ),
            &[
                "https://slack.com/api/conversations.list?types=a&limit=2",
                "https://slack.com/api/conversations.list?types=a&limit=2&cursor=dGVhb%3D",
                "https://slack.com/api/conversations.list?types=a&limit=2&cursor=7",
            ],
            json!([1, 2, 3]),
        );
    }
}

#[test]
fn a_cursor_goes_into_the_body_and_has_more_ends_it() {
    let kind = PaginationKind::Cursor { cursor_path: "/next_cursor".to_owned(), param: body("start_cursor") };
    let notion = PaginationPlan {
        has_more_path: Some("/has_more".to_owned()),
        limit: Some((body("page_size"), 1)),
        ..plan(kind, "/results")
    };
    let answer = |item: u8, more: bool, cursor: Value| json!({ "results": [item], "has_more": more, "next_cursor": cursor });
    check(
        walk(
            &notion,
            request("https://api.notion.com/v1/search", Some(json!({ "query": "x" }))),
            &bodies(&[
                answer(1, true, json!("a")),
                answer(2, true, json!("b")),
                answer(3, false, json!("c")),
            ]),
        ),
        &[
            r#"https://api.notion.com/v1/search {"query":"x","page_size":1}"#,
            r#"https://api.notion.com/v1/search {"query":"x","page_size":1,"start_cursor":"a"}"#,
            r#"https://api.notion.com/v1/search {"query":"x","page_size":1,"start_cursor":"b"}"#,
        ],
        json!([1, 2, 3]),
    );
}

#[test]
fn a_graphql_cursor_goes_into_the_variables() {
    let kind = PaginationKind::Cursor {
        cursor_path: "/data/products/pageInfo/endCursor".to_owned(),
        param: body("variables/cursor"),
    };
    let shopify = PaginationPlan {
        has_more_path: Some("/data/products/pageInfo/hasNextPage".to_owned()),
        ..plan(kind, "/data/products/nodes")
    };
    let answer = |id: u8, more: bool, cursor: &str| {
        json!({ "data": { "products": { "nodes": [{ "id": id }],
                "pageInfo": { "hasNextPage": more, "endCursor": cursor } } } })
    };
    check(
        walk(
            &shopify,
            request("https://a.myshopify.com/graphql.json", Some(json!({ "query": "q" }))),
            &bodies(&[answer(1, true, "c1"), answer(2, true, "c2"), answer(3, false, "c3")]),
        ),
        &[
            r#"https://a.myshopify.com/graphql.json {"query":"q"}"#,
            r#"https://a.myshopify.com/graphql.json {"query":"q","variables":{"cursor":"c1"}}"#,
            r#"https://a.myshopify.com/graphql.json {"query":"q","variables":{"cursor":"c2"}}"#,
        ],
        json!([{ "id": 1 }, { "id": 2 }, { "id": 3 }]),
    );
}

#[test]
fn the_last_items_id_is_the_cursor() {
    let kind = PaginationKind::LastId { id_path: "/id".to_owned(), param: query("starting_after") };
    let stripe = PaginationPlan { has_more_path: Some("/has_more".to_owned()), ..plan(kind, "/data") };
    let answer = |ids: &[&str], more: Value| {
        let items: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        json!({ "data": items, "has_more": more })
    };
    let first = || request("https://api.stripe.com/v1/customers", None);
    let url = |id: &str| format!("https://api.stripe.com/v1/customers?starting_after={id}");
    check(
        walk(
            &stripe,
            first(),
            &bodies(&[
                answer(&["c1", "c2"], json!(true)),
                answer(&["c3"], json!(true)),
                answer(&["c4"], json!(false)),
            ]),
        ),
        &["https://api.stripe.com/v1/customers", &url("c2"), &url("c3")],
        json!([{ "id": "c1" }, { "id": "c2" }, { "id": "c3" }, { "id": "c4" }]),
    );
    check(
        walk(&stripe, first(), &bodies(&[answer(&["c1"], json!(null)), answer(&[], json!(null))])),
        &["https://api.stripe.com/v1/customers", &url("c1")],
        json!([{ "id": "c1" }]),
    );
    let nameless = json!({ "data": [{ "name": "x" }], "has_more": true });
    assert_eq!(walk(&stripe, first(), &bodies(&[nameless])), Err(PageError::Cursor("/id".to_owned())));
}

#[test]
fn pages_are_numbered_until_one_is_short_or_empty() {
    let kind = || PaginationKind::Page { param: query("page"), start: 1 };
    let first = || request("https://h/list?page=7&q=x", None);
    let urls = ["https://h/list?page=1&q=x", "https://h/list?page=2&q=x", "https://h/list?page=3&q=x"];
    check(
        walk(&plan(kind(), ""), first(), &bodies(&[json!([1, 2]), json!([3]), json!([])])),
        &urls,
        json!([1, 2, 3]),
    );
    let sized = PaginationPlan { page_size: Some(2), ..plan(kind(), "/items") };
    let full = |a: u8, b: u8| json!({ "items": [a, b] });
    check(
        walk(&sized, first(), &bodies(&[full(1, 2), full(3, 4), json!({ "items": [5] })])),
        &urls,
        json!([1, 2, 3, 4, 5]),
    );
    let flagged = PaginationPlan { has_more_path: Some("/more".to_owned()), ..sized };
    check(
        walk(
            &flagged,
            first(),
            &bodies(&[
                json!({ "items": [1], "more": true }),
                json!({ "items": [2, 3], "more": true }),
                json!({ "items": [4, 5], "more": false }),
            ]),
        ),
        &urls,
        json!([1, 2, 3, 4, 5]),
    );
}

#[test]
fn offsets_count_the_items_that_came() {
    let kind = PaginationKind::Offset { param: query("offset"), start: 0 };
    let mailchimp = PaginationPlan {
        limit: Some((query("count"), 3)),
        missing_items: MissingItems::Empty,
        ..plan(kind, "/members")
    };
    check(
        walk(
            &mailchimp,
            request("https://us6.api.mailchimp.com/3.0/lists/a/members", None),
            &bodies(&[json!({ "members": [1, 2, 3] }), json!({ "members": [4, 5] }), json!({ "total": 5 })]),
        ),
        &[
            "https://us6.api.mailchimp.com/3.0/lists/a/members?count=3&offset=0",
            "https://us6.api.mailchimp.com/3.0/lists/a/members?count=3&offset=3",
            "https://us6.api.mailchimp.com/3.0/lists/a/members?count=3&offset=5",
        ],
        json!([1, 2, 3, 4, 5]),
    );
}

#[test]
fn the_link_header_leads_on() {
    let github =
        PaginationPlan { limit: Some((query("per_page"), 1)), ..plan(PaginationKind::LinkHeader, "") };
    let url = |page: u8| format!("https://api.github.com/user/repos?per_page=1&page={page}");
    let first = || request("https://api.github.com/user/repos", None);
    let one = format!(r#"<{}>; rel="next", <{}>; rel="last""#, url(2), url(3));
    let two = format!(r#"<{}>; rel="prev", <{}>; rel="next""#, url(1), url(3));
    let three = format!(r#"<{}>; rel="prev", <{}>; rel="first""#, url(2), url(1));
    let answers = [(json!([1]), one.as_str()), (json!([2]), two.as_str()), (json!([3]), three.as_str())];
    check(
        walk(&github, first(), &answers),
        &["https://api.github.com/user/repos?per_page=1", &url(2), &url(3)],
        json!([1, 2, 3]),
    );
    let broken = [(json!([1]), "<https://api.github.com/user/repos; rel=next")];
    assert_eq!(walk(&github, first(), &broken), Err(PageError::LinkHeader));
}

#[test]
fn the_next_url_may_be_relative_or_absolute_on_the_same_host() {
    let salesforce = plan(PaginationKind::NextUrl { cursor_path: "/nextRecordsUrl".to_owned() }, "/records");
    let answer = |item: u8, next: Value| json!({ "records": [item], "nextRecordsUrl": next });
    let first = || request("https://na1.my.salesforce.com/services/data/v60.0/query?q=x", None);
    let base = "https://na1.my.salesforce.com/services/data/v60.0/query";
    check(
        walk(
            &salesforce,
            first(),
            &bodies(&[
                answer(1, json!("/services/data/v60.0/query/01g-2")),
                answer(2, json!("https://na1.my.salesforce.com/services/data/v60.0/query/01g-3")),
                json!({ "records": [3], "done": true }),
            ]),
        ),
        &[&format!("{base}?q=x"), &format!("{base}/01g-2"), &format!("{base}/01g-3")],
        json!([1, 2, 3]),
    );
    for (next, error) in [
        (json!("https://na2.my.salesforce.com/services/data/v60.0/query/01g-2"), PageError::Foreign),
        (json!("//evil.com/query/01g-2"), PageError::Foreign),
        (json!(2), PageError::NotText("/nextRecordsUrl".to_owned())),
        (json!({ "url": 1 }), PageError::Cursor("/nextRecordsUrl".to_owned())),
    ] {
        assert_eq!(walk(&salesforce, first(), &bodies(&[answer(1, next)])), Err(error));
    }
}

#[test]
fn a_list_that_goes_round_is_an_error() {
    let kind = || PaginationKind::Cursor { cursor_path: "/next".to_owned(), param: query("c") };
    let answer = |cursor: &str| json!({ "items": [1], "next": cursor });
    let first = || request("https://h/list", None);
    for cursors in [["a", "a", ""], ["a", "b", "a"]] {
        let answers: Vec<Value> = cursors.into_iter().map(answer).collect();
        assert_eq!(walk(&plan(kind(), "/items"), first(), &bodies(&answers)), Err(PageError::Loop("cursor")));
    }
    let next = plan(PaginationKind::NextUrl { cursor_path: "/next".to_owned() }, "/items");
    for urls in [["/list", ""], ["/list?b", "?b"]] {
        let answers: Vec<Value> = urls.into_iter().map(answer).collect();
        assert_eq!(walk(&next, first(), &bodies(&answers)), Err(PageError::Loop("next URL")));
    }
    let ids = plan(PaginationKind::LastId { id_path: "".to_owned(), param: query("after") }, "/items");
    let answers = bodies(&[answer(""), answer("")]);
    let error = walk(&ids, first(), &answers).unwrap_err();
    assert_eq!(error, PageError::Loop("last id"));
    assert_eq!(error.code(), "pagination_loop");
    assert!(error.to_string().contains("same last id twice"), "{error}");
}

#[test]
fn a_limit_ends_the_list_and_says_so_only_when_there_was_more() {
    let kind = || PaginationKind::Cursor { cursor_path: "/next".to_owned(), param: query("c") };
    let answer = |cursor: &str| json!({ "items": [1, 2], "next": cursor });
    let first = || request("https://h/list", None);
    for (max_pages, max_items, cursors, items, truncated) in [
        (2, 100, &["a", "b"][..], 4, true),
        (2, 100, &["a", ""][..], 4, false),
        (1, 100, &["a"][..], 2, true),
        (10, 3, &["a", "b"][..], 3, true),
        (10, 3, &["a", ""][..], 3, true),
        (10, 4, &["a", "b"][..], 4, true),
        (10, 4, &["a", ""][..], 4, false),
        (10, 1, &["a"][..], 1, true),
        (10, 1, &[""][..], 1, true),
    ] {
        let plan = PaginationPlan { max_pages, max_items, ..plan(kind(), "/items") };
        let answers: Vec<Value> = cursors.iter().map(|c| answer(c)).collect();
        let walk = walk(&plan, first(), &bodies(&answers)).unwrap();
        let found = (walk.items.as_array().map(Vec::len), walk.truncated);
        assert_eq!(found, (Some(items), truncated), "{max_pages} {max_items} {cursors:?}");
    }
}

#[test]
fn what_is_no_list_or_no_place_is_an_error() {
    let kind = || PaginationKind::Cursor { cursor_path: "/next".to_owned(), param: body("v/c") };
    let first = |v: Value| request("https://h/list", Some(json!({ "v": v })));
    let object = bodies(&[json!({ "items": { "a": 1 } })]);
    assert_eq!(
        walk(&plan(kind(), "/items"), first(json!({})), &object),
        Err(PageError::NoItems { pointer: "/items".to_owned(), found: "there is an object".to_owned() })
    );
    let next = bodies(&[json!({ "items": [], "next": "x" })]);
    assert_eq!(
        walk(&plan(kind(), "/items"), first(json!(1)), &next),
        Err(PageError::NoPlace("v/c".to_owned()))
    );
}

#[test]
fn d1_a_counted_list_whose_upstream_ignores_the_count_ends_with_an_error() {
    let page = || PaginationKind::Page { param: query("page"), start: 1 };
    let offset = || PaginationKind::Offset { param: query("offset"), start: 0 };
    let first = || request("https://h/list", None);
    let answer =
        |ids: &[u8]| json!({ "items": ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>() });
    for kind in [page(), offset()] {
        let error =
            walk(&plan(kind, "/items"), first(), &bodies(&[answer(&[1, 2]), answer(&[1, 2])])).unwrap_err();
        assert_eq!((error.code(), &error), ("pagination_loop", &PageError::Repeats(2)));
        assert!(error.to_string().starts_with("the page repeats"), "{error}");
    }
    // Rows that come again in another order, or one page later, are the vendor's.
    let answers = bodies(&[answer(&[1, 2]), answer(&[2, 1]), answer(&[1, 2]), answer(&[])]);
    assert_eq!(walk(&plan(page(), "/items"), first(), &answers).unwrap().items.as_array().unwrap().len(), 6);
}

#[test]
fn d2_every_way_to_say_that_there_are_more_is_read_or_refused() {
    let cursor = PaginationKind::Cursor { cursor_path: "/next".to_owned(), param: query("c") };
    let list = PaginationPlan { has_more_path: Some("/more".to_owned()), ..plan(cursor, "/items") };
    let answer = |more: &Value| json!({ "items": [1], "more": more, "next": "a" });
    let first = || request("https://h/list", None);
    for end in [
        json!(false),
        json!("false"),
        json!("FALSE"),
        json!(0),
        json!("0"),
        json!("N"),
        json!("no"),
        json!(-1),
    ] {
        check(walk(&list, first(), &bodies(&[answer(&end)])), &["https://h/list"], json!([1]));
    }
    for more in [json!(true), json!("True"), json!(1), json!("y"), json!(12), json!(null)] {
        let last = json!({ "items": [2], "more": false });
        let walk = walk(&list, first(), &bodies(&[answer(&more), last]));
        check(walk, &["https://h/list", "https://h/list?c=a"], json!([1, 2]));
    }
    for (strange, shown) in [
        (json!("maybe"), "\"maybe\""),
        (json!(""), "\"\""),
        (json!([]), "an array"),
        (json!({}), "an object"),
    ] {
        let error = walk(&list, first(), &bodies(&[answer(&strange)])).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{shown} at \"/more\" does not say whether there are more pages")
        );
    }
    let stuck = json!({ "items": [1], "more": true, "next": null });
    assert_eq!(walk(&list, first(), &bodies(&[stuck])), Err(PageError::Cursor("/next".to_owned())));
}

#[test]
fn d3_a_next_link_without_results_ends_the_list() {
    let sentry = plan(PaginationKind::LinkHeader, "");
    let link = |results: &str, name: &str| {
        format!(r#"<https://h/list?cursor=0:100:0>; rel="next"; {name}="{results}""#)
    };
    let first = || request("https://h/list", None);
    let (more, end) = (link("true", "results"), link("false", "results"));
    check(
        walk(&sentry, first(), &[(json!([1]), more.as_str()), (json!([2]), end.as_str())]),
        &["https://h/list", "https://h/list?cursor=0:100:0"],
        json!([1, 2]),
    );
    let named = PaginationPlan { link_results: Some("has-rows".to_owned()), ..sentry };
    let end = link("0", "has-rows");
    check(walk(&named, first(), &[(json!([1]), end.as_str())]), &["https://h/list"], json!([1]));
}

#[test]
fn a6_a_page_without_a_list_names_what_is_there() {
    let cursor = || PaginationKind::Cursor { cursor_path: "/next".to_owned(), param: query("c") };
    let first = || request("https://h/list", None);
    let found = |pointer: &str, body: Value| {
        walk(&plan(cursor(), pointer), first(), &bodies(&[body]))
            .map(|walk| walk.items)
            .map_err(|e| e.to_string())
    };
    assert_eq!(
        found("/dta", json!({ "data": [1], "next": null })),
        Err("no items at /dta; the answer has data, next".to_owned())
    );
    assert_eq!(found("/data", json!("<html>")), Err("no items at /data; the answer is text".to_owned()));
    assert_eq!(found("/data", json!({})), Err("no items at /data; the answer has no members".to_owned()));
    assert_eq!(found("/data", json!({ "data": 5 })), Err("no items at /data; there is a number".to_owned()));
    assert_eq!(found("", json!(null)), Err("no items at the top of the answer; there is null".to_owned()));
    assert_eq!(found("/data", json!({ "data": null })), Ok(json!([])), "it says itself that there are none");
    assert_eq!(found("/data", json!({ "data": [] })), Ok(json!([])));
    let lenient = PaginationPlan { missing_items: MissingItems::Empty, ..plan(cursor(), "/data") };
    check(walk(&lenient, first(), &bodies(&[json!({ "ok": true })])), &["https://h/list"], json!([]));
    let object = walk(&lenient, first(), &bodies(&[json!({ "data": {} })]));
    assert!(object.is_err(), "only what is left out is empty");
}

#[test]
fn a_list_that_says_that_there_are_more_does_not_end_there() {
    let first = || request("https://h/list", None);
    let page = |items: &[u8], more: bool| json!({ "items": items, "more": more });
    let says = |kind| PaginationPlan { has_more_path: Some("/more".to_owned()), ..plan(kind, "/items") };
    let counted = says(PaginationKind::Page { param: query("page"), start: 1 });
    let urls = ["https://h/list?page=1", "https://h/list?page=2", "https://h/list?page=3"];
    let answers = bodies(&[page(&[], true), page(&[], true), page(&[1], false)]);
    check(walk(&counted, first(), &answers), &urls, json!([1]));
    let offset = says(PaginationKind::Offset { param: query("offset"), start: 0 });
    for plan in [offset, says(PaginationKind::LinkHeader)] {
        let error = walk(&plan, first(), &bodies(&[page(&[], true)])).unwrap_err();
        assert!(matches!(error, PageError::Nowhere(_)) && error.code() == "pagination_invalid", "{error}");
    }
}
