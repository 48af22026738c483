//! Requests that two readers could take for two different ones: refused before the router (RFC 9112 section 3.2). What
//! the bytes of their heads say is found below the server; see [`Malformed`].

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use portcullis_admission::is_host;
use portcullis_core::fault::Code;
use portcullis_engine::Error;

use super::shedding_stream::Malformed;
use crate::dispatch::finish;
use crate::service::Api;
use crate::{problem, request_id};

/// The refusal of a request whose head, or anything before it on its connection, is malformed.
pub(super) fn refusal<B>(
    api: &Arc<Api>,
    request: &Request<B>,
    malformed: &Malformed,
) -> Option<Response<Body>> {
    let detail: Cow<'static, str> = match malformed.fault() {
        Some(fault) => fault.to_string().into(),
        None => host_fault(request)?.into(),
    };
    api.count_request();
    let id = request_id::of(request.headers());
    let mut response = finish(api, problem::response(&Error::new(Code::BadRequest, detail), &id), &id);
    // Why: nothing that follows on this connection can be trusted to begin where it seems to.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

/// What is wrong with the host that a request names.
fn host_fault<B>(request: &Request<B>) -> Option<&'static str> {
    let host = match only_host(request.headers()) {
        Ok(host) => host,
        Err(fault) => return Some(fault),
    };
    match host {
        None if request.version() >= Version::HTTP_11 => Some("an HTTP/1.1 request must have one Host"),
        Some(host) if !is_host(host) => Some("Host must be a host name or an address, and perhaps a port"),
        _ => {
            let authority = request.uri().authority().filter(|_| request.method() != Method::CONNECT)?;
            let named = authority.as_str().as_bytes();
            let is_same = is_host(named) && host.is_none_or(|host| host.eq_ignore_ascii_case(named));
            (!is_same).then_some("the host of the request's target and Host must be the same")
        }
    }
}

/// The value of `Host`.
fn only_host(headers: &HeaderMap) -> Result<Option<&[u8]>, &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err("a request must not have more than one Host"),
        (host, None) => Ok(host.map(HeaderValue::as_bytes)),
    }
}
