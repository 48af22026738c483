//! Query and form: array formats, nesting, and that every text can be decoded to the original.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use super::{Value, body_text, run};
use crate::escape::tests::decoded;

fn query(field: Value, value: Value) -> Result<String, String> {
    let mut field = field;
    field["name"] = json!("a");
    field["place"] = json!("query");
    let request = run(json!({ "method": "GET", "inputs": [field] }), json!({ "a": value }));
    let url = request.map_err(|e| e.to_string())?.url;
    Ok(url.strip_prefix("https://api.example.com/x").unwrap().to_owned())
}

#[test]
fn query_array_formats_by_table() {
    let list = json!(["1", 2, true, "x,y|z&"]);
    let nested = json!({ "k": "v w", "l": { "m": [1, 2] }, "n&": null });
    for (format, value, expected) in [
        (None, list.clone(), "?a=1&a=2&a=true&a=x%2Cy%7Cz%26"),
        (Some("repeat"), list.clone(), "?a=1&a=2&a=true&a=x%2Cy%7Cz%26"),
        (Some("brackets"), list.clone(), "?a[]=1&a[]=2&a[]=true&a[]=x%2Cy%7Cz%26"),
        (Some("indices"), list.clone(), "?a[0]=1&a[1]=2&a[2]=true&a[3]=x%2Cy%7Cz%26"),
        (Some("comma"), list.clone(), "?a=1,2,true,x%2Cy%7Cz%26"),
        (Some("pipe"), list.clone(), "?a=1%7C2%7Ctrue%7Cx%2Cy%7Cz%26"),
        (Some("json"), list, "?a=%5B%221%22%2C2%2Ctrue%2C%22x%2Cy%7Cz%26%22%5D"),
        (Some("brackets"), nested.clone(), "?a[k]=v%20w&a[l][m][]=1&a[l][m][]=2&a[n%26]="),
        (Some("indices"), nested, "?a[k]=v%20w&a[l][m][0]=1&a[l][m][1]=2&a[n%26]="),
        (Some("json"), json!({ "k": 1 }), "?a=%7B%22k%22%3A1%7D"),
        (Some("indices"), json!([{ "k": [1] }]), "?a[0][k][0]=1"),
        (Some("brackets"), json!({ "]x[": 1 }), "?a[%5Dx%5B]=1"),
        (Some("comma"), json!([]), ""),
        (Some("repeat"), json!([]), ""),
        (Some("brackets"), json!({}), ""),
        (Some("json"), json!([]), "?a=%5B%5D"),
        (Some("comma"), json!("x,y"), "?a=x%2Cy"),
        (None, json!(""), "?a="),
        (None, json!("{{config.shop}}"), "?a=%7B%7Bconfig.shop%7D%7D"),
    ] {
        let field = json!({ "array_format": format });
        assert_eq!(query(field, value.clone()).as_deref(), Ok(expected), "{format:?} {value}");
    }
    for (format, value) in [
        (None, json!({ "k": 1 })),
        (Some("repeat"), json!([{ "k": 1 }])),
        (Some("comma"), json!([[1]])),
        (Some("pipe"), json!({ "k": 1 })),
    ] {
        let error = query(json!({ "array_format": format }), value).unwrap_err();
        assert!(error.starts_with("input.a "), "{error}");
    }
    assert_eq!(query(json!({ "omit_if": "never" }), json!(null)).unwrap(), "?a=");
    assert_eq!(query(json!({ "wire": "page[size]" }), json!(5)).unwrap(), "?page[size]=5");
}

#[test]
fn the_query_is_the_templates_then_the_plans_then_the_inputs() {
    let document = |url: &str| {
        json!({
            "method": "GET", "url": url,
            "query": [["limit", "50"], ["since", "{{input.since}}"], ["f", "a b,{{config.version}}"]],
            "inputs": [{ "name": "since", "place": "path" }, { "name": "q", "place": "query" }],
            "idempotency": { "in": "query", "name": "q" },
        })
    };
    for (url, input, expected) in [
        ("https://h.example.com", json!({}), "https://h.example.com/?limit=50&f=a%20b%2C2&q=key-1"),
        (
            "https://h.example.com/x?limit=1",
            json!({ "since": "t", "q": "ü" }),
            "https://h.example.com/x?limit=1&since=t&f=a%20b%2C2&q=%C3%BC",
        ),
        (
            "https://h.example.com/x?limit={{input.none}}",
            json!({ "q": 1 }),
            "https://h.example.com/x?limit=50&f=a%20b%2C2&q=1",
        ),
    ] {
        assert_eq!(run(document(url), input).unwrap().url, expected);
    }
}

#[test]
fn a_stripe_subscription() {
    let document = json!({
        "body": {
            "type": "form",
            "template": { "collection_method": "send_invoice", "metadata": { "run": "{{run.id}}" } },
        },
        "inputs": [
            { "name": "customer" },
            { "name": "items" },
            { "name": "expand" },
            { "name": "order", "path": ["metadata", "order id"] },
            { "name": "trial", "path": ["trial_settings", "end_behavior", "missing_payment_method"] },
            { "name": "prorate" },
        ],
    });
    let input = json!({
        "customer": "cus_1", "expand": ["latest_invoice", "customer"],
        "items": [{ "price": "price_1", "quantity": 2 }, { "price": "price_2", "tags": ["a", "b"] }],
        "order": "6&7", "trial": "cancel", "prorate": false,
    });
    assert_eq!(
        body_text(document, input).unwrap(),
        "collection_method=send_invoice&metadata[run]=run_1&metadata[order%20id]=6%267&customer=cus_1\
         &items[0][price]=price_1&items[0][quantity]=2&items[1][price]=price_2&items[1][tags][]=a\
         &items[1][tags][]=b&expand[]=latest_invoice&expand[]=customer\
         &trial_settings[end_behavior][missing_payment_method]=cancel&prorate=false"
    );
}

#[test]
fn form_styles_by_table() {
    let value = json!({ "b": { "c": 1.5 }, "l": [1, "x y"], "o": [{ "k": true }] });
    for (style, format, expected) in [
        ("brackets", None, "a[b][c]=1.5&a[l][]=1&a[l][]=x%20y&a[o][0][k]=true"),
        ("brackets", Some("indices"), "a[b][c]=1.5&a[l][0]=1&a[l][1]=x%20y&a[o][0][k]=true"),
        ("brackets", Some("brackets"), "a[b][c]=1.5&a[l][]=1&a[l][]=x%20y&a[o][][k]=true"),
        ("dots", None, "a.b.c=1.5&a.l.0=1&a.l.1=x%20y&a.o.0.k=true"),
        (
            "flat",
            None,
            "a=%7B%22b%22%3A%7B%22c%22%3A1.5%7D%2C%22l%22\
             %3A%5B1%2C%22x%20y%22%5D%2C%22o%22%3A%5B%7B%22k%22%3Atrue%7D%5D%7D",
        ),
    ] {
        let field = json!({ "name": "a", "array_format": format });
        let document = json!({ "body": { "type": "form", "style": style }, "inputs": [field] });
        assert_eq!(body_text(document, json!({ "a": value })).unwrap(), expected, "{style} {format:?}");
    }
    for (style, format, expected) in [
        ("brackets", Some("repeat"), "a=1&a=2"),
        ("dots", Some("repeat"), "a=1&a=2"),
        ("dots", Some("brackets"), "a[]=1&a[]=2"),
        ("flat", None, "a=%5B1%2C2%5D"),
        ("flat", Some("repeat"), "a=1&a=2"),
        ("flat", Some("comma"), "a=1,2"),
        ("brackets", Some("json"), "a=%5B1%2C2%5D"),
    ] {
        let field = json!({ "name": "a", "array_format": format });
        let document = json!({ "body": { "type": "form", "style": style }, "inputs": [field] });
        assert_eq!(body_text(document, json!({ "a": [1, 2] })).unwrap(), expected, "{style} {format:?}");
    }
}

#[test]
fn a_place_in_a_form_is_nesting_of_its_style() {
    for (style, expected) in [
        ("brackets", "a[b][0][c]=1&a[b][0][d]=x%20"),
        ("dots", "a.b.0.c=1&a.b.0.d=x%20"),
        ("flat", "a=%7B%22b%22%3A%5B%7B%22c%22%3A1%2C%22d%22%3A%22x%20%22%7D%5D%7D"),
    ] {
        let inputs = json!([
            { "name": "c", "path": ["a", "b", "0", "c"] },
            { "name": "d", "path": ["a", "b", "0", "d"] },
        ]);
        let document = json!({ "body": { "type": "form", "style": style }, "inputs": inputs });
        assert_eq!(body_text(document, json!({ "c": 1, "d": "x " })).unwrap(), expected, "{style}");
    }
}

#[test]
fn a_twilio_message() {
    let document = json!({
        "url": "https://api.twilio.com/2010-04-01/Accounts/{{config.shop}}/Messages.json",
        "body": { "type": "form" },
        "inputs": [
            { "name": "to", "wire": "To" },
            { "name": "text", "wire": "Body" },
            { "name": "media", "wire": "MediaUrl", "array_format": "repeat" },
        ],
    });
    let input = json!({ "to": "+49 1", "text": "hi=you & {{config.shop}}", "media": ["u1", "u2"] });
    assert_eq!(
        body_text(document, input).unwrap(),
        "To=%2B49%201&Body=hi%3Dyou%20%26%20%7B%7Bconfig.shop%7D%7D&MediaUrl=u1&MediaUrl=u2"
    );
}

proptest! {
    #[test]
    fn any_text_in_a_form_decodes_to_itself(key in any::<String>(), text in any::<String>()) {
        let document = json!({ "body": { "type": "form" }, "inputs": [{ "name": "a" }] });
        let body = body_text(document, json!({ "a": { key.clone(): [text] } })).unwrap();
        let (name, value) = body.split_once('=').unwrap();
        prop_assert!(!value.contains(['&', '=', '+']) && !name.contains('&'));
        let inner = name.strip_prefix("a[").unwrap().strip_suffix("][]").unwrap();
        prop_assert!(!inner.contains(['[', ']']));
        prop_assert_eq!(decoded(inner), key);
        prop_assert_eq!(decoded(value), text);
    }
}
