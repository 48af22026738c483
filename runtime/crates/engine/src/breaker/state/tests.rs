//! When a breaker opens, whom it refuses, and how it closes; time is passed in.

use super::*;

const S: Duration = Duration::from_secs(1);

fn rules() -> Rules {
    Rules { failures: 6, window: 60 * S, open_min: 5 * S, open_max: 300 * S }
}

fn org(name: &str) -> OrgId {
    OrgId::parse(name).unwrap()
}

/// A breaker with a clock; every chance is 0 unless a test says otherwise.
struct Bench {
    breaker: Breaker,
    now: Instant,
    chance: f64,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(now), now, chance: 0.0 }
    }

    fn later(&mut self, wait: Duration) -> &mut Self {
        self.now += wait;
        self
    }

    fn admit(&mut self, name: &str) -> Result<Pass, Refused> {
        self.breaker.admit(&org(name), self.now, &rules())
    }

    fn passes(&self, name: &str) -> bool {
        self.breaker.refusal(&org(name), self.now, &rules()).is_none()
    }

    fn settle(&mut self, name: &str, pass: Pass, outcome: Outcome) -> Option<Change> {
        self.breaker.settle(&org(name), pass, outcome, self.now, self.chance, &rules())
    }

    /// A request that is let through and ends so.
    fn ask(&mut self, name: &str, outcome: Outcome) -> Option<Change> {
        let pass = self.admit(name).unwrap();
        self.settle(name, pass, outcome)
    }

    /// One letter a request: the org in the case of a failure, in capitals for an answer; `.` is ten seconds.
    fn story(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            match letter {
                '.' => self.now += 10 * S,
                _ if letter.is_uppercase() => {
                    self.ask(&letter.to_lowercase().to_string(), Outcome::Answered);
                }
                _ => {
                    self.ask(&letter.to_string(), Outcome::Failed);
                }
            }
        }
        self
    }

    fn is_idle(&self) -> bool {
        self.breaker.is_idle(self.now, &rules())
    }

    fn open_for(&self) -> Option<(usize, bool)> {
        self.breaker.glance(self.now).map(|seen| (seen.failing_orgs, seen.for_all))
    }
}

#[test]
fn it_opens_after_failures_in_a_row_of_enough_orgs() {
    for (story, open_for) in [
        // One org uses it: it stops itself.
        ("aaaaa", None),
        ("aaaaaa", Some((1, false))),
        ("aaaaaAa", None),
        ("aaaaa.......a", None),
        ("aaa.aaa", Some((1, false))),
        // Two use it: both must have failed, and of neither more counts than half.
        ("Baaaaaa", None),
        ("Baaaaaaaaaaaaaaaa", None),
        ("Baaaaaab", None),
        ("Baaaaaabb", None),
        ("Baaaaaabbb", Some((2, false))),
        ("ababab", Some((2, false))),
        ("abaBab", None),
        // The other used it so long ago that it counts no more.
        ("B.......aaaaaa", Some((1, false))),
        // Three and more: three must have failed.
        ("BCaaaaaaaaaaaabbbbbb", None),
        ("BCaaaabbc", None),
        ("BCaaaabbcc", Some((3, true))),
        ("aabbcc", Some((3, true))),
        ("aabbcCab", None),
        ("BCDaaaabbbbdd", Some((3, true))),
        ("abcdef", Some((6, true))),
        // Failures of another time count no more.
        ("BCaabb.......BCcc", None),
    ] {
        let mut bench = Bench::new();
        bench.story(story);
        assert_eq!(bench.open_for(), open_for, "{story}");
    }
}

#[test]
fn failures_of_many_orgs_once_each_are_enough() {
    let mut bench = Bench::new();
    for number in 0..40 {
        bench.ask(&format!("org{number}"), Outcome::Answered);
    }
    for number in 0..5 {
        assert_eq!(bench.ask(&format!("other{number}"), Outcome::Failed), None);
    }
    let opened = bench.ask("other5", Outcome::Failed);
    assert_eq!(opened, Some(Change::Opened { period: 5 * S, for_all: true }));
}

#[test]
fn what_says_nothing_of_the_vendor_changes_nothing() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        assert_eq!(bench.ask("a", Outcome::Unknown), None);
    }
    bench.story("aaaaa");
    bench.ask("a", Outcome::Unknown);
    assert_eq!(bench.open_for(), None, "it is no failure");
    bench.story("a");
    assert_eq!(bench.open_for(), Some((1, false)), "and no success");
}

#[test]
fn an_org_that_fails_alone_is_refused_alone() {
    let mut bench = Bench::new();
    bench.story("hhhhhh");
    assert!(!bench.passes("h"));
    assert!(bench.passes("other"), "it has done nothing");
    assert_eq!(bench.ask("other", Outcome::Answered), Some(Change::Closed));
    assert!(bench.passes("h"), "a success of anybody counts");
}

#[test]
fn those_that_fail_beside_an_open_one_are_refused_too_and_the_third_speaks_for_all() {
    let mut bench = Bench::new();
    bench.story("aaaaaa").story("bbb");
    assert_eq!(bench.open_for(), Some((2, false)));
    assert!(!bench.passes("a") && !bench.passes("b") && bench.passes("c"));
    bench.story("c");
    assert!(bench.passes("c"), "one failure is not enough");
    bench.story("c");
    assert_eq!(bench.open_for(), Some((3, true)));
    assert!(!bench.passes("d"));
}

#[test]
fn when_its_time_is_up_exactly_one_probe_goes() {
    let mut bench = Bench::new();
    bench.story("aabbcc");
    assert_eq!(bench.admit("d"), Err(Refused { left: 5 * S, spread: 5 * S }));
    bench.later(Duration::from_millis(4999));
    assert_eq!(bench.admit("d").unwrap_err().left, Duration::from_millis(1));
    bench.later(Duration::from_millis(1));
    let probe = bench.admit("d").unwrap();
    assert!(probe.is_probe() && bench.breaker.glance(bench.now).unwrap().is_half_open);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(bench.admit(name).unwrap_err().left, 5 * S, "{name}: its end is not known");
    }
    assert_eq!(bench.settle("d", probe, Outcome::Answered), Some(Change::Closed));
    assert!(bench.passes("a") && bench.passes("e"));
}

#[test]
fn a_probe_that_says_nothing_gives_its_place_back_and_others_come_first() {
    let mut bench = Bench::new();
    bench.story("aabbcc").later(5 * S);
    let probe = bench.admit("a").unwrap();
    assert_eq!(bench.settle("a", probe, Outcome::Unknown), None);
    assert!(!bench.passes("a"), "it had its turn");
    let other = bench.admit("b").unwrap();
    assert!(other.is_probe());
    bench.settle("b", other, Outcome::Unknown);
    assert!(bench.admit("a").unwrap().is_probe(), "the last one waits, not every one");
}

#[test]
fn who_is_alone_may_probe_again_at_once() {
    let mut bench = Bench::new();
    bench.story("aaaaaa").later(5 * S);
    let probe = bench.admit("a").unwrap();
    bench.settle("a", probe, Outcome::Unknown);
    assert!(bench.admit("a").unwrap().is_probe());
}

#[test]
fn an_org_whose_probe_failed_lets_others_probe_first() {
    let mut bench = Bench::new();
    bench.story("aabbcc").later(5 * S);
    let probe = bench.admit("h").unwrap();
    assert_eq!(
        bench.settle("h", probe, Outcome::Failed),
        Some(Change::Opened { period: 5 * S, for_all: true })
    );
    bench.later(5 * S);
    assert_eq!(bench.admit("h").unwrap_err().left, 5 * S);
    let probe = bench.admit("b").unwrap();
    assert_eq!(bench.settle("b", probe, Outcome::Answered), Some(Change::Closed));
}

#[test]
fn the_period_is_drawn_below_a_bound_that_doubles_to_the_longest() {
    for (chance, wanted) in [
        (0.0, [5, 5, 5, 5, 5, 5, 5]),
        (1.0, [10, 20, 40, 80, 160, 300, 300]),
        (f64::NAN, [10, 20, 40, 80, 160, 300, 300]),
    ] {
        let mut bench = Bench { chance, ..Bench::new() };
        let mut drawn = Vec::new();
        let mut opened = bench.story("aaaaa").ask("a", Outcome::Failed);
        while let Some(Change::Opened { period, .. }) = opened.filter(|_| drawn.len() < wanted.len()) {
            drawn.push(period.as_secs());
            bench.later(period);
            opened = bench.ask("a", Outcome::Failed);
        }
        assert_eq!(drawn, wanted, "{chance}");
    }
}

#[test]
fn the_period_begins_anew_after_a_calm_time() {
    let mut bench = Bench { chance: 1.0, ..Bench::new() };
    let open = |bench: &mut Bench| {
        bench.story("aaaaa");
        bench.ask("a", Outcome::Failed)
    };
    let opened = |s| Some(Change::Opened { period: s * S, for_all: false });
    assert_eq!(open(&mut bench), opened(10));
    bench.later(10 * S).story("A");
    assert_eq!(open(&mut bench), opened(20), "it closed a moment ago");
    bench.later(20 * S).story("A").later(61 * S);
    assert_eq!(open(&mut bench), opened(10));
}

#[test]
fn what_was_sent_in_an_earlier_state_decides_nothing() {
    let mut bench = Bench::new();
    let early: Vec<Pass> = (0..20).map(|_| bench.admit("a").unwrap()).collect();
    for pass in &early[..6] {
        bench.settle("a", *pass, Outcome::Failed);
    }
    assert!(bench.open_for().is_some());
    assert_eq!(bench.settle("a", early[6], Outcome::Answered), None, "it was sent before");
    assert_eq!(bench.settle("a", early[7], Outcome::Failed), None);
    bench.later(5 * S).story("A");
    for pass in &early[8..] {
        bench.settle("a", *pass, Outcome::Failed);
    }
    assert_eq!(bench.open_for(), None, "late failures do not open it again");
}

#[test]
fn a_success_beside_the_probe_closes_it_and_the_probe_decides_nothing_any_more() {
    let mut bench = Bench::new();
    bench.story("aabbcc").later(5 * S);
    let probe = bench.admit("a").unwrap();
    let test = bench.breaker.pass();
    assert_eq!(bench.settle("d", test, Outcome::Answered), Some(Change::Closed));
    assert_eq!(bench.settle("a", probe, Outcome::Failed), None);
    assert_eq!(bench.open_for(), None);
}

#[test]
fn a_request_that_goes_in_any_case_does_not_make_it_open_longer() {
    let mut bench = Bench::new();
    bench.story("aabbcc");
    let until = bench.breaker.glance(bench.now).unwrap().until;
    for _ in 0..50 {
        let test = bench.breaker.pass();
        assert_eq!(bench.settle("h", test, Outcome::Failed), None);
    }
    assert_eq!(bench.breaker.glance(bench.now).unwrap().until, until);
}

#[test]
fn what_is_noted_of_orgs_is_bounded() {
    let mut bench = Bench::new();
    for number in 0..10_000 {
        let outcome = if number % 3 == 0 { Outcome::Failed } else { Outcome::Answered };
        bench.ask(&format!("org{number}"), outcome);
    }
    assert!(bench.breaker.uses.len() <= rules().orgs_max(), "{}", bench.breaker.uses.len());
}

#[test]
fn it_is_idle_when_nothing_that_it_knows_counts() {
    let mut bench = Bench::new();
    bench.story("a");
    assert!(!bench.later(60 * S).is_idle());
    assert!(bench.later(S).is_idle());
    bench.story("aaaaaa");
    assert!(!bench.later(305 * S).is_idle(), "somebody may come back");
    assert!(bench.later(S).is_idle());
}
