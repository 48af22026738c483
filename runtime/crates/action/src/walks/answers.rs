//! Nothing unreadable is empty: an answer that is not what the action reads is a failure that says what was found, on
//! every page, whatever its label is, and its readable neighbour is all that was there.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{End, Reply, document, follow, get, label, labelled, pair};
use crate::judge::RESPONSE_UNREADABLE;
use crate::pagination::NO_ITEMS;
use crate::{ActionPlan, Method};

/// What the output is made of.
#[derive(Debug, Clone, Copy)]
enum Reads {
    List,
    Root,
    Map,
    Json,
    /// A GraphQL operation: with a rule that holds for what has no errors, HTML too.
    Graphql,
    /// A condition on a member that must be there.
    Success,
}

/// A plan that reads JSON one way or the other, with error rules or without.
fn plan(reads: Reads, post: bool, ruled: bool, missing: &str) -> ActionPlan {
    let mut plan = json!({ "method": if post { "POST" } else { "GET" } });
    match reads {
        Reads::List => {
            // Why: only reads paginate.
            plan["reads"] = json!(true);
            plan["pagination"] = json!({ "items": "/data", "missing_items": missing, "max_pages": 10, "max_items": 1000,
                "kind": { "type": "cursor", "cursor_path": "/next", "param": { "in": "query", "name": "c" } } });
        }
        Reads::Root => plan["response"] = json!({ "root": "/data" }),
        Reads::Map => plan["response"] = json!({ "map": [["data", "/data"], ["status", "status"]] }),
        Reads::Json => plan["response"] = json!({ "type": "json" }),
        Reads::Graphql => {
            plan["body"] = json!({ "type": "graphql", "query": "query { data }" });
            plan["success"] = json!({ "predicate": { "path": "/errors/0", "exists": false } });
        }
        Reads::Success => plan["success"] = json!({ "predicate": { "path": "/next", "eq": null } }),
    }
    if ruled {
        plan["errors"] = json!([
            { "status": [200, 201], "predicate": { "path": "/error/is", "eq": "there" }, "class": "rate_limit", "action": "retry" },
            { "status": [404], "class": "ignored", "action": "ignore" },
            { "header": { "path": "/x-failed", "exists": true }, "class": "permanent", "action": "fail" },
        ]);
    }
    serde_json::from_value(plan).unwrap()
}

fn reads() -> impl Strategy<Value = Reads> {
    use Reads::{Graphql, Json, List, Map, Root, Success};
    prop::sample::select(vec![List, Root, Map, Json, Graphql, Success])
}

/// A body that is JSON in no encoding.
fn unreadable() -> impl Strategy<Value = Vec<u8>> {
    let cut = (document(), any::<prop::sample::Index>()).prop_map(|(document, at)| {
        let text = json!({ "data": [document, 1], "next": null }).to_string().into_bytes();
        text[..at.index(text.len())].to_vec()
    });
    let bytes = prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
        // Why: such a byte can neither begin JSON nor a mark, in no charset that is guessed.
        bytes.insert(0, 0x80);
        bytes
    });
    let text = prop_oneof![
        "[ \t\r\n]{0,4}",
        "[ \r\n]{0,3}<(!doctype html|html|\\?xml|h1)[ -~\n]{0,60}",
        "[A-Za-z<][ -~]{0,40}".prop_filter("JSON", |text| serde_json::from_str::<Value>(text).is_err()),
        Just("{\"data\":[]}{\"data\":[]}".to_owned()),
        Just("while(1);{\"data\":[1]}".to_owned()),
        Just("{'data':[1]}".to_owned()),
        Just("callback({\"data\":[1]})".to_owned()),
    ];
    prop_oneof![3 => cut, 2 => bytes, 4 => text.prop_map(String::into_bytes)]
}

/// A document without a list at `/data`, and whether it may count as one that leaves the list out.
fn listless() -> impl Strategy<Value = (Value, bool)> {
    prop_oneof![
        (document(), "[e-h]{1,4}").prop_map(|(value, name)| (json!({ name: value }), true)),
        Just((json!({}), true)),
        document()
            .prop_filter("a list or nothing", |value| !value.is_array() && !value.is_null())
            .prop_map(|value| (json!({ "data": value }), false)),
        document().prop_filter("another object", |value| !value.is_object()).prop_map(|value| (value, true)),
        Just((json!({ "ok": false, "error": "ratelimited" }), true)),
    ]
}

/// A page and the cursor of the one after it.
fn page(rows: &[Value], next: Option<usize>) -> Vec<u8> {
    json!({ "data": rows, "next": next.map(|next| format!("c{next}")) }).to_string().into_bytes()
}

/// The pages of a list; the one at `bad` has this body.
fn listing<'l>(
    pages: &'l [Vec<Value>],
    label: &'l str,
    bad: Option<(usize, &'l [u8])>,
) -> impl Fn(&crate::RenderedRequest) -> Reply + 'l {
    move |request| {
        let asked = pair(&request.url, "c").map_or(0, |cursor| cursor[1..].parse().unwrap());
        let next = Some(asked + 1).filter(|next| *next < pages.len());
        let body = match bad {
            Some((at, body)) if at == asked => body.to_vec(),
            _ => page(&pages[asked], next),
        };
        (200, labelled(label), body)
    }
}

fn named(end: &End, code: &str) -> Result<(), TestCaseError> {
    let End::Failed { code: found, message, .. } = end else {
        return Err(TestCaseError::fail(format!("{end:?} is no failure")));
    };
    prop_assert_eq!(found.as_deref(), Some(code));
    prop_assert!(!message.is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn what_cannot_be_read_is_never_a_success(
        reads in reads(), post: bool, ruled: bool, label in label(), body in unreadable(),
        missing in prop::sample::select(vec!["error", "empty"]),
    ) {
        let plan = plan(reads, post, ruled, missing);
        let request = crate::RenderedRequest { method: if post { Method::Post } else { Method::Get }, ..get("https://h/l") };
        let status = if post { 201 } else { 200 };
        let (end, sent) = follow(&plan, request, |_| (status, labelled(label), body.clone()));
        named(&end, RESPONSE_UNREADABLE)?;
        let End::Failed { message, again, .. } = &end else { unreachable!() };
        // It names what was found: the media type, and how a text begins.
        let essence = label.split([';', ',']).next().unwrap().trim().to_ascii_lowercase();
        let shown = if body.is_empty() { "empty" } else if essence.is_empty() { "without a media type" } else { &essence };
        prop_assert!(message.starts_with(&format!("the answer should be JSON and is {shown}")), "{}", message);
        prop_assert_eq!(*again, plan.only_reads());
        prop_assert_eq!(message.contains("must not be repeated"), !plan.only_reads());
        prop_assert_eq!(sent.len(), 1);
    }

    #[test]
    fn a_page_that_cannot_be_read_fails_the_list_wherever_it_is(
        pages in prop::collection::vec(prop::collection::vec(document(), 0..3), 1..5),
        at in any::<prop::sample::Index>(), label in label(), body in unreadable(), ruled: bool,
        missing in prop::sample::select(vec!["error", "empty"]),
    ) {
        let plan = plan(Reads::List, false, ruled, missing);
        let whole = pages.concat();
        let (end, sent) = follow(&plan, get("https://h/l"), listing(&pages, label, None));
        prop_assert_eq!(&end, &End::Rows { rows: whole, truncated: false });
        prop_assert_eq!(sent.len(), pages.len());
        let at = at.index(pages.len());
        let (end, sent) = follow(&plan, get("https://h/l"), listing(&pages, label, Some((at, &body))));
        named(&end, RESPONSE_UNREADABLE)?;
        prop_assert_eq!(sent.len(), at + 1);
    }

    #[test]
    fn a_page_without_its_list_fails_and_names_the_place(
        pages in prop::collection::vec(prop::collection::vec(document(), 0..3), 1..5),
        at in any::<prop::sample::Index>(), label in label(), (strange, left_out) in listless(), ruled: bool,
        lenient: bool,
    ) {
        let plan = plan(Reads::List, false, ruled, if lenient { "empty" } else { "error" });
        let at = at.index(pages.len());
        let body = strange.to_string().into_bytes();
        let (end, _) = follow(&plan, get("https://h/l"), listing(&pages, label, Some((at, &body))));
        if lenient && left_out {
            // A vendor that leaves the list out of its last page: all that came before is there.
            prop_assert_eq!(end, End::Rows { rows: pages[..at].concat(), truncated: false });
            return Ok(());
        }
        named(&end, NO_ITEMS)?;
        let End::Failed { message, .. } = end else { unreachable!() };
        prop_assert!(message.starts_with("no items at /data; "), "{}", message);
    }

    #[test]
    fn the_readable_neighbour_is_all_that_was_there(
        reads in reads(), post: bool, ruled: bool, label in label(), data in document(), mark: bool, wide: Option<bool>,
    ) {
        let plan = plan(reads, post, ruled, "error");
        let data = if matches!(reads, Reads::List) { json!([data, 1]) } else { data };
        let whole = json!({ "data": data, "next": null });
        let text = whole.to_string();
        let body = match wide {
            Some(big) => utf16(&text, big),
            None if mark => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            None => text.into_bytes(),
        };
        let request = crate::RenderedRequest { method: plan.method, ..get("https://h/l") };
        let (end, _) = follow(&plan, request, |_| (200, labelled(label), body.clone()));
        let essence = label.split(';').next().unwrap().to_ascii_lowercase();
        let is_json = essence.is_empty() || essence.ends_with("json") && essence != "application/x-ndjson";
        let expected = match reads {
            Reads::List => End::Rows { rows: data.as_array().unwrap().clone(), truncated: false },
            Reads::Root => End::Output(data),
            Reads::Map => End::Output(json!({ "data": data, "status": 200 })),
            Reads::Json | Reads::Graphql => End::Output(whole),
            // By its label only: nothing is made of its members.
            Reads::Success if !is_json => return Ok(()),
            Reads::Success => End::Output(whole),
        };
        prop_assert_eq!(end, expected);
    }

    /// A rule decides before the code of an answer without a list does, and names its own.
    #[test]
    fn a_rule_is_tried_on_every_page(
        pages in prop::collection::vec(prop::collection::vec(document(), 0..3), 1..5),
        at in any::<prop::sample::Index>(), label in label(),
    ) {
        let plan = plan(Reads::List, false, true, "error");
        let at = at.index(pages.len());
        let body = json!({ "error": { "is": "there" } }).to_string().into_bytes();
        let (end, sent) = follow(&plan, get("https://h/l"), listing(&pages, label, Some((at, &body))));
        prop_assert_eq!(end, End::Failed { code: None, message: String::new(), again: true });
        prop_assert_eq!(sent.len(), at + 1);
    }

    /// A line that is no JSON fails all of them; the others are rows, one for each.
    #[test]
    fn lines_are_all_rows_or_none(
        rows in prop::collection::vec(document(), 0..6), label in label(), at in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(), blank: bool, ends in prop::sample::select(vec!["\n", "\r\n"]),
    ) {
        let plan: ActionPlan = serde_json::from_value(json!({ "response": { "type": "ndjson" } })).unwrap();
        let mut lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        let gap = if blank { ends } else { "" };
        let said = |lines: &[String]| {
            let text = format!("{gap}{}{gap}", lines.join(&format!("{ends}{gap}")));
            follow(&plan, get("https://h/l"), |_| (200, labelled(label), text.clone().into_bytes())).0
        };
        prop_assert_eq!(said(&lines), End::Output(json!(rows)));
        lines.insert(at.index(lines.len() + 1), json!({ "id": rows }).to_string());
        let line = &mut lines[at.index(rows.len() + 1)];
        let mut to = 1 + cut.index(line.len() - 1);
        while !line.is_char_boundary(to) {
            to -= 1;
        }
        line.truncate(to);
        named(&said(&lines), RESPONSE_UNREADABLE)?;
    }
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(|unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}
