//! URL templates without variables.

/// Longest label of a host (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: u32 = 63;

/// The URL of a template without variable, port, query or fragment that is valid in every
/// other respect. `None` does not mean that it is invalid, only that [`super::UrlTemplate`] must parse it.
pub(crate) fn fixed(template: &str) -> Option<String> {
    let rest = template.strip_prefix("https://")?;
    let mut bytes = rest.as_bytes().iter();
    let (mut labels, mut length, mut before) = (1_u32, 0_u32, Class::Dot);
    let mut is_host = true;
    for byte in bytes.by_ref() {
        let class = class_of(*byte);
        match class {
            Class::Label => length = length.wrapping_add(1),
            Class::Hyphen if before != Class::Dot => length = length.wrapping_add(1),
            Class::Dot if before == Class::Label && length <= LABEL_BYTES_MAX => {
                (labels, length) = (labels.wrapping_add(1), 0);
            }
            Class::Slash => {
                is_host = false;
                break;
            }
            _ => return None,
        }
        before = class;
    }
    if labels < 2 || length > LABEL_BYTES_MAX || before != Class::Label {
        return None;
    }
    before = Class::Slash;
    for byte in bytes {
        let class = class_of(*byte);
        // Why no dot at the start of a segment: the segment could be `.` or `..`.
        if class == Class::Other || (class == Class::Dot && before == Class::Slash) {
            return None;
        }
        before = class;
    }
    let mut url = String::with_capacity(template.len().wrapping_add(1));
    url.push_str(template);
    if is_host {
        url.push('/');
    }
    Some(url)
}

/// What a byte may be part of.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// A letter or digit of a host, or of a path.
    Label,
    Hyphen,
    Dot,
    Slash,
    /// Characters allowed in a path only. Capitals are here: in a host they would have to be lowered.
    Path,
    Other,
}

#[inline(always)]
fn class_of(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Other)
}

/// Why a table: a guest looks at every byte of a URL in every call.
static CLASSES: [Class; 128] = classes();

#[allow(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const fn classes() -> [Class; 128] {
    let mut classes = [Class::Other; 128];
    let mut byte = 0_u8;
    while byte < 128 {
        classes[byte as usize] = match byte {
            b'a'..=b'z' | b'0'..=b'9' => Class::Label,
            b'-' => Class::Hyphen,
            b'.' => Class::Dot,
            b'/' => Class::Slash,
            b'A'..=b'Z' | b'_' | b'~' | b':' | b'@' | b'%' => Class::Path,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
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
