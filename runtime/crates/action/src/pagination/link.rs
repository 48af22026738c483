//! The `Link` header (RFC 8288 section 3): the target of the first link whose relation is `next`.

use super::PageError;
use crate::scalar::truth;

/// White space of a header field (RFC 9110 section 5.6.3).
const SPACE: [char; 2] = [' ', '\t'];

/// The target of `rel="next"`, as written; `None` also if its attribute `results` says that no rows follow.
pub(super) fn next(header: &str, results: &str) -> Result<Option<String>, PageError> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(None);
        }
        let (link, after) = read_link(rest, results).ok_or(PageError::LinkHeader)?;
        if link.is_next {
            if !link.has_results {
                return Ok(None);
            }
            return Ok(Some(link.target.trim().to_owned()));
        }
        rest = after;
    }
}

struct Link<'h> {
    target: &'h str,
    is_next: bool,
    has_results: bool,
}

fn read_link<'h>(text: &'h str, results: &str) -> Option<(Link<'h>, &'h str)> {
    let (target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
    let mut relation: Option<String> = None;
    let mut anchored = false;
    let mut has_results = true;
    loop {
        rest = rest.trim_start_matches(SPACE);
        let Some(param) = rest.strip_prefix(';') else { break };
        let (name, value, after) = read_param(param.trim_start_matches(SPACE))?;
        match name.to_ascii_lowercase().as_str() {
            // Why: only the first `rel` of a link counts (section 3.3).
            "rel" if relation.is_none() => relation = Some(value),
            // Why: the link then belongs to another document (section 3.2).
            "anchor" => anchored = true,
            name if name.eq_ignore_ascii_case(results) => has_results = truth(&value) != Some(false),
            _ => {}
        }
        rest = after;
    }
    if !rest.is_empty() && !rest.starts_with(',') {
        return None;
    }
    let names_next = |names: String| names.split_ascii_whitespace().any(|n| n.eq_ignore_ascii_case("next"));
    Some((Link { target, is_next: !anchored && relation.is_some_and(names_next), has_results }, rest))
}

/// `name`, `name=token` or `name="quoted \" text"`; the name is empty between two semicolons.
fn read_param(text: &str) -> Option<(&str, String, &str)> {
    let end = text.find(['=', ';', ',', ' ', '\t']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let Some(value) = rest.trim_start_matches(SPACE).strip_prefix('=') else {
        return Some((name, String::new(), rest));
    };
    let value = value.trim_start_matches(SPACE);
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ',', ' ', '\t']).unwrap_or(value.len());
        let (token, rest) = value.split_at_checked(end)?;
        return Some((name, token.to_owned(), rest));
    };
    let mut out = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((name, out, chars.as_str())),
            '\\' => out.push(chars.next()?),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_link_whose_relation_is_next_is_found() {
        for (header, expected) in [
            ("", None),
            (", ,", None),
            (
                r#"<https://h/a?page=2>; rel="next", <https://h/a?page=9>; rel="last""#,
                Some("https://h/a?page=2"),
            ),
            (
                r#"<https://h/a?page=1>; rel="prev", <https://h/a?page=3>; rel="next""#,
                Some("https://h/a?page=3"),
            ),
            (r#"<https://h/a?page=9>; rel="last""#, None),
            ("</a>;rel=next", Some("/a")),
            (r#"</a> ; REL = "prev NEXT"; title="x""#, Some("/a")),
            (r#"</a>; title="x, <y>; rel=\"next\""; rel=prev, </b>; rel=next"#, Some("/b")),
            (r#"</a>; rel="prev"; rel="next""#, None),
            (r#"</a>; rel="next"; anchor="/other", </b>; rel="next""#, Some("/b")),
            (r#"</a,b;c>; rel="next""#, Some("/a,b;c")),
            ("</a>;; nofollow; rel=next;", Some("/a")),
            ("</a>; rel=nextish", None),
            ("<?page=2>; rel=next", Some("?page=2")),
            (r#"</a>; rel="next"; results="true"; cursor="x""#, Some("/a")),
            (r#"</a>; rel="previous"; results="false", </b>; rel="next"; results="true""#, Some("/b")),
            (r#"</a>; rel="next"; results="false"; cursor="x""#, None),
            (r#"</a>; RESULTS=false; rel=next"#, None),
        ] {
            assert_eq!(next(header, "results").unwrap().as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn what_is_no_link_header_is_an_error_and_not_the_end() {
        for header in
            ["/a; rel=next", "</a; rel=next", r#"</a>; rel="next"#, "</a> rel=next", r#"</a>; rel="x\"#]
        {
            assert_eq!(next(header, "results"), Err(PageError::LinkHeader), "{header}");
        }
    }
}
