//! AWS Signature Version 4: "Create a signed AWS API request" of the IAM user guide, step by step, and
//! for S3 its "Authenticating Requests".

use aws_lc_rs::hmac::HMAC_SHA256;

use super::{Seen, Verdict, decode, encode, mac, pairs, parameters, same, sha256_hex};

pub(super) fn check(seen: &Seen) -> Verdict {
    let given = parameters(seen.header("authorization")?, "AWS4-HMAC-SHA256")?;
    let given = |name: &str| given.iter().find(|(n, _)| *n == name).map(|(_, v)| *v).ok_or("incomplete");
    let date = seen.header("x-amz-date")?;
    same("the date's shape", &date.replace(|c: char| c.is_ascii_digit(), "0"), "00000000T000000Z")?;
    let (service, region) = (seen.secret("service"), seen.secret("region"));
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    same("credential", given("Credential")?, &format!("{}/{scope}", seen.secret("access_key")))?;
    let payload = match seen.secrets["unsigned_payload"].as_bool() {
        Some(true) => "UNSIGNED-PAYLOAD".to_owned(),
        _ => sha256_hex(&seen.body),
    };
    same("x-amz-content-sha256", seen.header("x-amz-content-sha256")?, &payload)?;
    if let Some(token) = seen.secrets["session_token"].as_str() {
        same("x-amz-security-token", seen.header("x-amz-security-token")?, token)?;
    }
    let signed = signed_headers(seen);
    same("signed headers", given("SignedHeaders")?, &signed.join(";"))?;
    let mut headers = String::new();
    for name in &signed {
        let value = if *name == "host" { &seen.host } else { seen.header(name)? };
        headers.push_str(&format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    let canonical = [&seen.method, &path(seen), &query(seen), &headers, &signed.join(";"), &payload]
        .map(String::as_str)
        .join("\n");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let mut key = format!("AWS4{}", seen.secret("secret_key")).into_bytes();
    for part in [&date[..8], region, service, "aws4_request"] {
        key = mac(HMAC_SHA256, &key, part.as_bytes());
    }
    same("signature", given("Signature")?, &hex::encode(mac(HMAC_SHA256, &key, text.as_bytes())))
}

/// Host, content type and every `x-amz-` header.
fn signed_headers(seen: &Seen) -> Vec<&str> {
    let own = |name: &&str| matches!(*name, "host" | "content-type") || name.starts_with("x-amz-");
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).filter(own).collect();
    names.sort_unstable();
    names
}

/// S3 decodes and encodes once; every other service encodes the sent path again.
fn path(seen: &Seen) -> String {
    match seen.secret("service") {
        "s3" => encode(&decode(&seen.path), b"/"),
        _ => encode(seen.path.as_bytes(), b"/"),
    }
}

fn query(seen: &Seen) -> String {
    let pairs = pairs(seen.query.as_deref().unwrap_or_default());
    let mut coded: Vec<(String, String)> =
        pairs.iter().map(|(name, value)| (encode(name, b""), encode(value, b""))).collect();
    coded.sort();
    coded.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}
