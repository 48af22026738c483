//! Signatures made with an opened credential: renders a definition's plan and calls the signer in
//! `portcullis-auth`. Called by [`crate::inject`].
//!
//! A JWT is made before injection, because templates refer to it; a request signature is made last, because
//! it covers the bytes that are sent.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use portcullis_auth::{
    JwtSpec, OAuth1Spec, SigV4Spec, SignError, Signable, sign_hmac, sign_jwt, sign_oauth1, sign_sigv4,
    timestamp,
};
use portcullis_core::injection::{InjectionError, SignTexts, Texts};
use portcullis_core::secret::SecretValue;
use portcullis_core::signing::{HmacPlan, JwtPlan, OAuth1Plan, SigV4Plan, Signing};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Time and nonce of a signature.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    now_ms: u64,
    nonce: String,
}

impl Moment {
    /// Now, with a fresh nonce of 128 bits.
    ///
    /// # Errors
    /// [`InjectionError::Signature`] without random bytes from the operating system.
    pub(crate) fn now() -> Result<Self, InjectionError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|_| InjectionError::Signature("no random bytes from the operating system".to_owned()))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { now_ms, nonce: format!("{:032x}", u128::from_be_bytes(bytes)) })
    }
}

/// Headers that a signature sets, marked sensitive.
pub(crate) type SignedHeaders = Vec<(HeaderName, HeaderValue)>;

fn failed(what: &str) -> impl Fn(SignError) -> InjectionError + '_ {
    move |error| InjectionError::Signature(format!("{what}: {error}"))
}

/// Signs the JWT of a plan.
pub(crate) fn jwt(
    plan: &JwtPlan,
    texts: &Texts<'_>,
    moment: &Moment,
) -> Result<Zeroizing<String>, InjectionError> {
    let key = key(texts, &plan.key_field)?;
    // Why issued up to a minute ago: an upstream whose clock is behind refuses a token from the future. Why
    // the lifetime counts from there: an upstream that allows an hour refuses an hour and a minute.
    let ttl_s = u64::from(plan.ttl_s);
    let issued = (moment.now_ms / 1000).saturating_sub(60.min(ttl_s / 2));
    let mut claims = plan.claims.clone();
    for (name, template) in &plan.claim_templates {
        claims.insert(name.clone(), Value::String(texts.render(template)?.to_string()));
    }
    claims.entry("iat").or_insert_with(|| json!(issued));
    claims.entry("exp").or_insert_with(|| json!(issued + ttl_s));
    let kid = plan.kid.as_ref().map(|kid| texts.render(kid)).transpose()?;
    let spec =
        JwtSpec { alg: plan.alg, kid: kid.map(|kid| kid.to_string()), header: plan.header.clone(), claims };
    sign_jwt(&spec, key.expose()).map_err(failed(&plan.key_field))
}

fn key<'f>(texts: &Texts<'f>, field: &str) -> Result<&'f SecretValue, InjectionError> {
    texts.fields.get(field).ok_or_else(|| InjectionError::Missing(field.to_owned()))
}

/// Signs a finished request.
pub(crate) fn sign(
    signing: &Signing,
    request: &Signable<'_>,
    texts: &Texts<'_>,
    moment: &Moment,
) -> Result<SignedHeaders, InjectionError> {
    match signing {
        Signing::Hmac(plan) => hmac(plan, request, texts, moment),
        Signing::SigV4(plan) => sigv4(plan, request, texts, moment),
        Signing::OAuth1(plan) => oauth1(plan, request, texts, moment),
    }
}

fn hmac(
    plan: &HmacPlan,
    request: &Signable<'_>,
    texts: &Texts<'_>,
    moment: &Moment,
) -> Result<SignedHeaders, InjectionError> {
    let mut headers = SignedHeaders::new();
    let time = timestamp(plan.timestamp_format, moment.now_ms);
    for (name, text) in [(&plan.timestamp_header, &time), (&plan.nonce_header, &moment.nonce)] {
        if let Some(name) = name {
            headers.push((name.clone(), value(text)?));
        }
    }
    // Why set before signing: a signature may cover the headers that carry time and nonce.
    let mut with = request.headers.clone();
    for (name, value) in &headers {
        with.insert(name.clone(), value.clone());
    }
    let request = Signable { headers: &with, ..*request };
    let key = key(texts, &plan.key_field)?.expose().as_bytes();
    let signature =
        sign_hmac(plan, &request, key, moment.now_ms, &moment.nonce).map_err(failed("signature"))?;
    let text = match &plan.format {
        None => signature,
        Some(format) => {
            let sign = SignTexts { signature: &signature, timestamp: &time, nonce: &moment.nonce };
            Texts { sign: Some(sign), ..*texts }.render(format)?
        }
    };
    headers.push((plan.header.clone(), value(&text)?));
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, InjectionError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| InjectionError::Character)?;
    value.set_sensitive(true);
    Ok(value)
}

fn sigv4(
    plan: &SigV4Plan,
    request: &Signable<'_>,
    texts: &Texts<'_>,
    moment: &Moment,
) -> Result<SignedHeaders, InjectionError> {
    let (service, region) = (texts.render(&plan.service)?, texts.render(&plan.region)?);
    let (access_key, secret_key) = (texts.render(&plan.access_key)?, texts.render(&plan.secret_key)?);
    // Why a missing value is no error: a session token is optional in the form.
    let session_token = match &plan.session_token {
        Some(template) => match texts.render(template) {
            Err(InjectionError::Missing(_)) => None,
            other => Some(other?),
        },
        None => None,
    };
    let spec = SigV4Spec {
        service: &service,
        region: &region,
        access_key: &access_key,
        secret_key: &secret_key,
        session_token: session_token.as_ref().map(|token| token.as_str()),
        unsigned_payload: plan.unsigned_payload,
        double_encode_path: plan.double_encode_path.unwrap_or(service.as_str() != "s3"),
    };
    sign_sigv4(&spec, request, moment.now_ms).map_err(failed("signature"))
}

fn oauth1(
    plan: &OAuth1Plan,
    request: &Signable<'_>,
    texts: &Texts<'_>,
    moment: &Moment,
) -> Result<SignedHeaders, InjectionError> {
    let (consumer_key, consumer_secret) =
        (texts.render(&plan.consumer_key)?, texts.render(&plan.consumer_secret)?);
    let (token, token_secret) = (texts.render(&plan.token)?, texts.render(&plan.token_secret)?);
    let realm = plan.realm.as_ref().map(|realm| texts.render(realm)).transpose()?;
    let spec = OAuth1Spec {
        method: plan.method,
        consumer_key: &consumer_key,
        consumer_secret: &consumer_secret,
        token: &token,
        token_secret: &token_secret,
        realm: realm.as_ref().map(|realm| realm.as_str()),
    };
    let line =
        sign_oauth1(&spec, request, moment.now_ms / 1000, &moment.nonce).map_err(failed("signature"))?;
    Ok(vec![(http::header::AUTHORIZATION, line)])
}
