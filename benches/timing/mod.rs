//! Contestants that take turns, and what their times come to.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Rounds on the same arrays. Then new ones, elsewhere in memory and in their pages.
    pub rounds_per_placement: usize,
    /// What each contestant runs for in each round, at least.
    pub block: Duration,
    /// Pairs of calls for a row about subnormal states.
    pub pairs: usize,
}

impl Effort {
    pub const FULL: Self =
        Self { rounds: 60, rounds_per_placement: 6, block: Duration::from_millis(1), pairs: 2000 };
    pub const QUICK: Self =
        Self { rounds: 9, rounds_per_placement: 3, block: Duration::from_micros(300), pairs: 200 };

    pub const ONCE: Self = Self { rounds: 1, rounds_per_placement: 1, block: Duration::ZERO, pairs: 1 };

    /// A part of the rounds, for what takes long.
    pub fn part(&self, divisor: usize) -> Self {
        Self { rounds: self.rounds.div_ceil(divisor).max(self.rounds.min(5)), ..*self }
    }
}

/// Something that takes its turn.
pub type Contestant<'a> = Box<dyn FnMut() + 'a>;

/// Nanoseconds a call, by contestant and round.
pub fn samples(contestants: &mut [Contestant], effort: &Effort) -> Vec<Vec<f64>> {
    // Once without the clock, to have pages and caches filled.
    contestants.iter_mut().for_each(|contestant| contestant());
    let calls: Vec<u32> = contestants
        .iter_mut()
        .map(|contestant| enough(effort.block, |calls| time(contestant, calls)))
        .collect();
    in_turn(contestants, effort.rounds, |contestant, i| {
        time(contestant, calls[i]).as_nanos() as f64 / f64::from(calls[i])
    })
}

/// Nanoseconds a call, by contestant and round, on several placements of arrays: `on` makes new ones,
/// and gives the samples of this many rounds.
pub fn placed(effort: &Effort, on: impl Fn(u64, &Effort) -> Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let rounds = effort.rounds_per_placement;
    let placements = effort.rounds.div_ceil(rounds);
    let mut all = on(0, &Effort { rounds, ..*effort });
    for placement in 1..placements {
        let samples = on(placement as u64, &Effort { rounds, ..*effort });
        all.iter_mut().zip(samples).for_each(|(all, more)| all.extend(more));
    }
    all
}

/// As [`samples`], but every call is alone and timed alone, as between the forward and backward passes
/// of a training: the workers have gone to sleep.
pub fn samples_apart(contestants: &mut [Contestant], effort: &Effort, pause: Duration) -> Vec<Vec<f64>> {
    in_turn(contestants, 2 * effort.rounds, |contestant, _| {
        wait(pause);
        time(contestant, 1).as_nanos() as f64
    })
}

fn in_turn(
    contestants: &mut [Contestant],
    rounds: usize,
    sample: impl Fn(&mut Contestant, usize) -> f64,
) -> Vec<Vec<f64>> {
    let mut samples = vec![Vec::new(); contestants.len()];
    for round in 0..rounds {
        for turn in 0..contestants.len() {
            let i = (round + turn) % contestants.len();
            samples[i].push(sample(&mut contestants[i], i));
        }
    }
    samples
}

fn time(contestant: &mut Contestant, calls: u32) -> Duration {
    let start = Instant::now();
    (0..calls).for_each(|_| contestant());
    start.elapsed()
}

/// Keeps the core busy: one that sleeps would be slow after it.
fn wait(pause: Duration) {
    let start = Instant::now();
    while start.elapsed() < pause {
        std::hint::spin_loop();
    }
}

/// How many calls take as long as a block.
pub fn enough(block: Duration, mut time: impl FnMut(u32) -> Duration) -> u32 {
    let mut calls = 1;
    while time(calls) < block {
        calls *= 2;
    }
    calls
}

/// The samples of the contestant with the lowest median.
pub fn fastest(samples: &[Vec<f64>]) -> Option<&[f64]> {
    samples.iter().map(Vec::as_slice).min_by(|a, b| median(a).total_cmp(&median(b)))
}

/// The median of each round's own ratio.
pub fn ratio(a: &[f64], b: &[f64]) -> f64 {
    let ratios: Vec<_> = a.iter().zip(b).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// The median of each round's own difference.
pub fn difference(a: &[f64], b: &[f64]) -> f64 {
    let differences: Vec<_> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    median(&differences)
}

/// The middle one.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A cell of a table for what may be missing.
pub fn cell(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |x| format!("{x:.2}"))
}
