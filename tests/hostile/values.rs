//! Texts, documents, templates, patterns and predicates that are made to be expensive.

use serde_json::{Map, Number, Value, json};

use crate::random::Random;

const PIECES: &[&str] = &[
    "a",
    "-",
    "aa",
    "/",
    "%2F",
    "..",
    "{{",
    "}}",
    "'",
    "\\",
    "\"",
    "\u{e9}",
    "\u{1f600}",
    "\0",
    " ",
    ".",
    "*",
    "+",
    "=",
    "&",
    "<",
    "\r\n",
    "{{source.a}}",
    "~1",
    "0",
    "9",
    "true",
    "null",
    "https://api.example.com/",
    "e1",
    "\u{202e}",
];

/// A text of up to so many pieces.
pub(crate) fn text(random: &mut Random, most: usize) -> String {
    let count = random.count(most);
    if random.one_in(3) {
        return random.pick(PIECES).repeat(count);
    }
    (0..count).map(|_| random.pick(PIECES)).collect()
}

/// A text that no template or name is in the way of, except in rare cases.
pub(crate) fn plain(random: &mut Random, most: usize) -> String {
    if random.one_in(200) {
        return text(random, most);
    }
    let count = random.count(most);
    (0..count).map(|_| random.pick(&["a", "-", "b", "7", "x"])).collect()
}

/// A JSON number, also one that no machine type holds.
fn number(random: &mut Random) -> Value {
    const NUMBERS: &[&str] =
        &["0", "-0", "1", "1.0", "-1", "1e5", "36893488147419103232", "1.7e308", "5e-324", "429"];
    random.pick(NUMBERS).parse::<Number>().map_or(Value::Null, Value::Number)
}

/// A document of about so many nodes.
pub(crate) fn document(random: &mut Random, nodes: usize, levels: usize) -> Value {
    match random.below(if levels == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(random.one_in(2)),
        2 => number(random),
        3 | 4 => Value::String(text(random, 200)),
        5 => {
            let count = random.count(nodes);
            Value::Array((0..count).map(|_| document(random, nodes / count.max(1), levels - 1)).collect())
        }
        _ => Value::Object(members(random, nodes, levels - 1)),
    }
}

/// An object of about so many nodes, with the names that templates ask for.
pub(crate) fn members(random: &mut Random, nodes: usize, levels: usize) -> Map<String, Value> {
    let count = random.count(nodes);
    (0..count)
        .map(|at| {
            let name = match random.below(4) {
                0 => random.pick(NAMES).to_owned(),
                1 => text(random, 8),
                _ => format!("m{at}"),
            };
            (name, document(random, nodes / count.max(1), levels))
        })
        .collect()
}

/// An object that usually has every name that templates ask for, usually as a text.
pub(crate) fn with_names(random: &mut Random, nodes: usize) -> Map<String, Value> {
    let mut made = members(random, nodes, 5);
    for name in NAMES {
        if !random.one_in(60) {
            let most = random.rarely_many(20, 200_000, 20);
            made.insert((*name).to_owned(), Value::String(format!("x{}", plain(random, most))));
        }
    }
    made
}

/// Names of inputs, config fields and members of a source.
pub(crate) const NAMES: &[&str] = &["a", "b", "c", "id", "next", "items", "l"];

/// Filters that make a text of any text.
const OF_TEXT: &[&str] = &[
    "lower",
    "upper",
    "trim",
    "default:'d'",
    "json",
    "string",
    "base64",
    "base64url",
    "hex",
    "urlencode",
    "md5",
    "sha1",
    "sha256",
    "after_last:'a'",
    "before_first:'-'",
    "replace:'a','aa'",
    "replace:'a','aaaaaaaaaaaaaaaa'",
    "replace:'a',''",
    "replace:'\\','\\\\'",
];

/// Filters that end a call on most values.
const OF_OTHERS: &[&str] =
    &["number", "join:','", "join:'aaaaaaaaaaaaaaaaaaaa'", "date:'%Y'", "date:'%F %T'", "iso8601", "epoch"];

/// A chain of filters with its bar in front. Most are short and end in a text, so that the cases go on; some grow.
pub(crate) fn filters(random: &mut Random, most: usize) -> String {
    let count = random.rarely_many(12, most, 3);
    let from = if random.one_in(60) { OF_OTHERS } else { OF_TEXT };
    let same = random.one_in(3).then(|| random.pick(from));
    (0..count).map(|_| format!("|{}", same.unwrap_or_else(|| random.pick(from)))).collect()
}

/// A template over these scopes.
pub(crate) fn template(random: &mut Random, scopes: &[&str]) -> String {
    let variables = if random.one_in(10) { random.count(60) } else { 1 };
    let mut out = String::new();
    for _ in 0..variables {
        if random.one_in(3) {
            out.push_str(&plain(random, 3));
        }
        let (scope, name, filters) = (random.pick(scopes), random.pick(NAMES), filters(random, 40));
        out.push_str(&format!("{{{{{scope}.{name}{filters}}}}}"));
    }
    out
}

/// A regular expression, often with repetition inside repetition.
pub(crate) fn pattern(random: &mut Random) -> String {
    const ATOMS: &[&str] =
        &["a", ".", "[a-z]", "\\w", "(?:ab|a)", "x*", "(?i)k", "^", "$", "[^\\d]", "(?s)."];
    let mut out = random.pick(ATOMS).to_owned();
    for _ in 0..random.count(6) {
        let low = random.count(20);
        let high = low + random.count(40);
        out = match random.below(4) {
            0 => format!("(?:{out}){{{low},{high}}}"),
            1 => format!("({out}|{})*", random.pick(ATOMS)),
            2 => format!("{out}{}", random.pick(ATOMS)),
            _ => format!("(?:{out})+"),
        };
    }
    out
}

/// A path, a JSON pointer with stars.
pub(crate) fn path(random: &mut Random) -> String {
    (0..random.count(12))
        .map(|_| format!("/{}", random.pick(&["a", "*", "0", "items", "next", "~1", "l"])))
        .collect()
}

/// A predicate, or something close to one.
pub(crate) fn predicate(random: &mut Random, levels: usize) -> Value {
    if levels > 0 && random.one_in(3) {
        let list: Vec<Value> =
            (0..random.rarely_many(10, 80, 4)).map(|_| predicate(random, levels - 1)).collect();
        return match random.below(4) {
            0 => json!({ "all": list }),
            1 => json!({ "any": list }),
            2 => json!({ "not": predicate(random, levels - 1) }),
            _ => Value::Array(list),
        };
    }
    let path = path(random);
    match random.below(8) {
        0 => json!({ "path": path, "matches": pattern(random) }),
        1 => json!({ "path": path, "eq": document(random, 20, 3) }),
        2 => json!({ "path": path, "ne": text(random, 20) }),
        3 => {
            json!({ "path": path, "in": (0..random.count(2000)).map(|_| number(random)).collect::<Vec<_>>() })
        }
        4 => json!({ "path": path, "exists": random.one_in(2) }),
        5 => json!({ "path": path, "contains": text(random, 50) }),
        6 if random.one_in(200) => json!({ "path": path, "what": number(random) }),
        _ => json!({ "path": path, "gt": number(random) }),
    }
}
