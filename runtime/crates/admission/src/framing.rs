//! Where the messages of a connection begin and end, followed byte by byte below the HTTP server, which reads more than
//! it should: lines that end with a bare line feed, a length beside a coding, a length twice (RFC 9112 sections 2.2, 6.1
//! and 6.3). A proxy in front may read such a message in another way, and take a part of it for another request.
//!
//! It decides nothing: the API refuses the request. A property test compares it with hyper's reading of the same bytes.

use memchr::memchr;

/// Bytes kept of a line that comes in pieces. No line that is read here needs more.
const KEPT_MAX: usize = 80;

/// Hexadecimal digits of the largest chunk.
const SIZE_DIGITS_MAX: usize = 16;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// A line of a head, a chunk or a trailer has no carriage return before its line feed.
    #[error("a line ends with a line feed alone; end each with CR LF")]
    BareLineFeed,
    /// `Content-Length` is no number, or is given more than once.
    #[error("Content-Length must be given once and be a number")]
    Length,
    /// `Transfer-Encoding` is anything other than `chunked`, given once.
    #[error("Transfer-Encoding must be chunked, and be given once")]
    Coding,
    /// `Transfer-Encoding` and `Content-Length` together.
    #[error("Transfer-Encoding and Content-Length must not be given together")]
    LengthAndCoding,
    /// The line before a chunk has no size that can be read.
    #[error("a chunk must begin with its size in at most 16 hexadecimal digits")]
    ChunkSize,
}

/// A position in the messages of one connection.
#[derive(Debug, Default)]
pub struct Framing {
    part: Part,
    line: Line,
    head: Head,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// A head, or the empty lines before it.
    #[default]
    Head,
    /// A body of this many bytes more.
    Body(u64),
    /// The line with the size of a chunk.
    Size,
    /// A chunk of this many bytes more, its line end included.
    Chunk(u64),
    /// The lines after the last chunk.
    Trailers,
    /// Not known any more: there was a fault.
    Lost,
}

/// What a head has said so far.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    /// Whether its first line has come.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

/// A line that came in part.
#[derive(Debug)]
struct Line {
    kept: [u8; KEPT_MAX],
    /// Its length so far, bytes; more than are kept if it is long.
    length: usize,
    /// Its last byte so far.
    last: u8,
}

impl Default for Line {
    fn default() -> Self {
        Self { kept: [0; KEPT_MAX], length: 0, last: 0 }
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.kept.get_mut(self.length.min(KEPT_MAX)..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.length = self.length.saturating_add(bytes.len());
        self.last = bytes.last().copied().unwrap_or(self.last);
    }
}

impl Framing {
    /// Whether the next byte belongs to a head, or begins one.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.part == Part::Head
    }

    /// Follows the next bytes; returns what is wrong with them. After that nothing more is followed.
    ///
    /// # Errors
    /// The first fault.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), FramingFault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.part {
                Part::Lost => return Ok(()),
                Part::Body(left) => self.skip(rest, left, Part::Body, Part::Head),
                Part::Chunk(left) => self.skip(rest, left, Part::Chunk, Part::Size),
                Part::Head | Part::Size | Part::Trailers => {
                    let Some(at) = memchr(b'\n', rest) else {
                        self.line.push(rest);
                        return Ok(());
                    };
                    let (line, after) = rest.split_at(at);
                    let read = self.end_line(line);
                    if read.is_err() {
                        self.part = Part::Lost;
                        return read;
                    }
                    after.get(1..).unwrap_or_default()
                }
            };
        }
        Ok(())
    }

    /// Passes over a body or a chunk.
    fn skip<'b>(&mut self, bytes: &'b [u8], left: u64, same: fn(u64) -> Part, next: Part) -> &'b [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
        self.part = if left == 0 { next } else { same(left) };
        bytes.get(here..).unwrap_or_default()
    }

    /// A line has ended; `end` is what of it came last, without the line feed.
    fn end_line(&mut self, end: &[u8]) -> Result<(), FramingFault> {
        if self.line.length == 0 {
            // The usual case: all of it is here.
            let line = end.strip_suffix(b"\r").ok_or(FramingFault::BareLineFeed)?;
            return self.read_line(line, false);
        }
        self.line.push(end);
        let Line { kept, length, last } = std::mem::take(&mut self.line);
        if last != b'\r' {
            return Err(FramingFault::BareLineFeed);
        }
        let line = kept.get(..(length - 1).min(KEPT_MAX)).unwrap_or_default();
        self.read_line(line, length - 1 > KEPT_MAX)
    }

    /// Goes on behind a head. An empty line before the first of a head ends none: a server passes over it.
    fn end_head(&mut self) -> Result<(), FramingFault> {
        if std::mem::replace(&mut self.head.begun, false) {
            self.part = std::mem::take(&mut self.head).body()?;
        }
        Ok(())
    }

    /// Reads a line without its end. `is_cut`: only its start is here.
    fn read_line(&mut self, line: &[u8], is_cut: bool) -> Result<(), FramingFault> {
        match self.part {
            Part::Head if line.is_empty() => self.end_head()?,
            Part::Head if self.head.begun => self.head.read(line, is_cut)?,
            Part::Head => self.head.begun = true,
            Part::Size => self.part = chunk(line).ok_or(FramingFault::ChunkSize)?,
            Part::Trailers if line.is_empty() => self.part = Part::Head,
            _ => {}
        }
        Ok(())
    }
}

impl Head {
    /// Reads a field of it.
    fn read(&mut self, line: &[u8], is_cut: bool) -> Result<(), FramingFault> {
        if let Some(value) = value_of(line, b"content-length") {
            let number = number(value).filter(|_| !is_cut && self.length.is_none());
            self.length = Some(number.ok_or(FramingFault::Length)?);
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            if is_cut || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(FramingFault::Coding);
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// What follows it.
    fn body(self) -> Result<Part, FramingFault> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(FramingFault::LengthAndCoding),
            (true, None) => Ok(Part::Size),
            (false, None | Some(0)) => Ok(Part::Head),
            (false, Some(length)) => Ok(Part::Body(length)),
        }
    }
}

/// The value of a field with this name, without the blanks around it.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (own, rest) = line.split_at_checked(name.len())?;
    if !own.eq_ignore_ascii_case(name) {
        return None;
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = rest.strip_prefix(b":")?;
    let from = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !is_blank(byte)).map_or(from, |last| last + 1);
    value.get(from..to)
}

/// A number of digits only: `parse` would accept a sign.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What follows the line with a chunk's size.
fn chunk(line: &[u8]) -> Option<Part> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let ends = matches!(rest.first(), None | Some(b';' | b' ' | b'\t'));
    // Why leading zeros are counted: whoever needs more digits is up to something.
    if !ends || size.is_empty() || size.len() > SIZE_DIGITS_MAX {
        return None;
    }
    match u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()? {
        0 => Some(Part::Trailers),
        size => size.checked_add(2).map(Part::Chunk),
    }
}

/// Whether the value of `Host` is a host and perhaps a port (RFC 9110 section 7.2). Why fewer characters than RFC 3986
/// section 3.2.2 has: no name that is looked up has the others.
#[must_use]
pub fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let port = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) if address.parse::<std::net::Ipv6Addr>().is_ok() => port,
        Some(_) => return false,
        None => {
            let is_name =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            if host.is_empty() || !host.bytes().all(is_name) {
                return false;
            }
            port
        }
    };
    let is_port = |digits: &str| {
        digits.is_empty() || number(digits.as_bytes()).is_some_and(|port| port <= u64::from(u16::MAX))
    };
    port.is_empty() || port.strip_prefix(':').is_some_and(is_port)
}

#[cfg(test)]
mod tests;
