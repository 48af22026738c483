//! Counts that `make prove` raises, randomness that can be repeated, and the lines that it shows.

use serde_json::Value;

/// A count from the environment, for `make prove`, or a small one.
pub(crate) fn count(name: &str, small: usize) -> usize {
    std::env::var(name).map_or(small, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// The seed of `PORTCULLIS_SEED`, or one of the clock; it is to be printed.
pub(crate) fn seed() -> u64 {
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_micros()).unwrap()
    };
    std::env::var("PORTCULLIS_SEED").map_or_else(|_| now(), |text| text.parse().unwrap())
}

/// Shown by `make prove`, whose runs show what tests print.
pub(crate) fn print_line(what: &str, line: &Value) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout(), "{what}: {line}"));
}

/// A random generator with a seed, so that a failure can be repeated.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).unwrap()
    }
}
