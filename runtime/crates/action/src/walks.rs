//! Properties that walk a kind of trouble and not a case of it: answers that cannot be read, texts in every encoding,
//! numbers and absent values, lists. Here is what they share: a model of a third party, and the loop of a guest.

use proptest::prelude::*;
use serde_json::Value;

use crate::render::RenderedRequest;
use crate::{ActionPlan, Judge, Method, Outcome, Pages};

mod answers;
mod lists;
mod texts;
mod values;

/// One answer of the model: status, headers, body.
type Reply = (u16, Vec<(String, Vec<u8>)>, Vec<u8>);

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
enum End {
    /// The rows of all pages.
    Rows { rows: Vec<Value>, truncated: bool },
    /// Any other success.
    Output(Value),
    /// A failure: its code, its message, whether it may be asked again.
    Failed { code: Option<String>, message: String, again: bool },
}

impl End {
    /// Its rows; `None` if it failed.
    fn rows(&self) -> Option<&[Value]> {
        match self {
            Self::Rows { rows, .. } => Some(rows),
            _ => None,
        }
    }
}

/// Follows a plan as the handler does. Returns the end and the requests that were sent.
fn follow(
    plan: &ActionPlan,
    first: RenderedRequest,
    mut vendor: impl FnMut(&RenderedRequest) -> Reply,
) -> (End, Vec<RenderedRequest>) {
    let judge = Judge::new(plan).unwrap();
    let mut sent = Vec::new();
    let mut ask = |request: &RenderedRequest| {
        sent.push(request.clone());
        let (status, headers, body) = vendor(request);
        judge.answer(status, &headers, &body)
    };
    let failed = |error: crate::UpstreamError| End::Failed {
        code: error.code,
        message: error.message.unwrap_or_default(),
        again: error.action == crate::plan::ErrorAction::Retry,
    };
    let Some(list) = &plan.pagination else {
        let end = match ask(&first).outcome {
            Outcome::Success { output } => End::Output(output),
            Outcome::Error(error) => failed(error),
        };
        return (end, sent);
    };
    let of_page = |error: crate::PageError| End::Failed {
        code: Some(error.code().to_owned()),
        message: error.to_string(),
        again: false,
    };
    let mut pages = Pages::new(list, &first);
    let mut request = match pages.first(first) {
        Ok(request) => request,
        Err(error) => return (of_page(error), sent),
    };
    let end = loop {
        let answer = ask(&request);
        if !pages.end_at(answer.mapped.status) {
            if let Outcome::Error(error) = answer.outcome {
                break failed(error);
            }
            match pages.next(&request, &answer) {
                Ok(Some(next)) => {
                    request = next;
                    continue;
                }
                Ok(None) => {}
                Err(error) => break of_page(error),
            }
        }
        let truncated = pages.truncated();
        let Value::Array(rows) = pages.finish() else { panic!("a list is an array") };
        break End::Rows { rows, truncated };
    };
    (end, sent)
}

fn get(url: &str) -> RenderedRequest {
    RenderedRequest { method: Method::Get, url: url.to_owned(), headers: vec![], body: None }
}

/// The value of a query pair as a server reads it.
fn pair(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let of = |pair: &&str| pair.split_once('=').is_some_and(|(own, _)| percent_decoded(own) == name);
    query.split('&').find(of).and_then(|pair| pair.split_once('=')).map(|(_, value)| percent_decoded(value))
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let hex = std::str::from_utf8(&after[..2]).unwrap();
                out.push(u8::from_str_radix(hex, 16).unwrap());
                rest = &after[2..];
            }
            b'+' => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    String::from_utf8(out).unwrap()
}

/// A number as JSON writes it, with more digits than any machine number has. An exponent is written as the parser
/// writes it again: a small letter and a sign, the digits as they were.
fn number_text() -> impl Strategy<Value = String> {
    let written = prop_oneof![
        "-?(0|[1-9][0-9]{0,40})",
        "-?(0|[1-9][0-9]{0,20})\\.[0-9]{1,30}",
        "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,8})?[eE][+-]?[0-9]{1,3}",
        Just("-0".to_owned()),
        Just("36893488147419103232".to_owned()),
        Just("9007199254740993".to_owned()),
        Just("1.10".to_owned()),
        Just("1E400".to_owned()),
    ];
    written.prop_map(|text| match text.split_once(['e', 'E']) {
        Some((digits, power)) if power.starts_with(['+', '-']) => format!("{digits}e{power}"),
        Some((digits, power)) => format!("{digits}e+{power}"),
        None => text,
    })
}

/// Any JSON document.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number_text().prop_map(|text| serde_json::from_str(&text).unwrap()),
        "[ -~\u{e9}\u{4e00}]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-d]{1,3}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What servers write as a content type, true or not; none of them names a charset but UTF-8.
fn label() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
        "application/vnd.api+json",
        "application/problem+json",
        "application/x-ndjson",
        "application/octet-stream",
        "application/pdf",
        "application/xml",
        "image/png",
        "text/html",
        "text/html; charset=utf-8",
        "text/plain",
        "text/javascript",
        "no type at all",
        ";;,=",
    ])
}

fn labelled(label: &str) -> Vec<(String, Vec<u8>)> {
    if label.is_empty() { vec![] } else { vec![("Content-Type".to_owned(), label.as_bytes().to_vec())] }
}
