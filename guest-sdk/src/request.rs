//! Building a request.

use crate::encode::{encoded, push_encoded};
use crate::{Method, Request, RequestOptions, Response, Result};

/// A request by its method: `Request::get(url)`.
macro_rules! methods {
    ($($function:ident $method:ident $text:literal),+) => {$(
        #[doc = concat!("A `", $text, "` request. See [`Request::new`].")]
        ///
        /// ```
        #[doc = concat!("let request = portcullis_guest::Request::", stringify!($function), "(\"https://api.example.com/\");")]
        #[doc = concat!("assert_eq!(request.method, portcullis_guest::Method::", stringify!($method), ");")]
        /// ```
        #[must_use]
        pub fn $function(url: impl Into<String>) -> Self {
            Self::new(Method::$method, url)
        }
    )+};
}

impl Request {
    /// A request without headers, body and credential. The URL is absolute and `https`; the host refuses what the
    /// definition's `requests` do not list. Values go into it with [`path`](Self::path) and [`query`](Self::query).
    ///
    /// ```
    /// use portcullis_guest::{Method, Request};
    ///
    /// let request = Request::new(Method::Options, "https://api.example.com/v1");
    /// assert!(request.body.is_none());
    /// ```
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: None, credential: None, options: None }
    }

    methods!(
        get Get "GET", post Post "POST", put Put "PUT", patch Patch "PATCH", delete Delete "DELETE", head Head "HEAD"
    );

    /// Replaces `{name}` in the URL with the encoded value: one segment, whatever is in it.
    ///
    /// ```
    /// let request = portcullis_guest::Request::get("https://api.example.com/files/{name}").path("name", "a/b c");
    /// assert_eq!(request.url, "https://api.example.com/files/a%2Fb%20c");
    /// ```
    ///
    /// The host refuses a segment that is `.` or `..`, in any spelling.
    #[must_use]
    pub fn path(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.url = self.url.replace(&format!("{{{name}}}"), &encoded(value.as_ref()));
        self
    }

    /// Adds a pair to the query, encoded.
    ///
    /// ```
    /// let request = portcullis_guest::Request::get("https://api.example.com/contacts")
    ///     .query("email", "ada+1@example.org")
    ///     .query("limit", "10");
    /// assert_eq!(request.url, "https://api.example.com/contacts?email=ada%2B1%40example.org&limit=10");
    /// ```
    #[must_use]
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        push_encoded(name, &mut self.url);
        self.url.push('=');
        push_encoded(value.as_ref(), &mut self.url);
        self
    }

    /// Adds a header. Those that frame a message (`host`, `content-length`, …) and the credential's own are the
    /// host's: a request that has them is refused.
    ///
    /// ```
    /// let request = portcullis_guest::Request::get("https://api.example.com/").header("accept", "text/csv");
    /// assert_eq!(request.headers.len(), 1);
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body. Say with a header what it is.
    ///
    /// ```
    /// let request = portcullis_guest::Request::put("https://api.example.com/notes/1")
    ///     .header("content-type", "text/plain")
    ///     .body("hello");
    /// assert_eq!(request.body.as_deref(), Some(b"hello".as_slice()));
    /// ```
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets a form as the body, with its content type.
    ///
    /// ```
    /// let request = portcullis_guest::Request::post("https://api.example.com/charges")
    ///     .form([("amount", "100"), ("note", "a & b")]);
    /// assert_eq!(request.body.as_deref(), Some(b"amount=100&note=a%20%26%20b".as_slice()));
    /// ```
    #[must_use]
    pub fn form<N: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut body = String::new();
        for (name, value) in pairs {
            if !body.is_empty() {
                body.push('&');
            }
            push_encoded(name.as_ref(), &mut body);
            body.push('=');
            push_encoded(value.as_ref(), &mut body);
        }
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// Sets a JSON document as the body, with its content type.
    ///
    /// ```
    /// # fn main() -> portcullis_guest::Result<()> {
    /// let request = portcullis_guest::Request::post("https://api.example.com/contacts")
    ///     .json(&serde_json::json!({ "email": "ada@example.org" }))?;
    /// assert_eq!(request.body.as_deref(), Some(br#"{"email":"ada@example.org"}"#.as_slice()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Only for a value that is no JSON, such as a map whose keys are no texts.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        let body = serde_json::to_vec(value)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Names the credential slot that the host injects: `default`, or the id of an `auth_methods` entry. A request
    /// that names none goes out without a credential, as a download by a signed link must.
    ///
    /// ```
    /// let request = portcullis_guest::Request::get("https://api.example.com/").credential("default");
    /// assert_eq!(request.credential.as_deref(), Some("default"));
    /// ```
    #[must_use]
    pub fn credential(mut self, slot: impl Into<String>) -> Self {
        self.credential = Some(slot.into());
        self
    }

    /// Refuses an answer that is larger. It can only lower the host's limit.
    ///
    /// ```
    /// let request = portcullis_guest::Request::get("https://api.example.com/").max_response_bytes(65_536);
    /// assert_eq!(request.options.and_then(|options| options.max_response_bytes), Some(65_536));
    /// ```
    #[must_use]
    pub fn max_response_bytes(mut self, bytes: u64) -> Self {
        self.limits().max_response_bytes = Some(bytes);
        self
    }

    /// The time limit of the whole request, milliseconds. It can only lower the host's.
    ///
    /// ```
    /// let request = portcullis_guest::Request::get("https://api.example.com/").timeout_ms(2_000);
    /// assert_eq!(request.options.and_then(|options| options.total_timeout_ms), Some(2_000));
    /// ```
    #[must_use]
    pub fn timeout_ms(mut self, ms: u32) -> Self {
        self.limits().total_timeout_ms = Some(ms);
        self
    }

    fn limits(&mut self) -> &mut RequestOptions {
        self.options.get_or_insert(RequestOptions {
            connect_timeout_ms: None,
            first_byte_timeout_ms: None,
            total_timeout_ms: None,
            max_response_bytes: None,
        })
    }

    /// Sends the request. Any answer is a success here; [`Response::ok`] looks at its status.
    ///
    /// ```
    /// use portcullis_guest::testing::{FakeGate, expect};
    /// use portcullis_guest::{Method, Request};
    ///
    /// let gate = FakeGate::new([expect(Method::Get, "https://api.example.com/").answer(404, "no")]);
    /// let status = gate.run(|| Request::get("https://api.example.com/").send().map(|answer| answer.status));
    /// assert_eq!(status.ok(), Some(404));
    /// ```
    ///
    /// # Errors
    /// [`Error`](crate::Error) with the gate's reason, if there is no answer.
    pub fn send(&self) -> Result<Response> {
        Ok(crate::send(self)?)
    }
}
