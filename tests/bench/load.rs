//! Load over kept-alive connections: requests that were written down before, and an eye on nothing but
//! the status and the length of what comes back, so that little CPU goes to the one who asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Failure;

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = token.map(|t| format!("authorization: Bearer {t}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Where requests go, and which; they are taken in turn.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Microseconds of each answered request, in no order.
    pub(crate) latencies: Vec<u32>,
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Connections that ended in the middle.
    pub(crate) cut: u64,
    /// How long it took.
    pub(crate) wall: Duration,
}

impl Outcome {
    /// Answers with a status below 300.
    pub(crate) fn good(&self) -> u64 {
        self.statuses.iter().filter(|(status, _)| **status < 300).map(|(_, n)| n).sum()
    }

    /// Good answers a second.
    #[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
    pub(crate) fn per_second(&self) -> f64 {
        self.good() as f64 / self.wall.as_secs_f64()
    }

    /// The latency that this share of the answers stayed below, microseconds.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a list of bounded length"
    )]
    pub(crate) fn quantile(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(index.min(self.latencies.len().saturating_sub(1))).copied().map_or(0.0, f64::from)
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.cut += other.cut;
    }
}

/// Every connection sends its next request when the answer to the last is there.
pub(crate) async fn closed_loop(
    plan: &Plan,
    connections: usize,
    length: Duration,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let until = started + length;
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let plan = plan.clone();
        tasks.spawn(async move {
            let mut outcome = Outcome::default();
            let mut connection = Connection::open(plan.address).await?;
            let mut turn = number;
            // At least once, however short the time: some probes ask once of many connections.
            while let Some(request) = plan.requests.get(turn % plan.requests.len()) {
                turn += connections;
                let asked = Instant::now();
                match connection.ask(request).await {
                    Ok(status) => {
                        outcome.latencies.push(u32::try_from(asked.elapsed().as_micros())?);
                        *outcome.statuses.entry(status).or_default() += 1;
                    }
                    Err(_) => {
                        outcome.cut += 1;
                        connection = Connection::open(plan.address).await?;
                    }
                }
                if Instant::now() >= until {
                    break;
                }
            }
            Ok::<_, Failure>(outcome)
        });
    }
    let mut total = Outcome::default();
    while let Some(done) = tasks.join_next().await {
        total.add(done??);
    }
    total.wall = started.elapsed();
    Ok(total)
}

/// One kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    #[allow(clippy::disallowed_methods, reason = "the benchmark's own servers on loopback")]
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8192) })
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<u16, Failure> {
        Ok(self.exchange(request).await?.0)
    }

    /// Sends a request; status and body of the answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Failure> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (status, head, length) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection was closed".into());
            }
            if let Some(found) = head(&self.buffer)? {
                break found;
            }
        };
        while self.buffer.len() < head + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection was closed in an answer".into());
            }
        }
        Ok((status, self.buffer.get(head..head + length).unwrap_or_default()))
    }
}

/// Status, length of the head and length of the body, once the head is whole.
fn head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>, Failure> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    // Every server here says how long its answers are; 204 has none.
    let status = status.ok_or("an answer without a status")?;
    Ok(Some((status, end + 4, length.unwrap_or(0))))
}
