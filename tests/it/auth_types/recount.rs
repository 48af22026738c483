//! Signatures computed again from their specifications, with another hash library than the product's. Reads
//! the same document as `tests/auth_check.py`, and shares no code with the product.

use aws_lc_rs::{digest, hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use serde_json::Value;

mod aws;
mod oauth1;

/// Why a request is not authenticated as expected.
type Verdict = Result<(), String>;

/// A request that arrived, and the secrets that it should be authenticated with.
struct Seen {
    method: String,
    host: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    secrets: Value,
}

impl Seen {
    fn read(document: &Value) -> Self {
        let url = document["url"].as_str().unwrap().strip_prefix("https://").unwrap();
        let (host, target) = url.split_at(url.find('/').unwrap());
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers = document["headers"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            method: text(&document["method"]),
            host: host.to_owned(),
            path: path.to_owned(),
            query,
            headers: headers.map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
            body: BASE64.decode(document["body_base64"].as_str().unwrap()).unwrap(),
            secrets: document["secrets"].clone(),
        }
    }

    /// The only value of a header.
    fn header(&self, name: &str) -> Result<&str, String> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value),
            _ => Err(format!("{name} is not there exactly once")),
        }
    }

    fn secret(&self, name: &str) -> &str {
        self.secrets[name].as_str().unwrap_or_default()
    }

    /// Whether a time is recent enough.
    fn recent(&self, seconds: u64) -> Verdict {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let limit = self.secrets["max_age_s"].as_u64().unwrap();
        if now.abs_diff(seconds) <= limit { Ok(()) } else { Err(format!("made at {seconds}, now is {now}")) }
    }
}

/// Checks a request.
pub(super) fn check(kind: &str, document: &Value) -> Verdict {
    let seen = Seen::read(document);
    match kind {
        "sigv4" => aws::check(&seen),
        "oauth1" => oauth1::check(&seen),
        "hmac" => keyed_hash(&seen),
        "jwt" => jwt(&seen),
        "basic" => {
            let pair = format!("{}:{}", seen.secret("username"), seen.secret("password"));
            same("authorization", seen.header("authorization")?, &format!("Basic {}", BASE64.encode(pair)))
        }
        "bearer" => {
            same("authorization", seen.header("authorization")?, &format!("Bearer {}", seen.secret("token")))
        }
        other => Err(format!("nothing is known of {other}")),
    }
}

fn same(what: &str, found: &str, wanted: &str) -> Verdict {
    if found == wanted { Ok(()) } else { Err(format!("{what}: found {found:?}, wanted {wanted:?}")) }
}

fn mac(algorithm: hmac::Algorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
}

fn sha256_hex(text: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, text))
}

/// RFC 3986 section 2.1, for everything but unreserved characters and those of `kept`.
fn encode(bytes: &[u8], kept: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || kept.contains(&b);
    bytes.iter().map(|b| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Decodes percent escapes and nothing else.
fn decode(text: &str) -> Vec<u8> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    bytes
}

/// `name=value` pairs of a query or a form, decoded.
fn pairs(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pieces = text.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
        .map(|(n, v)| (decode(n), decode(v)))
        .collect()
}

/// `name="value"` and `name=value` after a scheme, separated by commas.
fn parameters<'t>(text: &'t str, scheme: &str) -> Result<Vec<(&'t str, &'t str)>, String> {
    let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(' '));
    let rest = rest.ok_or_else(|| format!("the scheme is not {scheme}"))?;
    let pair = |piece: &'t str| piece.trim().split_once('=').ok_or_else(|| format!("{piece:?} is no pair"));
    rest.split(',').map(|piece| pair(piece).map(|(name, value)| (name, value.trim_matches('"')))).collect()
}

/// The scheme of a definition: an HMAC over parts in order.
fn keyed_hash(seen: &Seen) -> Verdict {
    let time = match seen.secrets["timestamp_header"].as_str() {
        Some(name) => seen.header(name)?,
        None => "",
    };
    match (time, seen.secret("timestamp_format")) {
        ("", _) => {}
        (_, "epoch_ms") => seen.recent(time.parse::<u64>().map_err(|e| e.to_string())? / 1000)?,
        (_, "iso8601") => {
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            same("the time's shape", &shape, "0000-00-00T00:00:00.000Z")?;
        }
        _ => seen.recent(time.parse().map_err(|_| "no seconds")?)?,
    }
    let nonce = match seen.secrets["nonce_header"].as_str() {
        Some(name) => seen.header(name)?,
        None => "",
    };
    let query = seen.query.as_deref();
    let mut text = Vec::new();
    for part in seen.secrets["string_to_sign"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()) {
        match part {
            "method" => text.extend_from_slice(seen.method.as_bytes()),
            "path" => text.extend_from_slice(seen.path.as_bytes()),
            "query" => text.extend_from_slice(query.unwrap_or_default().as_bytes()),
            "path_and_query" => {
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                text.extend_from_slice(format!("{}{query}", seen.path).as_bytes());
            }
            "body" => text.extend_from_slice(&seen.body),
            "body_sha256" => text.extend_from_slice(sha256_hex(&seen.body).as_bytes()),
            "timestamp" => text.extend_from_slice(time.as_bytes()),
            "nonce" => text.extend_from_slice(nonce.as_bytes()),
            _ => match part.strip_prefix("header:") {
                Some(name) => text.extend_from_slice(seen.header(name)?.as_bytes()),
                None => text.extend_from_slice(part.trim_matches('\'').as_bytes()),
            },
        }
    }
    let algorithm = match seen.secret("alg") {
        "sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "sha512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let made = mac(algorithm, seen.secret("key").as_bytes(), &text);
    let made = if seen.secret("encoding") == "base64" { BASE64.encode(made) } else { hex::encode(made) };
    let format = seen.secrets["format"].as_str().unwrap_or("{signature}");
    let wanted = format.replace("{signature}", &made).replace("{timestamp}", time).replace("{nonce}", nonce);
    same("signature", seen.header(seen.secret("signature_header"))?, &wanted)
}

/// RFC 7515 section 5.2, and the claims of RFC 7519.
fn jwt(seen: &Seen) -> Verdict {
    let name = seen.secrets["header"].as_str().unwrap_or("authorization");
    let prefix = seen.secrets["prefix"].as_str().unwrap_or("Bearer ");
    let token = seen.header(name)?.strip_prefix(prefix).ok_or("the prefix is not there")?;
    let (signed, mark) = token.rsplit_once('.').ok_or("not compact")?;
    let (header, claims) = signed.split_once('.').ok_or("not compact")?;
    let plain = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|e| e.to_string());
    let (mark, signed) = (plain(mark)?, signed.as_bytes());
    let header: Value = serde_json::from_slice(&plain(header)?).map_err(|e| e.to_string())?;
    let claims: Value = serde_json::from_slice(&plain(claims)?).map_err(|e| e.to_string())?;
    same("alg", header["alg"].as_str().unwrap_or_default(), seen.secret("alg"))?;
    let key = seen.secret("key");
    let by = |algorithm: &'static dyn signature::VerificationAlgorithm| {
        let key: String = key.lines().filter(|line| !line.starts_with('-')).collect();
        let key = BASE64.decode(key).unwrap();
        let key = signature::UnparsedPublicKey::new(algorithm, key);
        key.verify(signed, &mark).map_err(|_| "the signature does not verify".to_owned())
    };
    match seen.secret("alg") {
        "RS256" => by(&signature::RSA_PKCS1_2048_8192_SHA256)?,
        "ES256" => by(&signature::ECDSA_P256_SHA256_FIXED)?,
        "HS256" => same(
            "signature",
            &hex::encode(&mark),
            &hex::encode(mac(hmac::HMAC_SHA256, key.as_bytes(), signed)),
        )?,
        other => return Err(format!("nothing is known of {other}")),
    }
    for (found, wanted) in [(&claims, &seen.secrets["claims"]), (&header, &seen.secrets["jose_header"])] {
        for (name, value) in wanted.as_object().into_iter().flatten() {
            same(name, &found[name].to_string(), &value.to_string())?;
        }
    }
    seen.recent(claims["iat"].as_u64().ok_or("no iat")?)
}
