//! The credential in a request: places an opened credential and signs the result. The last step before the
//! request is written; called by the guard.

use http::{HeaderName, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use portcullis_action::budget::{Budget, RENDERED_BYTES};
use portcullis_auth::Signable;
use portcullis_core::fault::Code;
use portcullis_core::injection::{Injected, Injection, InjectionError, Texts};
use portcullis_core::outbound::Method;
use portcullis_core::secret::SecretFields;
use portcullis_core::signing::{SignedPart, Signing};
use portcullis_core::target::Target;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::SendError;
use crate::redirect::Hop;
use crate::request::{self, Draft};
use crate::signing::{self, Moment};

/// A finished message, and the secret texts that the response must not show.
pub(crate) struct Message {
    pub(crate) request: Request<Full<Bytes>>,
    pub(crate) secrets: Vec<Zeroizing<String>>,
}

/// A message that carries no credential.
pub(crate) fn plain(target: &Target, hop: &Hop) -> Result<Request<Full<Bytes>>, SendError> {
    request::draft(target, hop)?.finish()
}

/// Places an opened credential in a message and signs it.
///
/// # Errors
/// `credential_missing` when the fields lack what the plan needs, `body_forbidden` when the body cannot take
/// the credential. Details go to the log, without values.
pub(crate) fn with_credential(
    target: &Target,
    hop: &Hop,
    injection: &Injection,
    fields: &SecretFields,
    config: &Map<String, Value>,
) -> Result<Message, SendError> {
    let refused = |error: InjectionError| {
        tracing::info!(%error, "the credential cannot be injected");
        SendError::from(Code::CredentialMissing)
    };
    let mut draft = request::draft(target, hop)?;
    let injected = apply(&mut draft, target, injection, fields, config).map_err(|error| match error {
        Refusal::Injection(error) => refused(error),
        Refusal::Body => SendError::from(Code::BodyForbidden),
    })?;
    Ok(Message { request: draft.finish()?, secrets: injected.secrets })
}

/// Checks that these fields are enough for the plan, on a request that is never sent: a key that cannot be
/// used is reported to the person who saves it.
///
/// # Errors
/// [`InjectionError`], which names the field.
pub fn try_injection(
    injection: &Injection,
    fields: &SecretFields,
    config: &Map<String, Value>,
) -> Result<(), InjectionError> {
    let unmade = || InjectionError::Signature("the request cannot be made".to_owned());
    let target = Target::parse(b"https://example.com/", 100).map_err(|_| unmade())?;
    let hop =
        Hop { method: Method::Get, headers: http::HeaderMap::new(), body: Bytes::new(), credential: true };
    let mut draft = request::draft(&target, &hop).map_err(|_| unmade())?;
    if let Some(Signing::Hmac(plan)) = &injection.signing {
        // Why filled in: which headers the actions set is not known here.
        for name in plan.parts.iter().filter_map(header_of) {
            draft.headers.entry(name.clone()).or_insert(http::HeaderValue::from_static("x"));
        }
    }
    match apply(&mut draft, &target, injection, fields, config) {
        Err(Refusal::Injection(error)) => Err(error),
        _ => Ok(()),
    }
}

fn header_of(part: &SignedPart) -> Option<&HeaderName> {
    match part {
        SignedPart::Header(name) => Some(name),
        _ => None,
    }
}

enum Refusal {
    Injection(InjectionError),
    Body,
}

impl From<InjectionError> for Refusal {
    fn from(error: InjectionError) -> Self {
        Self::Injection(error)
    }
}

fn apply(
    draft: &mut Draft,
    target: &Target,
    injection: &Injection,
    fields: &SecretFields,
    config: &Map<String, Value>,
) -> Result<Injected, Refusal> {
    let budget = Budget::rendering(RENDERED_BYTES);
    let texts = Texts::new(fields, config).within(&budget);
    let moment = match (&injection.jwt, &injection.signing) {
        (None, None) => None,
        _ => Some(Moment::now()?),
    };
    let jwt = match (&injection.jwt, &moment) {
        (Some(plan), Some(moment)) => Some(signing::jwt(plan, &texts, moment)?),
        _ => None,
    };
    let mut injected = injection.apply(fields, config, jwt)?;
    if let Some(pairs) = &injected.query {
        draft.uri.push(if target.query().is_some() { '&' } else { '?' });
        draft.uri.push_str(pairs);
    }
    for (name, value) in std::mem::take(&mut injected.headers) {
        draft.headers.insert(name, value);
    }
    if !injected.body.is_empty() && draft.has_body() {
        draft.fill_body(&injected.body).ok_or(Refusal::Body)?;
    }
    if let (Some(plan), Some(moment)) = (&injection.signing, &moment) {
        let (path, query) = match draft.uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (draft.uri.as_str(), None),
        };
        let request = Signable {
            method: draft.method.as_str(),
            host: target.authority(),
            path,
            query,
            headers: &draft.headers,
            body: &draft.body,
        };
        for (name, value) in signing::sign(plan, &request, &texts, moment)? {
            if let Ok(text) = value.to_str() {
                injected.secrets.push(Zeroizing::new(text.to_owned()));
            }
            draft.headers.insert(name, value);
        }
    }
    Ok(injected)
}
