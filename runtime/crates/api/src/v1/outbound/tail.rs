//! `/org/{org}/outbound/stream`: the ledger as it grows, as server-sent events (WHATWG HTML 9.2).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use hyper::body::Bytes;
use portcullis_engine::audit::{self, LedgerLine};
use portcullis_engine::{Caller, Error, api_token};
use schemars::SchemaGenerator;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use crate::answer::{Answer, Content};
use crate::request::{Context, NoParameters};
use crate::service::Api;
use crate::v1::stream_body::{Broken, StreamBody};

/// Events that wait for a slow reader; a slower one receives the number of those it missed.
const EVENTS: usize = 64;
/// Media type of server-sent events.
const MEDIA: &str = "text/event-stream";
/// How often the stream checks whether the process is stopping and whether its token still stands.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between comments that keep proxies from closing an idle stream.
const BEATS_PER_COMMENT: u32 = 15;

/// A stream of server-sent events.
pub(crate) struct EventStream(Response<Body>);

impl Answer for EventStream {
    fn content(_: &mut SchemaGenerator) -> Content {
        vec![(MEDIA, None)]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        Ok(self.0)
    }
}

/// Follows the ledger.
pub(crate) async fn stream(context: Context, _: NoParameters, (): ()) -> Result<EventStream, Error> {
    let org = context.org().await?;
    let lines = audit::follow(context.engine(), context.caller()?, &org)?;
    let (sender, receiver) = mpsc::channel(EVENTS);
    let pump = Pump { api: Arc::clone(&context.api), caller: context.caller()?.clone(), sender };
    tokio::spawn(pump.run(lines));
    let mut response = Response::new(Body::new(StreamBody { pieces: receiver, broken: Broken::default() }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    Ok(EventStream(response))
}

type Lines = broadcast::Receiver<Arc<LedgerLine>>;

/// From the ledger to one reader.
struct Pump {
    api: Arc<Api>,
    caller: Caller,
    sender: mpsc::Sender<Bytes>,
}

impl Pump {
    async fn run(self, mut lines: Lines) {
        let mut beats = 0;
        let mut text = ": following\n\n".to_owned();
        while self.put(text).await {
            let Some(next) = self.next(&mut lines, &mut beats).await else { return };
            text = next;
        }
    }

    /// The next text; `None` when no more will come.
    async fn next(&self, lines: &mut Lines, beats: &mut u32) -> Option<String> {
        while self.may_go_on().await {
            tokio::select! {
                line = lines.recv() => return event(line),
                () = tokio::time::sleep(BEAT) => {
                    *beats += 1;
                    if beats.is_multiple_of(BEATS_PER_COMMENT) {
                        return Some(": still here\n\n".to_owned());
                    }
                }
                () = self.sender.closed() => return None,
            }
        }
        None
    }

    /// Gives the reader a text once there is room for it; false if the reader is gone or may not have it.
    async fn put(&self, text: String) -> bool {
        while self.may_go_on().await {
            let Ok(room) = tokio::time::timeout(BEAT, self.sender.reserve()).await else { continue };
            let Ok(room) = room else { return false };
            // Why again: the reader may have been slow, and the token may be gone since.
            if self.may_go_on().await {
                room.send(Bytes::from(text));
                return true;
            }
        }
        false
    }

    /// Whether the process goes on, and the token with which the stream was opened.
    async fn may_go_on(&self) -> bool {
        !self.api.is_draining() && api_token::still_stands(&self.api.engine, &self.caller).await
    }
}

/// A line as an event; none when no more will come.
fn event(line: Result<Arc<LedgerLine>, RecvError>) -> Option<String> {
    match line {
        // Why safe: a stored line is one line of JSON.
        Ok(line) => Some(format!("id: {}\nevent: record\ndata: {}\n\n", line.seq, line.as_text().trim_end())),
        Err(RecvError::Lagged(missed)) => Some(format!("event: lagged\ndata: {{\"missed\":{missed}}}\n\n")),
        Err(RecvError::Closed) => None,
    }
}
