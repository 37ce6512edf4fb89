//! What a seed decides about a run before it begins.

use std::time::Duration;

use crate::clock::Entropy;
use crate::storage::lease::LeaseTimes;

/// How long publishers go on after the faults have stopped.
pub(super) const CALM: Duration = Duration::from_secs(60);

/// How long collection and answers may then take.
pub(super) const SETTLING: Duration = Duration::from_secs(150);

/// How long nobody wants anything.
pub(super) const QUIET: Duration = Duration::from_secs(40);

/// The rules of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) seed: u64,
    /// The rate of each instance's clock.
    pub(super) rates: Vec<f64>,
    /// What each instance's clock says when the run begins.
    pub(super) offsets: Vec<Duration>,
    /// Whether the rates are so close that there may be one leader at a time only.
    pub(super) exclusive: bool,
    pub(super) lease: LeaseTimes,
    /// How long a call for a small object may take.
    pub(super) call: Duration,
    /// How long a write to Marathon may take.
    pub(super) write: Duration,
    /// How long control records are kept.
    pub(super) retention: Duration,
    /// When the faults stop.
    pub(super) chaos: Duration,
    /// How many calls of a thousand go wrong.
    pub(super) faults: u64,
    /// One of how many polls freezes an instance, and one of how many kills it; 0 is never.
    pub(super) freezes: u64,
    pub(super) kills: u64,
    /// One of how many calls begins a spell of bad weather for its instance; 0 is never.
    pub(super) spells: u64,
    /// One of how many calls at the end of the control log is an ambush: what it says is learnt when it may be worth
    /// nothing any more; 0 is never.
    pub(super) ambushes: u64,
    /// Whose calls.
    pub(super) prey: Prey,
    /// What actors wait between two deeds, at most.
    pub(super) leisure: Duration,
}

/// Who is ambushed. A holder that loses the lease all the time leaves the others nothing that they may misjudge, so
/// most hunts are for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prey {
    /// Who writes records and checks them.
    Holder,
    /// Who looks for the next record and finds none yet.
    Others,
    Both,
}

impl Settings {
    pub(super) fn of(seed: u64) -> Self {
        let dice = Dice::new(seed, 1);
        let instances = 3 + dice.below(3);
        let exclusive = !dice.one_in(5);
        // Rates lie in a band; a narrow one may lie anywhere within reach.
        let (lowest, widest) = if exclusive { (0.6 + dice.share() * 0.5, 1.4) } else { (0.51, 3.9) };
        let rates = (0..instances).map(|_| match dice.below(4) {
            0 => lowest,
            1 => lowest * widest,
            _ => lowest * (1.0 + dice.share() * (widest - 1.0)),
        });
        let rates = rates.collect();
        let offsets = (0..instances).map(|_| Duration::from_secs(dice.below(7_200))).collect();
        let minutes = *dice.of(&[2, 2, 2, 4, 4, 10, 40]);
        let mut settings = Self {
            seed,
            rates,
            offsets,
            exclusive,
            lease: LeaseTimes::default(),
            call: Duration::from_millis(*dice.of(&[1_500, 3_000, 10_000])),
            write: Duration::from_secs(3),
            retention: Duration::from_secs(*dice.of(&[180, 600, 24 * 3_600])),
            chaos: Duration::from_secs(60 * minutes),
            faults: *dice.of(&[0, 10, 30, 100, 250]),
            freezes: *dice.of(&[0, 500, 2_000, 10_000]),
            kills: *dice.of(&[0, 2_000, 10_000]),
            spells: *dice.of(&[0, 100, 1_000]),
            ambushes: 0,
            prey: Prey::Both,
            leisure: Duration::from_secs(*dice.of(&[1, 5, 30, 30])),
        };
        if dice.one_in(3) {
            settings.hunt(&dice);
        }
        settings
    }

    /// Makes it a hunt for two that may act at the same time, which noise alone meets in one of a hundred runs: clocks
    /// are as far apart as they may be, calls may take long, and the moments that matter are hit on purpose.
    fn hunt(&mut self, dice: &Dice) {
        let lowest = 0.6 + dice.share() * 0.5;
        let first = dice.below(2);
        self.rates =
            (first..).zip(&self.rates).map(|(n, _)| if n % 2 == 0 { lowest } else { lowest * 1.4 }).collect();
        self.exclusive = true;
        self.ambushes = *dice.of(&[8, 20]);
        self.prey = *dice.of(&[Prey::Holder, Prey::Others, Prey::Others, Prey::Both]);
        self.call = Duration::from_secs(*dice.of(&[3, 10]));
        self.chaos = Duration::from_secs(60 * *dice.of(&[3, 6]));
        self.faults = *dice.of(&[0, 10, 30]);
        self.freezes = *dice.of(&[0, 10_000]);
        self.kills = *dice.of(&[0, 10_000]);
        self.spells = *dice.of(&[0, 1_000]);
        self.leisure = Duration::from_secs(30);
    }
}

/// Random choices. Cheap to clone; clones share one sequence.
#[derive(Clone)]
pub(super) struct Dice(Entropy);

impl Dice {
    /// Another sequence for each use of a seed.
    pub(super) fn new(seed: u64, of: u64) -> Self {
        Self(Entropy::seeded(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of.wrapping_mul(0xd6e8_feb8_6659_fd93),
        ))
    }

    pub(super) fn entropy(&self) -> Entropy {
        self.0.clone()
    }

    pub(super) fn next(&self) -> u64 {
        self.0.next() >> 1
    }

    pub(super) fn below(&self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// Never where it is one in 0.
    pub(super) fn one_in(&self, many: u64) -> bool {
        many > 0 && self.below(many) == 0
    }

    /// Between 0 and 1.
    #[expect(clippy::cast_precision_loss, reason = "a thousandth is fine enough")]
    pub(super) fn share(&self) -> f64 {
        self.below(1_001) as f64 / 1_000.0
    }

    pub(super) fn of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// A span of whole milliseconds.
    pub(super) fn span(&self, shortest: u64, longest: u64) -> Duration {
        Duration::from_millis(shortest + self.below(longest - shortest + 1))
    }
}
