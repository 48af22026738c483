//! A real HTTP server above, and callers below that behave in every possible way: each request gets exactly its own
//! answer, in the order of the requests.

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::yield_now;

use super::*;

const LONG: Duration = Duration::from_secs(3600);

/// A server of one connection, and the requests it received.
struct Served {
    caller: DuplexStream,
    full: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

/// A server that answers with the path and the length of the body, unless it is full; then `POST /run/…` is
/// refused with the same text. At most `under_way` bytes of the connection are in transit.
fn serve(unseen: Duration, under_way: usize) -> Served {
    let (caller, stream) = duplex(under_way);
    let full = Arc::new(AtomicBool::new(false));
    let (seen, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (answered, is_full, count) = (Answered::default(), Arc::clone(&full), Arc::clone(&refused));
    let stream = Shedding::new(
        stream,
        answered.clone(),
        Malformed::default(),
        unseen,
        move |head: &RequestHead<'_>| {
            let refuse = is_full.load(Ordering::SeqCst) && head.method == "POST";
            refuse.then(|| {
                count.fetch_add(1, Ordering::SeqCst);
                let body = format!("refused {}", head.target);
                format!("HTTP/1.1 503 Full\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
            })
        },
    );
    let count = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        count.fetch_add(1, Ordering::SeqCst);
        let answered = answered.clone();
        async move {
            let path = request.uri().path().to_owned();
            // One handler does not read the body, another one reads it slowly.
            let length = if path.ends_with("/unread") {
                "?".to_owned()
            } else {
                request
                    .into_body()
                    .collect()
                    .await
                    .map_or("cut".to_owned(), |b| b.to_bytes().len().to_string())
            };
            if path.ends_with("/slow") {
                yield_now().await;
            }
            let body = if path.ends_with("/empty") { String::new() } else { format!("{path} {length}") };
            Ok::<_, Infallible>(Response::new(answered.watch(Body::from(body))))
        }
    });
    tokio::spawn(async move {
        let mut server = http1::Builder::new();
        let server = server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    });
    Served { caller, full, seen, refused }
}

impl Served {
    async fn send(&mut self, text: &str) {
        self.caller.write_all(text.as_bytes()).await.unwrap();
    }

    /// Status and body of the next answer.
    async fn answer(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.caller.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.caller.read_exact(&mut body).await.unwrap();
        (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
    }

    async fn ask(&mut self, text: &str) -> (u16, String) {
        self.send(text).await;
        self.answer().await
    }

    fn full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn counts(&self) -> (usize, usize) {
        (self.seen.load(Ordering::SeqCst), self.refused.load(Ordering::SeqCst))
    }
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn what_is_refused_never_comes_to_the_server_and_what_is_not_is_served() {
    let mut served = serve(LONG, 4096);
    assert_eq!(served.ask(&post("/run/1", "{}")).await, (200, "/run/1 2".into()));
    served.full(true);
    for turn in 0..3 {
        let path = format!("/run/{turn}");
        assert_eq!(served.ask(&post(&path, "{}")).await, (503, format!("refused {path}")));
    }
    let get = "GET /run/4 HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(served.ask(get).await, (200, "/run/4 0".into()));
    assert_eq!(served.ask(&post("/run/5", "")).await.0, 503);
    served.full(false);
    assert_eq!(served.ask(&post("/run/unread", "{}")).await, (200, "/run/unread ?".into()));
    assert_eq!(served.ask(&post("/run/empty", "{}")).await, (200, String::new()));
    served.full(true);
    assert_eq!(
        served.ask(&post("/run/6", "{}")).await.0,
        503,
        "after bodies that were not read or had no length"
    );
    assert_eq!(served.counts(), (4, 5));
}

#[tokio::test]
async fn what_cannot_be_followed_is_the_servers_from_then_on() {
    let chunked = "POST /run/1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let expects = "POST /run/1 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}";
    for first in [chunked, expects] {
        let mut served = serve(LONG, 4096);
        served.full(true);
        let mut answer = served.ask(first).await;
        if answer.0 == 100 {
            answer = served.answer().await;
        }
        assert_eq!(answer, (200, "/run/1 2".into()));
        assert_eq!(served.ask(&post("/run/2", "{}")).await, (200, "/run/2 2".into()));
        assert_eq!(served.counts(), (2, 0));
    }
    // Two at once: the second answer would overtake the first.
    let mut served = serve(LONG, 4096);
    served.send(&(post("/run/slow", "{}") + &post("/run/2", "{}"))).await;
    served.full(true);
    assert_eq!(served.answer().await.1, "/run/slow 2");
    assert_eq!(served.answer().await.1, "/run/2 2");
    assert_eq!(served.ask(&post("/run/3", "{}")).await.0, 200);
}

#[tokio::test]
async fn a_head_without_its_body_is_the_servers_and_the_next_request_is_not() {
    let mut served = serve(LONG, 4096);
    served.full(true);
    let text = post("/run/1", "{\"a\":1}");
    let (head, body) = text.split_at(text.len() - 4);
    served.send(head).await;
    while served.counts().0 == 0 {
        yield_now().await;
    }
    assert_eq!(served.ask(body).await, (200, "/run/1 7".into()));
    assert_eq!(served.ask(&text).await.0, 503);
    assert_eq!(served.counts(), (1, 1));
}

#[tokio::test]
async fn the_server_sees_a_request_now_and_then() {
    let mut served = serve(Duration::ZERO, 4096);
    served.full(true);
    assert_eq!(served.ask(&post("/run/1", "{}")).await.0, 200);
    let mut served = serve(LONG, 4096);
    served.full(true);
    assert_eq!(served.ask(&post("/run/1", "{}")).await.0, 503);
}

#[tokio::test]
async fn a_refusal_that_is_taken_a_few_bytes_at_a_time_is_whole() {
    let mut served = serve(LONG, 7);
    served.full(true);
    // Through so narrow a pipe no request arrives in one piece.
    assert_eq!(served.ask(&post("/run/1", "{}")).await.0, 200);
    let (caller, stream) = duplex(64);
    let text = b"HTTP/1.1 503 Full\r\ncontent-length: 0\r\n\r\n".repeat(10);
    let refusal = text.clone();
    let mut stream =
        Shedding::new(stream, Answered::default(), Malformed::default(), LONG, move |_: &RequestHead<'_>| {
            Some(refusal.clone())
        });
    let (mut from, mut to) = tokio::io::split(caller);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        from.read_to_end(&mut all).await.unwrap();
        all
    });
    to.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut nothing = [0; 64];
    tokio::select! {
        biased;
        _ = stream.read(&mut nothing) => panic!("nothing reaches the server"),
        () = async { for _ in 0..3 { yield_now().await; } } => {}
    }
    // The rest of it comes before anything else.
    stream.write_all(b"the end").await.unwrap();
    drop(stream);
    drop(to);
    assert_eq!(reading.await.unwrap(), [text.as_slice(), b"the end"].concat());
}

/// The caller's next step.
#[derive(Debug, Clone)]
enum Step {
    /// Sends a request: which kind, with a body of this length, in pieces of this length.
    Send { kind: u8, body: usize, piece: usize },
    /// Reads an answer, if one is due.
    Read,
    /// The server becomes full or has room again.
    Full(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let send =
        (0_u8..8, 0_usize..40, 1_usize..300).prop_map(|(kind, body, piece)| Step::Send { kind, body, piece });
    let step = prop_oneof![4 => send, 4 => Just(Step::Read), 2 => any::<bool>().prop_map(Step::Full)];
    proptest::collection::vec(step, 1..24)
}

/// The kind whose body is not read.
const UNREAD: u8 = 3;

fn request(kind: u8, number: usize, body: usize) -> String {
    let body = "GET / HTTP/1.1\r\n\r\n".repeat(3)[..body].to_owned();
    match kind {
        0 => format!("GET /run/{number} HTTP/1.1\r\nhost: x\r\n\r\n"),
        1 => format!(
            "POST /run/{number} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\nx{body}\r\n0\r\n\r\n",
            body.len() + 1
        ),
        2 => post(&format!("/run/{number}/slow"), &body),
        UNREAD => post(&format!("/run/{number}/unread"), &body),
        4 => post(&format!("/run/{number}/empty"), &body),
        _ => post(&format!("/run/{number}"), &body),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn each_request_has_its_own_answer_in_its_turn(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut served = serve(LONG, 1 << 16);
            let (mut sent, mut read) = (Vec::new(), 0);
            let all = steps.into_iter().chain(std::iter::repeat_n(Step::Read, 24));
            for step in all {
                match step {
                    Step::Full(full) => served.full(full),
                    Step::Send { kind, body, piece } => {
                        let text = request(kind, sent.len(), body);
                        // Why: a server closes the connection rather than wait for a body that is not read.
                        let piece = if kind == UNREAD { text.len() } else { piece };
                        for piece in text.as_bytes().chunks(piece) {
                            served.caller.write_all(piece).await.unwrap();
                            yield_now().await;
                        }
                        sent.push(kind);
                    }
                    Step::Read if read < sent.len() => {
                        let (status, body) = served.answer().await;
                        let own = format!("/run/{read}");
                        match (status, sent[read]) {
                            (503, 2..) => assert!(body.starts_with(&format!("refused {own}")), "{body}"),
                            (200, 4) => assert_eq!(body, ""),
                            (200, _) => assert!(body.starts_with(&own), "{body} for {own}"),
                            other => panic!("{other:?}"),
                        }
                        let after = body.rsplit("/run/").next().unwrap_or_default();
                        let number: String = after.chars().take_while(char::is_ascii_digit).collect();
                        assert!(body.is_empty() || number == read.to_string(), "{body} for {own}");
                        read += 1;
                    }
                    Step::Read => {}
                }
            }
            assert_eq!(read, sent.len());
            let (seen, refused) = served.counts();
            assert_eq!(seen + refused, sent.len());
        });
    }
}
