//! Content codings, walked: what a server coded comes out as it was, and plain text under any label is read as the text
//! that it is, so that no answered write is lost to a wrong label.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

/// A coding and a server that makes it.
type Coder = (&'static str, fn(&[u8]) -> Vec<u8>);

const CODERS: [Coder; 5] =
    [("gzip", gzip), ("deflate", zlib), ("deflate", raw_deflate), ("zstd", zstd), ("br", stored_brotli)];

/// What servers write where a coding is named, and is not what they did.
const LABELS: [&str; 20] = [
    "gzip",
    "x-gzip",
    "GZIP",
    "deflate",
    "br",
    "zstd",
    "compress",
    "identity",
    "none",
    "utf-8",
    "UTF8",
    "iso-8859-1",
    "8bit",
    "binary",
    "aws-chunked",
    "application/json",
    "*",
    "gzip, br",
    "deflate, gzip",
    "utf-8, zstd",
];

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// One block as it is (RFC 7932 section 9.2); nothing here compresses brotli.
fn stored_brotli(text: &[u8]) -> Vec<u8> {
    let Some(length) = u32::try_from(text.len()).unwrap().checked_sub(1) else { return vec![0x06] };
    // From the lowest bit: a window of 16, not the last block, four nibbles of length, the length, as it is.
    let head = length << 4 | 1 << 20;
    let mut out = head.to_le_bytes()[..3].to_vec();
    out.extend_from_slice(text);
    out.push(0x03);
    out
}

fn run(label: &str, body: &[u8]) -> Result<Vec<u8>, SendError> {
    decode(&codings([label.as_bytes()].into_iter()), body.to_vec(), &Limits::default())
}

/// What an API answers as text.
fn plain() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"\{("[a-z]{1,9}":("[ -!#-\[\]-~]{0,20}"|-?[1-9][0-9]{0,9}|null|true),){0,6}"id":[0-9]{1,9}\}"#,
        "[ -~\r\n\té一]{0,80}",
        r"\[[1-9]{1,40}\]",
        "[ -~]{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_coded_comes_out_as_it_was(
        body in prop_oneof![plain().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..300)],
        coder in prop::sample::select(CODERS.to_vec()), second in prop::option::of(prop::sample::select(CODERS.to_vec())),
        upper: bool, charset: bool,
    ) {
        let (mut label, mut coded) = (coder.0.to_owned(), coder.1(&body));
        if let Some((name, code)) = second {
            (label, coded) = (format!("{label}, {name}"), code(&coded));
        }
        if charset {
            label.push_str(", utf-8");
        }
        if upper {
            label.make_ascii_uppercase();
        }
        prop_assert_eq!(run(&label, &coded).unwrap(), body);
    }

    #[test]
    fn b6_plain_text_is_read_under_any_label(text in plain(), label in prop::sample::select(LABELS.to_vec())) {
        prop_assert_eq!(run(label, text.as_bytes()).unwrap(), text.as_bytes());
    }

    #[test]
    fn what_cannot_be_decoded_names_its_coding(
        body in prop::collection::vec(any::<u8>(), 1..60), label in prop::sample::select(LABELS.to_vec()), cut in any::<prop::sample::Index>(),
        coder in prop::sample::select(CODERS.to_vec()),
    ) {
        // Bytes that are in no coding, and a body that was cut off. A coding without a checksum may read them.
        let coded = coder.1(&body);
        for (label, body) in [(label, &body[..]), (coder.0, &coded[..cut.index(coded.len())])] {
            let Err(error) = run(label, body) else { continue };
            prop_assert_eq!(error.code, Code::ResponseUnreadable);
            let names = codings([label.as_bytes()].into_iter());
            let detail = error.detail.unwrap();
            prop_assert!(names.iter().any(|name| detail.contains(&format!("{name:?}"))), "{}", detail);
        }
    }
}
