//! How real encoders write a secret: by their rules, written down here, and by the encoders themselves where the
//! machine has them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// One writing of a secret.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) by: String,
    /// Whether it stands between the quotes of a JSON string as it is.
    pub(super) in_json: bool,
    pub(super) text: String,
}

fn text(by: &str, text: String) -> Written {
    Written { by: by.to_owned(), in_json: false, text }
}

fn in_json(by: &str, text: String) -> Written {
    Written { by: by.to_owned(), in_json: true, text }
}

fn each(secret: &str, write: impl Fn(char) -> String) -> String {
    secret.chars().map(write).collect()
}

/// The UTF-16 units of a character, as `\u` escapes.
fn units(ch: char, upper: bool) -> String {
    let unit = |unit: &u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
    ch.encode_utf16(&mut [0; 2]).iter().map(unit).collect()
}

/// A JSON string by an encoder that escapes these characters beyond those of RFC 8259, and all beyond ASCII.
fn json_with(secret: &str, escaped: &str, upper: bool, ascii: bool) -> String {
    each(secret, |ch| match ch {
        _ if escaped.contains(ch) || (ascii && !ch.is_ascii()) => units(ch, upper),
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        _ if ch.is_control() => units(ch, upper),
        _ => ch.to_string(),
    })
}

fn percent(secret: &str, kept: &str, upper: bool) -> String {
    let one = |b: u8| match b {
        _ if b.is_ascii_alphanumeric() || kept.as_bytes().contains(&b) => char::from(b).to_string(),
        _ if upper => format!("%{b:02X}"),
        _ => format!("%{b:02x}"),
    };
    secret.bytes().map(one).collect()
}

fn lines(text: &str, columns: usize, end: &str) -> String {
    let lines: Vec<&str> = text.as_bytes().chunks(columns).map(|l| std::str::from_utf8(l).unwrap()).collect();
    lines.join(end)
}

/// JSON encoders of other languages, by their rules.
fn json_rules(secret: &str) -> Vec<Written> {
    let dot_net = json_with(secret, "\"&'+<>`=", true, true);
    let gson = json_with(secret, "<>&='\u{2028}\u{2029}", false, false);
    let go = json_with(secret, "<>&\u{2028}\u{2029}", false, false);
    vec![
        in_json("System.Text.Json", dot_net.clone()),
        in_json("Newtonsoft, EscapeHtml", json_with(secret, "<>&'\"", false, true)),
        in_json("Gson", gson),
        in_json("Go encoding/json", go),
        in_json("Jackson, ESCAPE_NON_ASCII", json_with(secret, "", true, true)),
        in_json("PHP json_encode", json_with(secret, "", false, true).replace('/', "\\/")),
        in_json("PHP, all JSON_HEX options", json_with(secret, "<>&'\"", true, true).replace('/', "\\/")),
        in_json("Rails to_json", json_with(secret, "<>&\u{2028}\u{2029}", false, false)),
        in_json("Ruby script_safe", json_with(secret, "", false, false).replace('/', "\\/")),
        in_json("every character", each(secret, |ch| units(ch, false))),
        in_json("EVERY CHARACTER", each(secret, |ch| units(ch, true))),
        in_json("every other character", {
            let chars = secret.chars().enumerate();
            chars
                .map(|(at, ch)| {
                    if at % 2 == 1 || ch == '"' || ch == '\\' || ch.is_control() {
                        units(ch, at % 4 == 1)
                    } else {
                        ch.to_string()
                    }
                })
                .collect()
        }),
        text("System.Text.Json in a text", dot_net.clone()),
        in_json("System.Text.Json in Go", json_with(&format!("\"{dot_net}\""), "<>&", false, false)),
        in_json("System.Text.Json in .NET in .NET", {
            let twice = json_with(&format!("\"{dot_net}\""), "\"&'+<>`=", true, true);
            json_with(&format!("\"{twice}\""), "\"&'+<>`=", true, true)
        }),
    ]
}

/// URLs, markup and source text, by their rules.
fn text_rules(secret: &str) -> Vec<Written> {
    let html = |quote: &str, apostrophe: &str, more: &[(char, &str)]| {
        each(secret, |ch| match ch {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => quote.to_owned(),
            '\'' => apostrophe.to_owned(),
            _ => more.iter().find(|(own, _)| *own == ch).map_or(ch.to_string(), |(_, to)| (*to).to_owned()),
        })
    };
    let form = percent(secret, "*-._ ", true).replace(' ', "+");
    let go_quoted = each(secret, |ch| match ch {
        '"' | '\\' => format!("\\{ch}"),
        '\n' => "\\n".to_owned(),
        _ if ch.is_ascii_graphic() || ch == ' ' => ch.to_string(),
        _ if u32::from(ch) > 0xffff => format!("\\U{:08x}", u32::from(ch)),
        _ => format!("\\u{:04x}", u32::from(ch)),
    });
    let js_hex = each(secret, |ch| match u8::try_from(ch) {
        Ok(byte) if !byte.is_ascii_alphanumeric() => format!("\\x{byte:02x}"),
        Ok(_) => ch.to_string(),
        Err(_) => units(ch, true),
    });
    let css = each(secret, |ch| {
        if ch.is_ascii_alphanumeric() { ch.to_string() } else { format!("\\{:x} ", u32::from(ch)) }
    });
    let ldap: String = secret
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("\\{b:02x}") })
        .collect();
    let octal: String = secret
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("\\{b:03o}") })
        .collect();
    let quoted: Vec<String> = secret
        .bytes()
        .map(|b| match b {
            b'=' | 0..=31 | 127.. => format!("={b:02X}"),
            _ => char::from(b).to_string(),
        })
        .collect();
    vec![
        text("Go %q", format!("\"{go_quoted}\"")),
        text("Go url.QueryEscape", percent(secret, "-_.~ ", true).replace(' ', "+")),
        text("Go url.PathEscape", percent(secret, "-_.~$&+=:@", true)),
        text("Go html.EscapeString", html("&#34;", "&#39;", &[])),
        text("Java form", form.clone()),
        text("Java form, twice", percent(&form, "*-._", true)),
        text("PHP rawurlencode, lower case", percent(secret, "-._", false)),
        text("percent of all", secret.bytes().map(|b| format!("%{b:02X}")).collect()),
        text(
            "percent of all, twice",
            percent(&secret.bytes().map(|b| format!("%{b:02x}")).collect::<String>(), "", true),
        ),
        text("percent of JSON", percent(&json_with(secret, "<>&+='", false, true), "", true)),
        text("JSON of percent", json!(percent(secret, "", true)).to_string()),
        text("OWASP HTML", html("&quot;", "&#x27;", &[('/', "&#x2F;"), ('=', "&#x3D;"), ('`', "&#x60;")])),
        text("WebUtility.HtmlEncode", html("&quot;", "&#39;", &[('é', "&#233;"), ('ß', "&#223;")])),
        text("PHP htmlentities", html("&quot;", "&#039;", &[('é', "&eacute;"), ('ß', "&szlig;")])),
        text(
            "he, named",
            html(
                "&quot;",
                "&apos;",
                &[
                    ('+', "&plus;"),
                    ('=', "&equals;"),
                    ('/', "&sol;"),
                    ('\\', "&bsol;"),
                    ('%', "&percnt;"),
                    ('(', "&lpar;"),
                    (')', "&rpar;"),
                ],
            ),
        ),
        text(
            "HTML decimal of plus",
            html("&#34;", "&#39;", &[('+', "&#43;"), ('=', "&#61;"), ('~', "&#126;")]),
        ),
        text("HTML padded", each(secret, |ch| format!("&#x{:06X};", u32::from(ch)))),
        text("HTML of HTML", html("&quot;", "&#39;", &[]).replace('&', "&amp;")),
        text("HTML of JSON", json_with(secret, "+<>&'", true, true).replace('"', "&quot;")),
        text("JavaScript hex", js_hex),
        text("JavaScript braces", each(secret, |ch| format!("\\u{{{:x}}}", u32::from(ch)))),
        text("CSS", css),
        text("LDAP", ldap),
        text("octal", octal),
        text("quoted-printable", quoted.concat()),
        text(
            "quoted-printable in lines",
            quoted.chunks(7).map(<[String]>::concat).collect::<Vec<_>>().join("=\r\n"),
        ),
        text("YAML, single quotes", secret.replace('\'', "''")),
        text("CSV", secret.replace('"', "\"\"")),
        text("shell", format!("'{}'", secret.replace('\'', "'\\''"))),
        text("shell, Python's way", format!("'{}'", secret.replace('\'', "'\"'\"'"))),
        text("LATIN SMALL AS UPPER", secret.to_uppercase()),
    ]
}

/// Codings of bytes.
fn byte_rules(secret: &str) -> Vec<Written> {
    let long =
        format!("grant_type=x&user:{secret}:and some more text so that there is more than one line of it");
    let coded = STANDARD.encode(&long);
    let mut all = vec![
        text("base64", STANDARD.encode(secret)),
        text("base64url, bare", URL_SAFE_NO_PAD.encode(secret)),
        text("base64 in lines of 76", lines(&coded, 76, "\n")),
        text("base64 in lines of 64, CRLF", lines(&coded, 64, "\r\n")),
        text("base64 of a form", STANDARD.encode(format!("k={}", percent(secret, "", true)))),
        text(
            "base64 of .NET JSON",
            STANDARD.encode(format!("{{\"k\":\"{}\"}}", json_with(secret, "\"&'+<>`=", true, true))),
        ),
        text("base64 of base64", STANDARD.encode(STANDARD.encode(format!("user:{secret}")))),
        text("base64 in a form", percent(&coded, "", true)),
        in_json("base64 with its slashes escaped", coded.replace('/', "\\/")),
        in_json("base64 by .NET", json_with(&coded, "+=", true, true)),
        in_json("base64 in escaped lines", lines(&coded, 76, "\\n")),
        in_json("base64 in escaped lines, CRLF", lines(&coded, 64, "\\r\\n")),
        text("hex", hex::encode(secret)),
        text("HEX of JSON", hex::encode_upper(secret)),
        text("hex with colons", lines(&hex::encode(secret), 2, ":")),
        text("HEX with spaces", lines(&hex::encode_upper(secret), 2, " ")),
        text("hex in lines", lines(&hex::encode(secret), 12, "\n")),
    ];
    for shift in 0..3 {
        for width in [17, 64, 76] {
            let coded = STANDARD.encode(format!("{}{secret} and what follows it", "x".repeat(50 + shift)));
            all.push(text(&format!("base64 at {shift} in lines of {width}"), lines(&coded, width, "\n")));
        }
    }
    all
}

/// Every writing of a secret by a rule.
pub(super) fn by_rule(secret: &str) -> Vec<Written> {
    [json_rules(secret), text_rules(secret), byte_rules(secret)].concat()
}

/// Every writing of these secrets by encoders of this machine, for each secret.
pub(super) fn by_machine(secrets: &[&str]) -> Vec<Vec<Written>> {
    let input = json!(secrets).to_string();
    let required = |name: &str| std::env::var(name).is_ok_and(|value| value == "1");
    let python = std::env::var("PORTCULLIS_PYTHON").ok().filter(|path| !path.is_empty());
    let python = python.unwrap_or_else(|| "python3".to_owned());
    let mut all: Vec<Vec<Written>> = vec![Vec::new(); secrets.len()];
    let scripts = [
        (python.as_str(), "encode.py", "PORTCULLIS_REQUIRE_PYTHON"),
        ("node", "encode.mjs", "PORTCULLIS_REQUIRE_CLIENTS"),
    ];
    for (program, script, require) in scripts {
        let Some(output) = run(program, script, &input, required(require)) else { continue };
        let found: Vec<Vec<(String, String, String)>> = serde_json::from_str(&output).unwrap();
        for (own, found) in all.iter_mut().zip(found) {
            own.extend(found.into_iter().map(|(by, kind, text)| Written {
                by: format!("{program} {by}"),
                in_json: kind == "json",
                text,
            }));
        }
    }
    let lines: String = secrets.iter().map(|secret| STANDARD.encode(secret) + "\n").collect();
    if let Some(output) = run("java", "Encode.java", &lines, false) {
        for (own, found) in all.iter_mut().zip(output.split("\n\n")) {
            own.extend(found.lines().filter_map(|line| line.split_once('\t')).map(|(by, coded)| {
                text(&format!("java {by}"), String::from_utf8(STANDARD.decode(coded).unwrap()).unwrap())
            }));
        }
    }
    all
}

/// The output of a script; none where the program is not there.
fn run(program: &str, script: &str, input: &str, required: bool) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("encoders").join(script);
    let child = Command::new(program)
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            assert!(!required, "{program} is required: {error}");
            // Why not `eprintln!`: the test runner would swallow it in a test that passes.
            let told =
                writeln!(std::io::stderr(), "field_cases: {program} is not here; its encoders are not tried");
            drop(told);
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).unwrap())
}

/// The text as it stands between the quotes of a JSON string.
pub(super) fn json_member(written: &Written) -> String {
    if written.in_json {
        return written.text.clone();
    }
    let quoted = Value::String(written.text.clone()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
