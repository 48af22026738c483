//! Multipart bodies byte by byte.

use serde_json::json;

use super::{RenderedRequest, Value, header, run};

fn render(inputs: Value, input: Value) -> RenderedRequest {
    run(json!({ "body": { "type": "multipart" }, "inputs": inputs }), input).unwrap()
}

/// The boundary from the content type, and the body with the boundary replaced by `B`.
fn shown(request: &RenderedRequest) -> (String, String) {
    let content_type = header(request, "content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap().to_owned();
    let body = String::from_utf8(request.body.clone().unwrap()).unwrap();
    let shown = body.replace(&boundary, "B");
    (boundary, shown)
}

#[test]
fn an_openai_upload_byte_by_byte() {
    let inputs = json!([
        { "name": "purpose" },
        { "name": "file", "file": true },
        { "name": "tags" },
        { "name": "meta" },
        { "name": "n" },
    ]);
    let input = json!({
        "purpose": "{{config.shop}}",
        "file": { "filename": "a \"b\"\r\nü.jsonl", "content_type": "application/jsonl", "data": "e30K" },
        "tags": ["x", 2], "meta": { "a": [1] }, "n": 1.5,
    });
    let request = render(inputs.clone(), input.clone());
    let (boundary, body) = shown(&request);
    assert_eq!(
        body,
        "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{{config.shop}}\r\n\
         --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a %22b%22%0D%0Aü.jsonl\"\r\n\
         Content-Type: application/jsonl\r\n\r\n{}\n\r\n\
         --B\r\nContent-Disposition: form-data; name=\"tags\"\r\n\r\nx\r\n\
         --B\r\nContent-Disposition: form-data; name=\"tags\"\r\n\r\n2\r\n\
         --B\r\nContent-Disposition: form-data; name=\"meta\"\r\n\
         Content-Type: application/json\r\n\r\n{\"a\":[1]}\r\n\
         --B\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n1.5\r\n\
         --B--\r\n"
    );
    assert_eq!(boundary, "4b21b777e2c79aa062a5792d7731a7cf");
    assert_eq!(render(inputs.clone(), input.clone()), request, "the same call makes the same bytes");
    let mut other = input;
    other["n"] = json!(2);
    assert_ne!(shown(&render(inputs, other)).0, boundary);
}

#[test]
fn files_are_bytes_and_always_have_a_name() {
    let inputs = json!([{ "name": "f", "wire": "File", "file": true }]);
    let request = render(inputs.clone(), json!({ "f": { "data": "/wD+" } }));
    let body = request.body.unwrap();
    assert!(body.windows(3).any(|w| w == b"\xff\0\xfe"));
    assert!(
        String::from_utf8_lossy(&body)
            .contains("name=\"File\"; filename=\"File\"\r\nContent-Type: application/octet-stream\r\n\r\n")
    );
    let (_, body) = shown(&render(inputs.clone(), json!({ "f": "plain" })));
    assert!(body.contains(
        "name=\"File\"; filename=\"File.txt\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain\r\n"
    ));
    let (_, body) = shown(&render(inputs, json!({ "f": ["a", { "filename": "b", "data": "Yg==" }] })));
    assert_eq!(body.matches("name=\"File\"").count(), 2);
}

#[test]
fn array_formats_and_places_name_the_parts() {
    let names = |field: Value, value: Value| {
        let mut field = field;
        field["name"] = json!("a");
        let (_, body) = shown(&render(json!([field]), json!({ "a": value })));
        let parts = body.split("--B\r\n").skip(1);
        parts
            .map(|part| {
                let (head, rest) = part.split_once("\r\n\r\n").unwrap();
                let name = head.split('"').nth(1).unwrap();
                format!("{name}={}", rest.split("\r\n").next().unwrap())
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (format, expected) in [
        ("repeat", "a=1 a=x"),
        ("brackets", "a[]=1 a[]=x"),
        ("indices", "a[0]=1 a[1]=x"),
        ("comma", "a=1,x"),
        ("pipe", "a=1|x"),
        ("json", "a=[1,\"x\"]"),
    ] {
        assert_eq!(names(json!({ "array_format": format }), json!([1, "x"])), expected, "{format}");
    }
    assert_eq!(names(json!({ "path": ["m", "k"] }), json!("v")), "m[k]=v");
    assert_eq!(names(json!({ "omit_if": "never" }), json!(null)), "a=");
    assert_eq!(names(json!({}), json!([])), "");
    assert_eq!(names(json!({ "wire": "a\"\r\nX: y" }), json!(1)), "a%22%0D%0AX: y=1");
}

#[test]
fn a_given_content_type_keeps_the_boundary() {
    let document = |extra: Value| {
        let mut document = json!({ "body": { "type": "multipart" }, "inputs": [{ "name": "a" }] });
        document.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        document
    };
    for extra in [
        json!({ "content_type": "multipart/related" }),
        json!({ "headers": [["Content-Type", "multipart/related; boundary=wrong"]] }),
    ] {
        let request = run(document(extra), json!({ "a": "x" })).unwrap();
        let plain = run(document(json!({})), json!({ "a": "x" })).unwrap();
        let boundary = header(&plain, "content-type").unwrap().split_once(';').unwrap().1;
        assert_eq!(header(&request, "content-type"), Some(format!("multipart/related;{boundary}").as_str()));
    }
}

#[test]
fn the_idempotency_key_is_a_field() {
    let document = json!({
        "body": { "type": "multipart" }, "idempotency": { "in": "body", "name": ["m", "key"] },
    });
    let (_, body) = shown(&run(document, json!({})).unwrap());
    assert_eq!(body, "--B\r\nContent-Disposition: form-data; name=\"m[key]\"\r\n\r\nkey-1\r\n--B--\r\n");
}
