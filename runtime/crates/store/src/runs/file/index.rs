//! The index of a closed run file: its outline, which runs it has, and which values their heads have.
//!
//! It is made from the file once that is closed, and made again if it cannot be read: it holds nothing that the file
//! does not. Whether a value is in a file is kept as a Bloom filter: it may say yes where the answer is no, never the
//! reverse. It is outside the workspace's directory, which holds nothing but runs.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256, digest};
use portcullis_core::id::RunId;

use super::outline::{Block, Outline};
use super::segment::record_id;
use crate::head::Link;
use crate::runs::RunFilter;
use crate::runs::query::each_term;

/// Below the directory of all runs; no org can have this name.
pub(super) const INDEXES: &str = ".index";

/// Format of an index, with its version.
const MAGIC: &[u8; 16] = b"portcullis runs\x02";

/// Bits for a file of 4,000 runs that each have a value of their own: one in 400 wrong answers.
const BITS_BYTES: usize = 8 * 1024;

/// The bits of the values, and after them as many of the ids.
// Why apart: twice as many values in the same bits would give ten times as many wrong answers.
const VALUES_BYTES: usize = 2 * BITS_BYTES;

/// The name under which ids are kept.
const RUN_ID: &str = "run_id";

/// An index is shorter: a block for every 64 KiB of a file.
const BYTES_MAX: u64 = 1024 * 1024;

/// Which runs and which values there are.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Values(Vec<u8>);

impl Values {
    /// The values of these records.
    pub(super) fn of<'a>(records: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut values = Self(vec![0; VALUES_BYTES]);
        for record in records {
            if let Some(run) = std::str::from_utf8(record).ok().and_then(record_id) {
                values.add(RUN_ID, run);
            }
            each_term(record, |name, value| values.add(name, value));
        }
        values
    }

    /// Whether a run may be there.
    pub(super) fn may_have_run(&self, run: &RunId) -> bool {
        self.may_have(RUN_ID, run.as_str())
    }

    fn add(&mut self, name: &str, value: &str) {
        for (byte, bit) in places(name, value) {
            if let Some(byte) = self.0.get_mut(byte) {
                *byte |= bit;
            }
        }
    }

    fn may_have(&self, name: &str, value: &str) -> bool {
        places(name, value).all(|(byte, bit)| self.0.get(byte).is_none_or(|byte| byte & bit != 0))
    }

    /// Whether each value that a filter wants is there; not whether one record has them all.
    pub(super) fn may_match(&self, filter: &RunFilter) -> bool {
        filter.terms().all(|(name, value)| self.may_have(name, value))
    }
}

/// Four bits for a value: as many 16-bit numbers of its hash.
fn places(name: &str, value: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut hash = Context::new(&SHA256);
    hash.update(name.as_bytes());
    hash.update(&[0]);
    hash.update(value.as_bytes());
    let hash = hash.finish();
    let mut first = [0_u8; 8];
    first.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    let [a, b, c, d, e, f, g, h] = first;
    let from = if name == RUN_ID { BITS_BYTES } else { 0 };
    [[a, b], [c, d], [e, f], [g, h]].into_iter().map(move |pair| {
        let bit = u16::from_be_bytes(pair);
        (from.saturating_add(usize::from(bit >> 3)), 1_u8 << (bit & 7))
    })
}

/// The path of a file's index.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.idx"))
}

/// An index, if there is a sound one of a file that ends at `end`.
pub(super) fn read(path: &Path, end: &Link) -> Option<(Outline, Values)> {
    if std::fs::metadata(path).ok()?.len() > BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let (sum, text) = bytes.split_at_checked(32)?;
    if digest(&SHA256, text).as_ref() != sum {
        return None;
    }
    decode(text).filter(|(outline, _)| outline.end == *end)
}

/// Keeps an index. It is not synced: a torn one counts as none.
pub(super) fn write(path: &Path, outline: &Outline, values: &Values) -> std::io::Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let text = encode(outline, values);
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    // Why numbered: two readers may make the same index at once.
    let part = path.with_extension(format!("part{}", WRITTEN.fetch_add(1, Ordering::Relaxed)));
    let mut file = File::create(&part)?;
    file.write_all(digest(&SHA256, &text).as_ref())?;
    file.write_all(&text)?;
    std::fs::rename(&part, path)
}

fn encode(outline: &Outline, values: &Values) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let Outline { blocks, bytes, records, end, from_us, to_us } = outline;
    for number in [*bytes, *records, *from_us, *to_us] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    push_link(&mut out, end);
    out.extend_from_slice(&values.0);
    for Block { at, first, before, latest_us } in blocks {
        for number in [*at, *first, *latest_us] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        push_link(&mut out, before);
    }
    out
}

fn push_link(out: &mut Vec<u8>, link: &Link) {
    out.extend_from_slice(&link.seq.to_be_bytes());
    out.extend_from_slice(&link.hash);
}

fn decode(text: &[u8]) -> Option<(Outline, Values)> {
    let mut rest = text.strip_prefix(MAGIC)?;
    let (bytes, records) = (number(&mut rest)?, number(&mut rest)?);
    let (from_us, to_us) = (number(&mut rest)?, number(&mut rest)?);
    let end = link(&mut rest)?;
    let (values, mut rest) = rest.split_at_checked(VALUES_BYTES)?;
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (at, first, latest_us) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        blocks.push(Block { at, first, before: link(&mut rest)?, latest_us });
    }
    Some((Outline { blocks, bytes, records, end, from_us, to_us }, Values(values.to_vec())))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_be_bytes(*number))
}

fn link(rest: &mut &[u8]) -> Option<Link> {
    let seq = number(rest)?;
    let (hash, after) = rest.split_first_chunk::<32>()?;
    *rest = after;
    Some(Link { seq, hash: *hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(records: u64) -> Outline {
        let mut outline = Outline::new(200, Link { seq: 7, hash: [1; 32] });
        for n in 1..=records {
            outline.add(1000, 5000 - n, Link { seq: 7 + n, hash: [u8::try_from(n % 250).unwrap(); 32] });
        }
        outline
    }

    #[test]
    fn an_index_comes_back_and_a_changed_or_foreign_one_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir.path().join("acme/main"), 3);
        for records in [0, 1, 500] {
            let outline = outline(records);
            let record = br#"{"body":{"status":"failed","event_id":"e 1"}}"#;
            let values = Values::of([record.as_slice()].into_iter());
            write(&path, &outline, &values).unwrap();
            let (read_outline, read_values) = read(&path, &outline.end).unwrap();
            assert_eq!(read_outline, outline);
            assert!(read_values == values, "the values");
            assert!(read(&path, &Link { seq: 1, hash: [9; 32] }).is_none(), "of another file");
            let good = std::fs::read(&path).unwrap();
            for at in (0..good.len()).step_by(199).chain([good.len() - 1]) {
                let mut bad = good.clone();
                bad[at] ^= 4;
                std::fs::write(&path, &bad).unwrap();
                assert!(read(&path, &outline.end).is_none(), "a bit at {at}");
            }
            std::fs::write(&path, &good[..good.len() / 2]).unwrap();
            assert!(read(&path, &outline.end).is_none(), "torn");
        }
    }

    #[test]
    fn values_that_are_there_are_always_found_and_others_hardly_ever() {
        let records: Vec<String> =
            (0..4000).map(|n| format!(r#"{{"body":{{"status":"failed","event_id":"e{n}"}}}}"#)).collect();
        let values = Values::of(records.iter().map(String::as_bytes));
        let event = |n: u32| RunFilter { event_id: Some(format!("e{n}")), ..RunFilter::default() };
        assert!((0..4000).all(|n| values.may_match(&event(n))));
        let wrong = (4000..14_000).filter(|n| values.may_match(&event(*n))).count();
        assert!(wrong < 100, "{wrong} of 10,000");
        assert!(!values.may_match(&RunFilter { code: Some("failed".to_owned()), ..RunFilter::default() }));
    }

    #[test]
    fn runs_that_are_there_are_always_found_and_others_hardly_ever() {
        let id = |n: u32| RunId::parse(&format!("run_{n}")).unwrap();
        let records: Vec<String> =
            (0..4000).map(|n| format!(r#"{{"run_id":"run_{n}","body":{{"event_id":"e{n}"}}}}"#)).collect();
        let values = Values::of(records.iter().map(String::as_bytes));
        assert!((0..4000).all(|n| values.may_have_run(&id(n))));
        let wrong = (4000..14_000).filter(|n| values.may_have_run(&id(*n))).count();
        assert!(wrong < 100, "{wrong} of 10,000");
        let run = RunFilter { event_id: Some("run_1".to_owned()), ..RunFilter::default() };
        assert!(!values.may_match(&run), "an id is no value");
    }

    #[test]
    fn the_parts_of_an_outline_are_all_of_it() {
        let outline = outline(500);
        let parts: Vec<_> = outline.parts().collect();
        assert!(parts.len() > 5);
        assert_eq!(parts.iter().map(|part| part.records).sum::<u64>(), 500);
        for pair in parts.windows(2) {
            assert_eq!((pair[0].end, pair[0].after), (pair[1].at, pair[1].before));
            assert_eq!(pair[0].first + pair[0].records, pair[1].first);
        }
        assert_eq!((parts[0].at, parts.last().unwrap().end), (200, 500_200));
    }
}
