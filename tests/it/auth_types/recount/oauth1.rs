//! OAuth 1.0: RFC 5849 sections 3.4.1 and 3.4.2; with SHA-256 the same with the other hash.

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Seen, Verdict, decode, encode, mac, pairs, parameters, same};

pub(super) fn check(seen: &Seen) -> Verdict {
    let given = parameters(seen.header("authorization")?, "OAuth")?;
    let given: Vec<(&str, Vec<u8>)> = given.into_iter().map(|(name, value)| (name, decode(value))).collect();
    let value = |name: &str| {
        let value = given.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_slice());
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    let method = match seen.secret("signature_method") {
        "" => "HMAC-SHA1",
        other => other,
    };
    for (name, wanted) in [
        ("realm", seen.secret("realm")),
        ("oauth_consumer_key", seen.secret("consumer_key")),
        ("oauth_token", seen.secret("token")),
        ("oauth_signature_method", method),
        ("oauth_version", "1.0"),
    ] {
        same(name, &value(name), wanted)?;
    }
    seen.recent(value("oauth_timestamp").parse().map_err(|_| "no timestamp")?)?;
    if value("oauth_nonce").len() < 16 {
        return Err("a nonce that short comes again".to_owned());
    }
    let signed = given.iter().filter(|(name, _)| !matches!(*name, "realm" | "oauth_signature"));
    let mut all: Vec<(Vec<u8>, Vec<u8>)> =
        signed.map(|(name, value)| (name.as_bytes().to_vec(), value.clone())).collect();
    all.extend(pairs(seen.query.as_deref().unwrap_or_default()));
    if seen.header("content-type").is_ok_and(|t| t.starts_with("application/x-www-form-urlencoded")) {
        all.extend(pairs(std::str::from_utf8(&seen.body).map_err(|e| e.to_string())?));
    }
    let mut coded: Vec<(String, String)> =
        all.iter().map(|(name, value)| (encode(name, b""), encode(value, b""))).collect();
    coded.sort();
    let normalized = coded.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
    let uri = format!("https://{}{}", seen.host, seen.path);
    let base = [seen.method.as_str(), &uri, &normalized].map(|part| encode(part.as_bytes(), b"")).join("&");
    let key =
        ["consumer_secret", "token_secret"].map(|name| encode(seen.secret(name).as_bytes(), b"")).join("&");
    let algorithm = if method == "HMAC-SHA256" { HMAC_SHA256 } else { HMAC_SHA1_FOR_LEGACY_USE_ONLY };
    same(
        "signature",
        &value("oauth_signature"),
        &BASE64.encode(mac(algorithm, key.as_bytes(), base.as_bytes())),
    )
}
