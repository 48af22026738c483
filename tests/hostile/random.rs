//! A reproducible source of choices: splitmix64 (Steele, Lea, Flood 2014), which is enough to vary cases.

/// Choices that follow from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    /// True in one case of `n`.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        let at = self.below(all.len());
        all.get(at).copied().expect("nothing to pick from")
    }

    /// A count up to `most`: every order of magnitude is as likely as the others, because most findings need few and
    /// some need very many.
    pub(crate) fn count(&mut self, most: usize) -> usize {
        let bits = usize::try_from(most.max(1).ilog2()).unwrap_or(0) + 1;
        let up_to = 1_usize << self.below(bits + 1);
        self.below(up_to.min(most) + 1)
    }

    /// A count up to `many` in one case of `n`, up to `few` otherwise.
    pub(crate) fn rarely_many(&mut self, n: usize, many: usize, few: usize) -> usize {
        let most = if self.one_in(n) { many } else { few };
        self.count(most)
    }
}
