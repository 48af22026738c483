//! A finished request, borrowed, as the signatures read it. Made by egress once nothing of the request
//! changes any more: the upstream refuses a signature over anything else.

use http::{HeaderMap, HeaderName};

use crate::SignError;

/// The request to sign, exactly as it will be sent.
#[derive(Clone, Copy)]
pub struct Signable<'a> {
    /// Method, upper case.
    pub method: &'a str,
    /// Host as the `host` header has it: with `:port`, unless that is 443.
    pub host: &'a str,
    /// Path as sent, percent-encoded, beginning with `/`.
    pub path: &'a str,
    /// Query as sent, without `?`; `None` when the request line has no `?`.
    pub query: Option<&'a str>,
    /// Without the headers of the signature.
    pub headers: &'a HeaderMap,
    /// Body as sent; empty when there is none.
    pub body: &'a [u8],
}

impl Signable<'_> {
    /// The absolute URL. Always `https`, the only scheme that is sent.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}{}", self.host, self.path_and_query())
    }

    /// The target of the request line: the path, and the query if there is one.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_owned(),
        }
    }

    /// The only value of a header; `host` comes from [`Self::host`] when the map does not have it.
    pub(crate) fn header(&self, name: &HeaderName) -> Result<&[u8], SignError> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value.as_bytes()),
            (Some(_), Some(_)) => Err(SignError::RepeatedHeader(name.clone())),
            (None, _) if name == http::header::HOST => Ok(self.host.as_bytes()),
            (None, _) => Err(SignError::MissingHeader(name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_what_is_sent() {
        let headers = HeaderMap::new();
        let request = Signable {
            method: "GET",
            host: "h:8443",
            path: "/a%20b",
            query: None,
            headers: &headers,
            body: b"",
        };
        assert_eq!(request.url(), "https://h:8443/a%20b");
        assert_eq!(Signable { query: Some(""), ..request }.url(), "https://h:8443/a%20b?");
        assert_eq!(Signable { query: Some("q=1&r=%2F"), ..request }.url(), "https://h:8443/a%20b?q=1&r=%2F");
    }

    #[test]
    fn a_header_is_signed_only_when_it_is_there_once() {
        let name = HeaderName::from_static("x-a");
        let mut headers = HeaderMap::new();
        let at = |headers: &HeaderMap, name: &HeaderName| {
            let request = Signable { method: "GET", host: "h", path: "/", query: None, headers, body: b"" };
            request.header(name).map(<[u8]>::to_vec)
        };
        assert_eq!(at(&headers, &name), Err(SignError::MissingHeader(name.clone())));
        assert_eq!(at(&headers, &http::header::HOST).unwrap(), b"h");
        headers.append(&name, "1".parse().unwrap());
        assert_eq!(at(&headers, &name).unwrap(), b"1");
        headers.append(&name, "2".parse().unwrap());
        assert_eq!(at(&headers, &name), Err(SignError::RepeatedHeader(name.clone())));
    }
}
