//! Reading an answer.

use crate::{Error, Response, Result};

/// Of the body of a refused answer the failure keeps what the definition's error rules may read.
#[cfg(feature = "json")]
const KEPT_BODY_BYTES: usize = 64 * 1024;

impl Response {
    /// Whether the status is 2xx.
    ///
    /// ```
    /// # use portcullis_guest::Response;
    /// # let response = Response { status: 204, headers: vec![], body: vec![], redacted: false };
    /// assert!(response.is_success());
    /// ```
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer, if its status is 2xx.
    ///
    /// ```
    /// # use portcullis_guest::Response;
    /// # let response = Response { status: 404, headers: vec![], body: vec![], redacted: false };
    /// let error = response.ok().unwrap_err();
    /// assert_eq!((error.status(), error.code()), (Some(404), "upstream_status"));
    /// ```
    ///
    /// # Errors
    /// [`Error`] with the code `upstream_status`, the class of the status and the answer.
    pub fn ok(self) -> Result<Self> {
        if self.is_success() { Ok(self) } else { Err(Error::of_answer(&self)) }
    }

    /// The answer, or `None` for 404: what is asked for does not exist. Other statuses as [`ok`](Self::ok) does.
    ///
    /// ```
    /// # use portcullis_guest::Response;
    /// # let response = Response { status: 404, headers: vec![], body: vec![], redacted: false };
    /// assert!(response.ok_or_none().is_ok_and(|answer| answer.is_none()));
    /// ```
    ///
    /// # Errors
    /// As [`ok`](Self::ok), but not for 404.
    pub fn ok_or_none(self) -> Result<Option<Self>> {
        if self.status == 404 { Ok(None) } else { self.ok().map(Some) }
    }

    /// The first header with that name, in any case, as text.
    ///
    /// ```
    /// # use portcullis_guest::Response;
    /// # let headers = vec![("Content-Type".to_owned(), b"text/csv".to_vec())];
    /// # let response = Response { status: 200, headers, body: vec![], redacted: false };
    /// assert_eq!(response.header("content-type"), Some("text/csv"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The target of the `Link` header with that relation (RFC 8288): the next page of many APIs.
    ///
    /// ```
    /// # use portcullis_guest::Response;
    /// # let link = br#"<https://api.example.com/items?page=2>; rel="next", <https://x.example/>; rel="last""#;
    /// # let headers = vec![("link".to_owned(), link.to_vec())];
    /// # let response = Response { status: 200, headers, body: vec![], redacted: false };
    /// assert_eq!(response.link("next"), Some("https://api.example.com/items?page=2"));
    /// assert_eq!(response.link("prev"), None);
    /// ```
    #[must_use]
    pub fn link(&self, relation: &str) -> Option<&str> {
        let mut rest = self.header("link")?;
        while let Some((_, after)) = rest.split_once('<') {
            let (target, after) = after.split_once('>')?;
            let (parameters, next) = after.split_once(",").unwrap_or((after, ""));
            let is_it = parameters.split(';').any(|parameter| {
                parameter.trim().strip_prefix("rel=").is_some_and(|value| value.trim_matches('"') == relation)
            });
            if is_it {
                return Some(target);
            }
            rest = next;
        }
        None
    }

    /// The body as text.
    ///
    /// ```
    /// # use portcullis_guest::Response;
    /// # let response = Response { status: 200, headers: vec![], body: b"a,b".to_vec(), redacted: false };
    /// assert_eq!(response.text().ok(), Some("a,b"));
    /// ```
    ///
    /// # Errors
    /// The code `response_unreadable`, if it is no UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body)
            .map_err(|error| Error::new("response_unreadable", format!("the answer is no text: {error}")))
    }

    /// The body read as JSON.
    ///
    /// ```
    /// # use portcullis_guest::Response;
    /// # let response = Response { status: 200, headers: vec![], body: br#"{"id":7}"#.to_vec(), redacted: false };
    /// #[derive(serde::Deserialize)]
    /// struct Contact {
    ///     id: u64,
    /// }
    /// assert_eq!(response.json::<Contact>().map(|contact| contact.id).ok(), Some(7));
    /// ```
    ///
    /// # Errors
    /// The code `response_unreadable`, if it is no such document.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new("response_unreadable", format!("the answer is not as expected: {error}"))
        })
    }

    /// The answer as the host's error rules read it.
    #[cfg(feature = "json")]
    pub(crate) fn as_document(&self, class: &str, retry: bool) -> String {
        use serde_json::{Map, Value, json};

        let mut headers = Map::new();
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value);
            let joined = match headers.get(&name.to_ascii_lowercase()).and_then(Value::as_str) {
                Some(before) => format!("{before}, {value}"),
                None => value.into_owned(),
            };
            headers.insert(name.to_ascii_lowercase(), joined.into());
        }
        let body = if self.body.len() > KEPT_BODY_BYTES {
            Value::Null
        } else {
            let text = || Value::from(String::from_utf8_lossy(&self.body));
            serde_json::from_slice(&self.body).unwrap_or_else(|_| text())
        };
        let action = if retry { "retry" } else { "fail" };
        let error =
            json!({ "class": class, "action": action, "ruled": false, "code": null, "message": null });
        json!({ "status": self.status, "headers": headers, "body": body, "error": error }).to_string()
    }
}
