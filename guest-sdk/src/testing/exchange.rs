//! One recorded exchange: the request that must come, and its answer.

use crate::{GateError, Method, Request, Response};

/// A request that the module must make: method and URL exactly, no body unless one is given.
///
/// ```
/// use portcullis_guest::Method;
/// use portcullis_guest::testing::expect;
///
/// let exchange = expect(Method::Delete, "https://api.example.com/contacts/c_1").answer(204, "");
/// ```
#[must_use]
pub fn expect(method: Method, url: impl Into<String>) -> Expected {
    Expected { method, url: url.into(), headers: Vec::new(), body: Body::None, credential: None }
}

/// What is known of the request. It becomes an [`Exchange`] with its answer.
///
/// ```
/// use portcullis_guest::Method;
/// use portcullis_guest::testing::{Expected, expect};
///
/// let expected: Expected = expect(Method::Get, "https://api.example.com/").header("accept", "text/csv");
/// ```
#[derive(Debug, Clone)]
pub struct Expected {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Body,
    credential: Option<String>,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Bytes(Vec<u8>),
    #[cfg(feature = "json")]
    Json(serde_json::Value),
}

impl Expected {
    /// This header must be there, with this value; others may be too.
    ///
    /// ```
    /// # use portcullis_guest::{Method, testing::expect};
    /// let expected = expect(Method::Get, "https://api.example.com/").header("accept", "text/csv");
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body must be these bytes.
    ///
    /// ```
    /// # use portcullis_guest::{Method, testing::expect};
    /// let expected = expect(Method::Post, "https://api.example.com/").body("a=1");
    /// ```
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Bytes(body.into());
        self
    }

    /// The body must be this JSON document, however it is written.
    ///
    /// ```
    /// # use portcullis_guest::{Method, testing::expect};
    /// let expected = expect(Method::Post, "https://api.example.com/").json(&serde_json::json!({ "a": 1 }));
    /// ```
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Body::Json(body.clone());
        self
    }

    /// The request must name this credential slot. Without this line it may name any or none.
    ///
    /// ```
    /// # use portcullis_guest::{Method, testing::expect};
    /// let expected = expect(Method::Get, "https://api.example.com/").credential("default");
    /// ```
    #[must_use]
    pub fn credential(mut self, slot: impl Into<String>) -> Self {
        self.credential = Some(slot.into());
        self
    }

    /// Its answer.
    ///
    /// ```
    /// # use portcullis_guest::{Method, testing::expect};
    /// let exchange = expect(Method::Get, "https://api.example.com/").answer(200, "a,b\n1,2\n");
    /// ```
    #[must_use]
    pub fn answer(self, status: u16, body: impl Into<Vec<u8>>) -> Exchange {
        let response = Response { status, headers: Vec::new(), body: body.into(), redacted: false };
        Exchange { expected: self, outcome: Ok(response) }
    }

    /// Its answer, as JSON with the content type.
    ///
    /// ```
    /// # use portcullis_guest::{Method, testing::expect};
    /// let exchange = expect(Method::Get, "https://api.example.com/").answer_json(200, &serde_json::json!([]));
    /// ```
    #[cfg(feature = "json")]
    #[must_use]
    pub fn answer_json(self, status: u16, body: &serde_json::Value) -> Exchange {
        self.answer(status, body.to_string()).with_header("content-type", "application/json")
    }

    /// No answer, for this reason.
    ///
    /// ```
    /// # use portcullis_guest::{GateError, Method, testing::expect};
    /// let exchange = expect(Method::Get, "https://api.example.com/").fail(GateError::ConnectFailed);
    /// ```
    #[must_use]
    pub fn fail(self, reason: GateError) -> Exchange {
        Exchange { expected: self, outcome: Err(reason) }
    }

    /// In what the request differs, if it does.
    pub(super) fn difference(&self, request: &Request) -> Option<String> {
        if (self.method, &self.url) != (request.method, &request.url) {
            return Some(format!("expected {:?} {}", self.method, self.url));
        }
        for (name, value) in &self.headers {
            let is_there = request
                .headers
                .iter()
                .any(|(n, v)| n.eq_ignore_ascii_case(name) && v.as_slice() == value.as_bytes());
            if !is_there {
                return Some(format!(
                    "expected the header {name}: {value}, got {:?}",
                    texts(&request.headers)
                ));
            }
        }
        if self.credential.is_some() && self.credential != request.credential {
            return Some(format!(
                "expected the credential {:?}, got {:?}",
                self.credential, request.credential
            ));
        }
        let got = request.body.as_deref();
        let is_same = match &self.body {
            Body::None => got.is_none(),
            Body::Bytes(bytes) => got == Some(bytes.as_slice()),
            #[cfg(feature = "json")]
            Body::Json(value) => {
                got.and_then(|got| serde_json::from_slice::<serde_json::Value>(got).ok()).as_ref()
                    == Some(value)
            }
        };
        let shown = || got.map_or("none".into(), String::from_utf8_lossy);
        (!is_same).then(|| format!("expected the body {}, got {}", self.body.shown(), shown()))
    }
}

impl Body {
    fn shown(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            #[cfg(feature = "json")]
            Self::Json(value) => value.to_string(),
        }
    }
}

fn texts(headers: &[(String, Vec<u8>)]) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
}

/// A request and its answer, ready for a [`FakeGate`](super::FakeGate).
///
/// ```
/// use portcullis_guest::Method;
/// use portcullis_guest::testing::{Exchange, FakeGate, expect};
///
/// let exchange: Exchange = expect(Method::Get, "https://api.example.com/").answer(200, "");
/// let gate = FakeGate::new([exchange]);
/// ```
#[derive(Debug, Clone)]
pub struct Exchange {
    pub(super) expected: Expected,
    pub(super) outcome: Result<Response, GateError>,
}

impl Exchange {
    /// Adds a header to the answer.
    ///
    /// ```
    /// # use portcullis_guest::{Method, testing::expect};
    /// let exchange = expect(Method::Get, "https://api.example.com/").answer(200, "").with_header("etag", "\"1\"");
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        if let Ok(response) = &mut self.outcome {
            response.headers.push((name.into(), value.into()));
        }
        self
    }
}
