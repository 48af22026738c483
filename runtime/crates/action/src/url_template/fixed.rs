//! URL templates without anything to fill in.

/// Longest label of a host (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: u32 = 63;

/// The URL of a template that stands for itself: no variable, port, query or fragment, and right in every
/// other respect. `None` does not say that it is wrong, only that [`super::UrlTemplate`] has to look at it.
pub(crate) fn fixed(template: &str) -> Option<String> {
    let rest = template.strip_prefix("https://")?;
    let mut bytes = rest.as_bytes().iter();
    let (mut labels, mut length, mut before) = (1_u32, 0_u32, b'.');
    let mut is_host = true;
    for byte in bytes.by_ref() {
        match (byte, before) {
            // Why no capitals: they would have to be written small.
            (b'a'..=b'z' | b'0'..=b'9', _) | (b'-', b'a'..=b'z' | b'0'..=b'9' | b'-') => {
                length = length.wrapping_add(1);
            }
            (b'.', b'a'..=b'z' | b'0'..=b'9') if length <= LABEL_BYTES_MAX => {
                (labels, length) = (labels.wrapping_add(1), 0);
            }
            (b'/', _) => {
                is_host = false;
                break;
            }
            _ => return None,
        }
        before = *byte;
    }
    if labels < 2 || length > LABEL_BYTES_MAX || matches!(before, b'.' | b'-') {
        return None;
    }
    let mut before = b'/';
    for byte in bytes {
        // Why no dot at the begin of a segment: the segment could be `.` or `..`.
        if !is_path_byte(*byte) || (*byte == b'.' && before == b'/') {
            return None;
        }
        before = *byte;
    }
    let mut url = String::with_capacity(template.len().wrapping_add(1));
    url.push_str(template);
    if is_host {
        url.push('/');
    }
    Some(url)
}

const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~' | b':' | b'@' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url_template::UrlTemplate;
    use crate::values::Values;

    #[test]
    fn a_fixed_url_is_what_the_template_renders() {
        let none = serde_json::Map::new();
        for template in [
            "https://api.example.com/v1/contacts",
            "https://api.example.com",
            "https://api.example.com/",
            "https://a.b//x/",
            "https://a.b/x.json/%2e:y@z~",
        ] {
            let rendered = UrlTemplate::parse(template).unwrap().render(&Values::config_only(&none)).unwrap();
            assert_eq!(fixed(template), Some(rendered), "{template}");
        }
    }

    #[test]
    fn what_is_not_plain_is_looked_at_closely() {
        for template in [
            "http://a.b/",
            "https://a/",
            "https://A.b/",
            "https://a.b:443/",
            "https://a.b/?q=1",
            "https://a.b?q=1",
            "https://a.b/#f",
            "https://a.b/{{input.x}}",
            "https://{{config.x}}.b/",
            "https://a.b/./x",
            "https://a.b/..",
            "https://a.b/.x",
            "https://a.b/\u{e9}",
            "https://a..b/",
            "https://a.b-/",
            "https://u@a.b/",
            "https://-a.b/",
            "https://a-.b/",
            "https://a.b./",
            "https://.a.b/",
            "https:///a.b",
            &format!("https://{}.b/", "x".repeat(64)),
            &format!("https://b.{}", "x".repeat(64)),
        ] {
            assert_eq!(fixed(template), None, "{template}");
        }
    }
}
