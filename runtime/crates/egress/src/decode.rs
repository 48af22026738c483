//! Decoding content codings within limits (RFC 9110 section 8.4): gzip, deflate, br, zstd. Called by the
//! response reader.
//!
//! Only a decoded body can be scrubbed, so every coding is decoded before the guest sees a byte. Servers also name a
//! coding and apply none, or name a charset there: a body that is plain text as it came is taken as that. Anything else
//! that cannot be decoded is an error. Decoding stops at the byte limit and, after the first MiB, at the ratio limit,
//! which ordinary documents do not reach. A body longer than a MiB is decoded twice, the first time only to
//! count its bytes, so that a bomb never takes more than a MiB of memory.

use std::io::Read;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::LimitKind;

use crate::error::SendError;

/// The most codings of one body; two are already unusual.
const CODINGS_MAX: usize = 3;
/// Decoded bytes before the ratio limit applies.
const RATIO_FREE_BYTES: u64 = 1024 * 1024;
/// Bytes decoded at a time.
const PIECE: usize = 16 * 1024;
/// The most decoded bytes kept before their number is known.
const UNCOUNTED_MAX: usize = 1024 * 1024;

/// Decodes a body with this Content-Encoding; public for the fuzz target.
///
/// # Errors
/// `response_too_large` at a limit, `response_unreadable` for an unknown coding or broken data.
pub fn decode_body(content_encoding: &str, body: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, Code> {
    decode(&codings([content_encoding.as_bytes()].into_iter()), body, limits).map_err(|e| e.code)
}

/// Decodes a body with these codings, in the order they were applied.
///
/// # Errors
/// `response_too_large` at a limit, `response_unreadable` for an unknown coding or broken data.
pub(crate) fn decode(codings: &[String], body: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, SendError> {
    if codings.len() > CODINGS_MAX {
        let why =
            format!("the answer has {} content codings; at most {CODINGS_MAX} are decoded", codings.len());
        return Err(SendError::from(Code::ResponseUnreadable).because(why));
    }
    codings.iter().rev().try_fold(body, |body, coding| {
        // Why before it is tried: `{` begins a block of raw deflate as well, and some texts are one to its end. Why only
        // text: bytes in a coding that the host does not know may have a secret that it does not see.
        if is_plain(&body) { Ok(body) } else { undo(coding, &body, limits) }
    })
}

/// Whether a body is text as it came. No coding makes such a body.
fn is_plain(body: &[u8]) -> bool {
    let is_text = |ch: char| !ch.is_control() || matches!(ch, '\t' | '\n' | '\r' | '\x0c');
    std::str::from_utf8(body).is_ok_and(|text| text.chars().all(is_text))
}

fn broken(coding: &str) -> SendError {
    let shown: String = coding.chars().take(40).collect();
    let why = format!("the answer's content coding {shown:?} cannot be decoded");
    SendError::from(Code::ResponseUnreadable).because(why)
}

/// What servers write there and is no coding: nothing, charsets, and what belongs to mail.
const NO_CODINGS: [&str; 10] =
    ["identity", "none", "utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1252", "8bit", "7bit", "binary"];

/// The codings of a Content-Encoding header, in lower case, without what is none.
pub(crate) fn codings<'v>(values: impl Iterator<Item = &'v [u8]>) -> Vec<String> {
    values
        .flat_map(|value| value.split(|b| *b == b','))
        .map(|token| String::from_utf8_lossy(token).trim().to_ascii_lowercase())
        .filter(|token| !token.is_empty() && !NO_CODINGS.contains(&token.as_str()))
        .collect()
}

fn undo(coding: &str, body: &[u8], limits: &Limits) -> Result<Vec<u8>, SendError> {
    let unread = match coding {
        "gzip" | "x-gzip" => drain(|| Ok(flate2::read::MultiGzDecoder::new(body)), body.len(), limits),
        "deflate" if is_zlib(body) => drain(|| Ok(flate2::read::ZlibDecoder::new(body)), body.len(), limits),
        "deflate" => drain(|| Ok(flate2::read::DeflateDecoder::new(body)), body.len(), limits),
        "br" => drain(|| Ok(brotli_decompressor::Decompressor::new(body, PIECE)), body.len(), limits),
        "zstd" => {
            let decoder = || ruzstd::decoding::StreamingDecoder::new(body).map_err(|_| Unread::Broken);
            drain(decoder, body.len(), limits)
        }
        _ => Err(Unread::Broken),
    };
    unread.map_err(|why| match why {
        Unread::Broken => broken(coding),
        Unread::TooLarge(error) => error,
    })
}

/// Why a body was not decoded.
enum Unread {
    Broken,
    TooLarge(SendError),
}

/// `deflate` is the zlib format, but servers send raw deflate too (RFC 9110 section 8.4.1.2).
fn is_zlib(body: &[u8]) -> bool {
    body.first().is_some_and(|b| b & 0x0f == 8)
        && matches!(body, [a, b, ..] if (u16::from(*a) * 256 + u16::from(*b)).is_multiple_of(31))
}

/// The whole output of a decoder, within the limits.
fn drain<R: Read>(
    decoder: impl Fn() -> Result<R, Unread>,
    received: usize,
    limits: &Limits,
) -> Result<Vec<u8>, Unread> {
    let by_ratio = (received as u64).saturating_mul(limits.decode_ratio).max(RATIO_FREE_BYTES);
    let limit = limits.decoded_bytes.min(by_ratio);
    let mut out = Vec::with_capacity(received.saturating_mul(3).min(UNCOUNTED_MAX));
    let counted = read_through(decoder()?, limit, |piece| {
        if out.len() + piece.len() <= UNCOUNTED_MAX {
            out.extend_from_slice(piece);
        }
    })?;
    if out.len() == counted {
        return Ok(out);
    }
    drop(out);
    let mut out = Vec::with_capacity(counted);
    read_through(decoder()?, counted as u64, |piece| out.extend_from_slice(piece))?;
    Ok(out)
}

/// Reads to the end; returns the number of bytes.
fn read_through(mut decoder: impl Read, limit: u64, mut each: impl FnMut(&[u8])) -> Result<usize, Unread> {
    let mut piece = [0_u8; PIECE];
    let mut bytes = 0_usize;
    loop {
        let read = decoder.read(&mut piece).map_err(|_| Unread::Broken)?;
        if read == 0 {
            return Ok(bytes);
        }
        bytes += read;
        if bytes as u64 > limit {
            let error = SendError::limit(Code::ResponseTooLarge, LimitKind::DecodedBytes, limit);
            let why = format!(
                "the body decodes to more than {limit} bytes (limits.decoded_bytes, limits.decode_ratio)"
            );
            return Err(Unread::TooLarge(error.because(why)));
        }
        each(piece.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod walk;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn run(coding: &str, body: Vec<u8>) -> Result<Vec<u8>, Code> {
        let codings = codings([coding.as_bytes()].into_iter());
        decode(&codings, body, &Limits::default()).map_err(|e| e.code)
    }

    #[test]
    fn each_coding_is_decoded() {
        let text = b"{\"id\":1} and some more text, and some more text";
        assert_eq!(run("gzip", gzip(text)).unwrap(), text);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(text).unwrap();
        assert_eq!(run("deflate", zlib.finish().unwrap()).unwrap(), text);
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(text).unwrap();
        assert_eq!(run("Deflate", raw.finish().unwrap()).unwrap(), text);
        // `hello` as brotli (quality 0, one metablock) and as a zstd frame, made by the reference tools.
        let brotli = [0x0b, 0x02, 0x80, b'h', b'e', b'l', b'l', b'o', 0x03];
        assert_eq!(run("br", brotli.to_vec()).unwrap(), b"hello");
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x05, 0x29, 0x00, 0x00, b'h', b'e', b'l', b'l', b'o'];
        assert_eq!(run("zstd", zstd.to_vec()).unwrap(), b"hello");
        assert_eq!(run("gzip, gzip", gzip(&gzip(text))).unwrap(), text);
        assert_eq!(run("identity", text.to_vec()).unwrap(), text);
    }

    #[test]
    fn a_text_of_any_length_comes_out_whole() {
        for size in [0, 1, PIECE, PIECE + 1, UNCOUNTED_MAX, UNCOUNTED_MAX + 1, 5 * UNCOUNTED_MAX + 17] {
            let text: Vec<u8> = (0..size).map(|n| b"abcdefghijklm"[n * n % 13]).collect();
            let limits = Limits { decode_ratio: 1000, ..Limits::default() };
            let coded = gzip(&text);
            assert!(decode(&["gzip".to_owned()], coded, &limits).unwrap() == text, "{size} bytes");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_answer() {
        for (coding, body) in [
            ("compress", b"x\x9d\x90".to_vec()),
            ("gzip", b"not gzip\0".to_vec()),
            ("br", vec![0xff; 10]),
            ("zstd", vec![1, 2, 3, 4]),
            ("gzip,gzip,gzip,gzip", gzip(b"x")),
        ] {
            assert_eq!(run(coding, body), Err(Code::ResponseUnreadable), "{coding}");
        }
        let mut torn = gzip(b"hello hello hello hello");
        torn.truncate(torn.len() - 9);
        assert_eq!(run("gzip", torn), Err(Code::ResponseUnreadable));
        let error = decode(&["x-own".to_owned()], vec![0xff], &Limits::default()).unwrap_err();
        assert_eq!(error.detail.unwrap(), "the answer's content coding \"x-own\" cannot be decoded");
    }

    #[test]
    fn b6_plain_text_under_the_name_of_a_coding_is_read() {
        for coding in
            ["UTF-8", "none", "gzip", "x-gzip", "br", "deflate", "zstd", "binary", "gzip, utf-8", "x"]
        {
            for text in ["{\"id\":\"é\"}\r\n", "[]", "a plain text"] {
                assert_eq!(run(coding, text.into()).unwrap(), text.as_bytes(), "{coding} {text}");
            }
        }
        // Its first bytes are a whole block of raw deflate.
        let text = b"{\"p\":\"a1`\",\"id\":0}";
        assert_eq!(run("deflate", text.to_vec()).unwrap(), text);
        // One of two is real.
        let text = b"{\"id\":1} and some more text";
        assert_eq!(run("gzip, utf-8", gzip(text)).unwrap(), text);
        assert_eq!(run("utf-8, gzip", gzip(text)).unwrap(), text);
        assert_eq!(
            run("utf-8", b"\xff\xfe\0".to_vec()).unwrap(),
            b"\xff\xfe\0",
            "no coding, whatever the bytes"
        );
    }

    #[test]
    fn a_bomb_ends_at_the_ratio_and_at_the_byte_limit() {
        // 4 MiB of zeroes is about 4 KiB of gzip: past the ratio long before the byte limit.
        assert_eq!(run("gzip", gzip(&vec![0; 4 * 1024 * 1024])), Err(Code::ResponseTooLarge));
        // Within the first MiB any ratio passes.
        assert_eq!(run("gzip", gzip(&vec![0; 1024 * 1024])).unwrap().len(), 1024 * 1024);
        let limits = Limits { decoded_bytes: 100, ..Limits::default() };
        assert!(decode(&["gzip".to_owned()], gzip(&[b'x'; 100]), &limits).is_ok());
        assert!(decode(&["gzip".to_owned()], gzip(&[b'x'; 101]), &limits).is_err());
    }
}
