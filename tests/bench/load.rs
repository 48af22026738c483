//! Load over kept-alive connections: requests that were formatted before, and of the answers only
//! the status and the length are read, so that the load generator uses little CPU.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Failure;

/// A request as sent.
pub(crate) fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    request_with(method, path, token, "content-type: application/json\r\n", body.as_bytes())
}

/// The same with these lines of its head, each with its end.
pub(crate) fn request_with(
    method: &str,
    path: &str,
    token: Option<&str>,
    lines: &str,
    body: &[u8],
) -> Vec<u8> {
    let authorization = token.map(|t| format!("authorization: Bearer {t}\r\n")).unwrap_or_default();
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}{lines}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// The destination and the requests, which are sent in turn.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
}

impl Plan {
    fn request(&self, turn: usize) -> &[u8] {
        self.requests.get(turn % self.requests.len().max(1)).map_or(&[], Vec::as_slice)
    }
}

/// The result of a load.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Microseconds of each good answer, unordered.
    pub(crate) latencies: Vec<u32>,
    /// Microseconds of each other answer.
    pub(crate) refusals: Vec<u32>,
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Connections that were closed during an answer.
    pub(crate) cut: u64,
    /// Duration.
    pub(crate) wall: Duration,
}

impl Outcome {
    /// Answers with a status below 300.
    pub(crate) fn good(&self) -> u64 {
        self.statuses.iter().filter(|(status, _)| **status < 300).map(|(_, n)| n).sum()
    }

    /// All answers.
    pub(crate) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Fails unless every request had a good answer.
    pub(crate) fn all_good(&self) -> Result<(), Failure> {
        if self.cut == 0 && self.good() == self.answered() {
            return Ok(());
        }
        Err(format!("not every request succeeded: {:?}, {} cut", self.statuses, self.cut).into())
    }

    /// Good answers per second.
    #[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
    pub(crate) fn per_second(&self) -> f64 {
        self.good() as f64 / self.wall.as_secs_f64()
    }

    /// The latency below which this share of the answers stayed, microseconds.
    pub(crate) fn quantile(&mut self, share: f64) -> f64 {
        quantile(&mut self.latencies, share)
    }

    /// The same for the answers that were not good.
    pub(crate) fn refused_quantile(&mut self, share: f64) -> f64 {
        quantile(&mut self.refusals, share)
    }

    /// Requests per second, however they were answered.
    #[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
    pub(crate) fn asked_per_second(&self) -> f64 {
        self.answered() as f64 / self.wall.as_secs_f64()
    }

    fn note_or_cut(&mut self, answer: Result<u16, Failure>, took: Duration) {
        match answer {
            Ok(status) => self.note(status, took),
            Err(_) => self.cut += 1,
        }
    }

    fn note(&mut self, status: u16, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if status < 300 {
            self.latencies.push(took);
        } else {
            self.refusals.push(took);
        }
        *self.statuses.entry(status).or_default() += 1;
    }

    /// Adds another load's answers to these; the duration stays.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refusals.extend(other.refusals);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.cut += other.cut;
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into a list of bounded length"
)]
fn quantile(values: &mut [u32], share: f64) -> f64 {
    values.sort_unstable();
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().map_or(0.0, f64::from)
}

/// Every connection sends its next request after the answer to the last.
pub(crate) async fn closed_loop(
    plan: &Plan,
    connections: usize,
    length: Duration,
) -> Result<Outcome, Failure> {
    let until = Instant::now() + length;
    // At least once, however short the time.
    let more = move |turn: usize, _: &Connection| turn == 0 || Instant::now() < until;
    each(plan, connections, None, more).await
}

/// A fixed number of requests per second, spread over the connections; a connection whose answer is late sends its next
/// request at once.
#[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
pub(crate) async fn paced(
    plan: &Plan,
    connections: usize,
    rate: f64,
    length: Duration,
) -> Result<Outcome, Failure> {
    let connected = Arc::new(Barrier::new(connections));
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let (plan, connected) = (plan.clone(), Arc::clone(&connected));
        tasks.spawn(async move {
            let mut connection = Connection::open(plan.address).await?;
            // Why: making the connections takes a while, and is not measured.
            connected.wait().await;
            let started = Instant::now();
            let mut outcome = Outcome::default();
            for turn in (number..).step_by(connections) {
                let due = started + Duration::from_secs_f64(turn as f64 / rate);
                if due.max(Instant::now()) >= started + length {
                    break;
                }
                tokio::time::sleep_until(due.into()).await;
                let asked = Instant::now();
                let answer = connection.ask(plan.request(turn)).await;
                // Later answers do not belong to the measured time.
                if started.elapsed() < length {
                    outcome.note_or_cut(answer, asked.elapsed());
                }
            }
            Ok(outcome)
        });
    }
    let mut total = sum(tasks).await?;
    total.wall = length;
    Ok(total)
}

/// Every connection sends one request, at this rate per second.
pub(crate) async fn one_by_one(plan: &Plan, connections: usize, rate: f64) -> Result<Outcome, Failure> {
    each(plan, connections, Some(rate), |turn, _| turn == 0).await
}

/// Like [`closed_loop`], until the answer announces that the connection will be closed.
pub(crate) async fn until_sent_away(
    plan: &Plan,
    connections: usize,
    longest: Duration,
) -> Result<Outcome, Failure> {
    let until = Instant::now() + longest;
    each(plan, connections, None, move |_, c| !c.sent_away && Instant::now() < until).await
}

/// Every request of the plan once.
pub(crate) async fn send_all(plan: &Plan, connections: usize) -> Result<(), Failure> {
    let count = plan.requests.len();
    let connections = connections.min(count);
    let share = move |number: usize| (count - number).div_ceil(connections);
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let more = move |turn: usize, _: &Connection| turn < share(number);
        tasks.spawn(one(plan.clone(), number, connections, more));
    }
    sum(tasks).await?.all_good()
}

/// Connections that each continue while there is `more` to send; all at once, or at this rate per second.
#[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
async fn each(
    plan: &Plan,
    connections: usize,
    rate: Option<f64>,
    more: impl Fn(usize, &Connection) -> bool + Clone + Send + 'static,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let (plan, more) = (plan.clone(), more.clone());
        tasks.spawn(async move {
            if let Some(rate) = rate {
                let due = started + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
            }
            one(plan, number, connections, more).await
        });
    }
    let mut total = sum(tasks).await?;
    total.wall = started.elapsed();
    Ok(total)
}

async fn sum(mut tasks: JoinSet<Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    let mut total = Outcome::default();
    while let Some(done) = tasks.join_next().await {
        total.add(done??);
    }
    Ok(total)
}

/// One connection's part: every `connections`-th request, starting with its own number.
async fn one(
    plan: Plan,
    number: usize,
    connections: usize,
    more: impl Fn(usize, &Connection) -> bool,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let mut connection = Connection::open(plan.address).await?;
    let mut turn = 0;
    while more(turn, &connection) {
        let asked = Instant::now();
        let answer = connection.ask(plan.request(number + turn * connections)).await;
        let cut = answer.is_err();
        outcome.note_or_cut(answer, asked.elapsed());
        if cut {
            connection = Connection::open(plan.address).await?;
        }
        turn += 1;
    }
    Ok(outcome)
}

/// One kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Whether the last answer announced that the connection will be closed.
    pub(crate) sent_away: bool,
}

impl Connection {
    #[allow(clippy::disallowed_methods, reason = "the benchmark's own servers on loopback")]
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8192), sent_away: false })
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<u16, Failure> {
        Ok(self.exchange(request).await?.0)
    }

    /// Sends a request; returns status and body of the answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Failure> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection was closed".into());
            }
            if let Some(found) = Head::of(&self.buffer)? {
                break found;
            }
        };
        let end = head.bytes + head.body_bytes;
        while self.buffer.len() < end {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection was closed in an answer".into());
            }
        }
        self.sent_away = head.closes;
        Ok((head.status, self.buffer.get(head.bytes..end).unwrap_or_default()))
    }
}

/// The values of an answer's head that are needed.
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
    closes: bool,
}

impl Head {
    /// `None` until it is complete.
    fn of(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
        // Every server here sends the length of its answers; 204 has none.
        let mut head = Self {
            status: status.ok_or("an answer without a status")?,
            bytes: end + 4,
            body_bytes: 0,
            closes: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                head.body_bytes = value.trim().parse()?;
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }
}
