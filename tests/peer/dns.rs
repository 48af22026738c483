//! A DNS server over UDP and TCP (RFC 1035) that answers from the script and reports every question.
//!
//! It knows names, addresses and aliases only. An answer that is too long for UDP is truncated
//! to nothing and marked as truncated, so that a resolver asks again over TCP.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::event;
use crate::script::{Answer, Answers};

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const IN: u16 = 1;
const NXDOMAIN: u8 = 3;
const HEADER_BYTES: usize = 12;
/// The longest answer over UDP; every resolver accepts this length (RFC 1035, section 4.2.1).
const UDP_BYTES_MAX: usize = 512;

/// The scripted names, and the position of each in its script.
pub(crate) struct Zone {
    names: HashMap<String, Answers>,
    taken: Mutex<HashMap<(String, u16), usize>>,
}

/// A question as received.
struct Question<'a> {
    id: &'a [u8],
    /// Name, type and class as received, for the echo.
    raw: &'a [u8],
    name: String,
    kind: u16,
}

impl Zone {
    pub(crate) fn new(names: HashMap<String, Answers>) -> Self {
        Self { names, taken: Mutex::default() }
    }

    /// The answer to a message, or none.
    fn respond(&self, message: &[u8], transport: &str) -> Option<Vec<u8>> {
        let question = Question::read(message)?;
        let kind = match question.kind {
            A => "A".to_owned(),
            AAAA => "AAAA".to_owned(),
            other => format!("TYPE{other}"),
        };
        event(&json!({ "event": "query", "name": question.name, "type": kind, "transport": transport }));
        let udp = transport == "udp";
        let answer = self.next(&question, udp);
        if answer.silent {
            return None;
        }
        if udp && answer.tcp_only {
            return Some(question.cut());
        }
        let response = question.answer(&answer);
        Some(if udp && response.len() > UDP_BYTES_MAX { question.cut() } else { response })
    }

    fn next(&self, question: &Question<'_>, udp: bool) -> Answer {
        let Some(answers) = self.names.get(&question.name) else {
            return Answer { rcode: NXDOMAIN, ..Answer::default() };
        };
        let list = match question.kind {
            A => answers.a.as_slice(),
            AAAA => answers.aaaa.as_slice(),
            _ => &[],
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = taken.entry((question.name.clone(), question.kind)).or_default();
        let answer = list.get(*turn).or(list.last()).cloned().unwrap_or_default();
        // Why: the same question is repeated over TCP, and both count as one.
        if !(udp && answer.tcp_only) {
            *turn += 1;
        }
        answer
    }
}

impl<'a> Question<'a> {
    /// Parses a message with one question; `None` for anything else.
    fn read(message: &'a [u8]) -> Option<Self> {
        if message.get(4..6)? != [0, 1] {
            return None;
        }
        let mut at = HEADER_BYTES;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
        let raw = message.get(HEADER_BYTES..at + 4)?;
        Some(Self { id: message.get(..2)?, raw, name: labels.join("."), kind })
    }

    /// A truncated answer.
    fn cut(&self) -> Vec<u8> {
        self.message(0b10, 0, 0)
    }

    fn answer(&self, answer: &Answer) -> Vec<u8> {
        let mut records = Vec::new();
        let mut owner = &self.name;
        for alias in &answer.cname {
            records.push(record(owner, CNAME, answer.ttl, &wire_name(alias)));
            owner = alias;
        }
        for address in &answer.addresses {
            records.push(match address {
                IpAddr::V4(ip) => record(owner, A, answer.ttl, &ip.octets()),
                IpAddr::V6(ip) => record(owner, AAAA, answer.ttl, &ip.octets()),
            });
        }
        let mut message = self.message(0, answer.rcode, u16::try_from(records.len()).unwrap_or(u16::MAX));
        message.extend(records.concat());
        message
    }

    /// A response's header and question. `cut` is the flag of a truncated answer.
    fn message(&self, cut: u8, rcode: u8, answers: u16) -> Vec<u8> {
        let mut message = self.id.to_vec();
        // Response, authoritative, recursion desired; then recursion available.
        message.extend([0b1000_0101 | cut, 0b1000_0000 | rcode, 0, 1]);
        message.extend(answers.to_be_bytes());
        message.extend([0; 4]);
        message.extend(self.raw);
        message
    }
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = wire_name(owner);
    record.extend(kind.to_be_bytes());
    record.extend(IN.to_be_bytes());
    record.extend(ttl.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    record.extend(data);
    record
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap_or(63));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// Answers datagrams until the process ends.
pub(crate) async fn over_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(response) = buffer.get(..length).and_then(|message| zone.respond(message, "udp")) {
            // Why ignored: a datagram may be lost without notice anyway.
            let _ = socket.send_to(&response, from).await;
        }
    }
}

/// Answers connections until the process ends.
pub(crate) async fn over_tcp(listener: TcpListener, zone: Arc<Zone>) {
    while let Ok((stream, _)) = listener.accept().await {
        let zone = Arc::clone(&zone);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &zone).await {
                event(&json!({ "event": "dns_connection_ended", "error": error.to_string() }));
            }
        });
    }
}

async fn converse(mut stream: TcpStream, zone: &Zone) -> io::Result<()> {
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        if let Some(response) = zone.respond(&message, "tcp") {
            stream.write_u16(u16::try_from(response.len()).map_err(io::Error::other)?).await?;
            stream.write_all(&response).await?;
        }
    }
}
