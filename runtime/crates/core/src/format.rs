//! The formats of forms and inputs, as a closed list.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::definition::FieldFormat;

/// A full date (RFC 3339 section 5.6).
#[must_use]
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// A date and time with offset (RFC 3339 section 5.6).
#[must_use]
pub fn is_datetime(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

/// Padded base64 (RFC 4648 section 4).
#[must_use]
pub fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}

/// Describes the format if a text does not have it; `None` if it has.
#[must_use]
pub fn breach(format: FieldFormat, text: &str) -> Option<&'static str> {
    let (holds, name) = match format {
        FieldFormat::Hostname => (is_hostname(text), "a host name such as api.example.com"),
        FieldFormat::HostnameLabel => (
            portcullis_action::escape::is_host_label(text),
            "one DNS label: letters, digits and inner hyphens, 1 to 63",
        ),
        FieldFormat::Url => (is_https_url(text), "an https URL without user name and password"),
        FieldFormat::Email => (is_email(text), "an email address"),
        FieldFormat::Uuid => (is_uuid(text), "a UUID"),
        FieldFormat::Pem => (is_pem(text), "a PEM text: -----BEGIN … -----END …"),
        FieldFormat::Json => (serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "a JSON document"),
    };
    (!holds).then_some(name)
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(portcullis_action::escape::is_host_label)
        && text.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()))
}

fn is_https_url(text: &str) -> bool {
    let plain = |url: url::Url| {
        url.scheme() == "https"
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
    };
    url::Url::parse(text).is_ok_and(plain)
}

/// At least one character, one `@`, and a host: stricter rules would refuse addresses that work.
fn is_email(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    plain
        && text
            .rsplit_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !local.contains('@') && is_hostname(host))
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Key files are also pasted with line ends written as `\n`.
fn is_pem(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("-----BEGIN ") && text.ends_with("-----") && text.contains("-----END ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_takes_what_it_names_and_nothing_near_it() {
        for (format, good, bad) in [
            (
                FieldFormat::Hostname,
                vec!["a.example.com"],
                vec!["a", "a..b", "-a.b", "10.0.0.1", "a/b.c", "https://a.b"],
            ),
            (FieldFormat::HostnameLabel, vec!["acme", "a-1"], vec!["a.b", "", "-a", "a_b"]),
            (
                FieldFormat::Url,
                vec!["https://a.example.com/x?y"],
                vec![
                    "http://a.example.com",
                    "a.example.com",
                    "https://",
                    "https://u:p@a.example.com",
                    "javascript:alert(1)",
                ],
            ),
            (
                FieldFormat::Email,
                vec!["a@b.co", "a+b@x.y.org"],
                vec!["a", "@b.co", "a@b", "a b@c.de", "a@b@c.de"],
            ),
            (
                FieldFormat::Uuid,
                vec!["0197a2f0-0000-7000-8000-00000000000a"],
                vec!["0197a2f0", "0197a2f0-0000-7000-8000-00000000000g"],
            ),
            (
                FieldFormat::Pem,
                vec!["-----BEGIN X-----\nAA==\n-----END X-----\n"],
                vec!["-----BEGIN X-----", "AA=="],
            ),
            (FieldFormat::Json, vec!["{\"a\": 1}", "3"], vec!["{a: 1}", ""]),
        ] {
            for text in good {
                assert_eq!(breach(format, text), None, "{format:?} {text}");
            }
            for text in bad {
                assert!(breach(format, text).is_some(), "{format:?} {text}");
            }
        }
        assert!(is_date("2026-02-28") && !is_date("2026-02-30") && !is_date("2026-02-28T00:00:00Z"));
        assert!(is_datetime("2026-02-28T01:02:03+02:00") && !is_datetime("2026-02-28T01:02:03"));
        assert!(is_base64("AA==") && !is_base64("AA=") && !is_base64("#"));
    }
}
