//! The text: its words by number, and pairs of words that stand near each other.

use std::{cmp::Reverse, collections::HashMap, io::Read};

use flate2::read::GzDecoder;
use rand_pcg::{Pcg32, rand_core::Rng};

/// Words on each side of a word that can make a pair with it.
const WINDOW: u32 = 5;
/// Words with a larger share of the text than this are left out at random.
const FREQUENT: f64 = 1e-3;
/// Every so many paragraphs one is held out.
const HELD_OUT: usize = 20;
/// Drawn words for each pair.
pub const NEGATIVES: usize = 5;

pub struct Text {
    /// With their counts, the most frequent one first.
    pub words: Vec<(String, u32)>,
    paragraphs: Vec<Vec<u32>>,
}

impl Text {
    pub fn load() -> Self {
        let packed = include_bytes!("../../data/austen.txt.gz");
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("the file is whole");
        let mut counts: HashMap<&str, u32> = HashMap::new();
        text.split_whitespace().for_each(|word| *counts.entry(word).or_default() += 1);
        let mut words: Vec<(&str, u32)> = counts.into_iter().collect();
        words.sort_unstable_by_key(|&(word, count)| (Reverse(count), word));
        let numbers: HashMap<&str, u32> = words.iter().map(|word| word.0).zip(0..).collect();
        let paragraph = |line: &str| line.split_whitespace().map(|word| numbers[word]).collect();
        let paragraphs = text.lines().map(paragraph).collect();
        let words = words.into_iter().map(|(word, count)| (word.to_owned(), count)).collect();
        Self { words, paragraphs }
    }

    /// The number of a word that is in the text.
    pub fn number(&self, word: &str) -> usize {
        self.words.iter().position(|(other, _)| other == word).expect("a word of the novels")
    }
}

/// Draws pairs and negative samples, as in *Distributed Representations of Words and Phrases and their
/// Compositionality* (Mikolov, Sutskever, Chen, Corrado & Dean, 2013).
pub struct Sampler<'a> {
    text: &'a Text,
    random: Pcg32,
    /// The probability that a word of this number is not left out.
    kept: Vec<f64>,
    /// The sums of all counts^¾ up to a word's.
    weights: Vec<f64>,
}

impl<'a> Sampler<'a> {
    pub fn new(text: &'a Text, stream: u64) -> Self {
        let counts = || text.words.iter().map(|&(_, count)| f64::from(count));
        let total: f64 = counts().sum();
        let kept = counts().map(|count| (FREQUENT * total / count).sqrt()).collect();
        let mut sum = 0.0;
        let add = |count: f64| {
            sum += count.sqrt() * count.sqrt().sqrt();
            sum
        };
        Self { text, random: Pcg32::new(0, stream), kept, weights: counts().map(add).collect() }
    }

    /// Pairs from all paragraphs that are held out, or from all others, shuffled: each word that is not
    /// left out, with those within a distance that is drawn anew for each.
    pub fn pairs(&mut self, is_held_out: bool) -> Vec<[u32; 2]> {
        let mut pairs = Vec::new();
        let is_wanted = |k: usize| (k % HELD_OUT == HELD_OUT - 1) == is_held_out;
        for (_, paragraph) in self.text.paragraphs.iter().enumerate().filter(|(k, _)| is_wanted(*k)) {
            let mut kept = paragraph.clone();
            kept.retain(|&word| self.kept[word as usize] > unit(&mut self.random));
            for (i, &word) in kept.iter().enumerate() {
                let reach = 1 + below(&mut self.random, WINDOW) as usize;
                let near = i.saturating_sub(reach)..kept.len().min(i + reach + 1);
                pairs.extend(near.filter(|&j| j != i).map(|j| [word, kept[j]]));
            }
        }
        for i in (1..pairs.len()).rev() {
            pairs.swap(i, below(&mut self.random, i as u32 + 1) as usize);
        }
        pairs
    }

    /// A mini-batch, as a list of first words and one of second words: each pair, and after it the first
    /// word of it with each of its negative samples.
    pub fn samples(&mut self, pairs: &[[u32; 2]]) -> [Vec<i64>; 2] {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for &[word, near] in pairs {
            first.extend([i64::from(word); 1 + NEGATIVES]);
            second.push(near.into());
            second.extend((0..NEGATIVES).map(|_| self.other_than(near)));
        }
        [first, second]
    }

    /// A word drawn by its count^¾.
    fn other_than(&mut self, word: u32) -> i64 {
        loop {
            let place = unit(&mut self.random) * self.weights[self.weights.len() - 1];
            let drawn = self.weights.partition_point(|&sum| sum <= place) as i64;
            if drawn != word.into() {
                return drawn;
            }
        }
    }
}

/// Uniform in [0, 1).
pub fn unit(random: &mut Pcg32) -> f64 {
    f64::from(random.next_u32()) / (1_u64 << 32) as f64
}

/// Uniform below `n`, but for what is less than 2⁻³².
fn below(random: &mut Pcg32, n: u32) -> u32 {
    ((u64::from(random.next_u32()) * u64::from(n)) >> 32) as u32
}
