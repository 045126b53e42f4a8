//! The text: its words by number, and pairs of words that stand near each other.

use std::{collections::HashMap, io::Read};

use flate2::read::GzDecoder;
use rand_pcg::{Pcg32, rand_core::Rng};

/// Words on each side of a word that can make a pair with it.
const WINDOW: u32 = 5;
/// Words with a larger share of the text than this are left out at random.
const FREQUENT: f64 = 1e-3;
/// Every so many paragraphs one is not trained on.
const HELD_OUT: usize = 20;
/// Drawn words for each pair.
const NEGATIVES: usize = 5;

/// What stands in the file, the most frequent word first.
pub struct Text {
    pub words: Vec<String>,
    pub counts: Vec<u32>,
    paragraphs: Vec<Vec<u32>>,
}

/// Which paragraphs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Training,
    HeldOut,
}

/// A word, and one that stands near it in the text or, for the negative ones, was drawn.
#[derive(Clone, Copy)]
pub struct Sample {
    pub input: u32,
    pub output: u32,
    pub is_near: bool,
}

impl Text {
    pub fn load() -> Self {
        let packed = include_bytes!("../../data/austen.txt.gz");
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("the file is whole");
        let mut counts: HashMap<&str, u32> = HashMap::new();
        for word in text.split_whitespace() {
            *counts.entry(word).or_default() += 1;
        }
        let mut words: Vec<(&str, u32)> = counts.into_iter().collect();
        words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let numbers: HashMap<&str, u32> = words.iter().map(|word| word.0).zip(0..).collect();
        let paragraph = |line: &str| line.split_whitespace().map(|word| numbers[word]).collect();
        Self {
            paragraphs: text.lines().map(paragraph).collect(),
            counts: words.iter().map(|word| word.1).collect(),
            words: words.iter().map(|word| word.0.to_owned()).collect(),
        }
    }

    /// How many words it has, each as often as it stands there.
    pub fn len(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// The number of a word.
    pub fn number(&self, word: &str) -> Result<u32, String> {
        let place = self.words.iter().position(|other| other == word);
        place.map(|place| place as u32).ok_or_else(|| format!("`{word}` is not in the text"))
    }

    fn part(&self, part: Part) -> impl Iterator<Item = &Vec<u32>> {
        let paragraphs = self.paragraphs.iter().enumerate();
        let is_held_out = move |k: usize| k % HELD_OUT == HELD_OUT - 1;
        paragraphs
            .filter(move |(k, _)| is_held_out(*k) == (part == Part::HeldOut))
            .map(|(_, words)| words)
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
    pub fn new(text: &'a Text, seed: u64, stream: u64) -> Self {
        let total = f64::from(text.len());
        let kept = |count: &u32| (FREQUENT * total / f64::from(*count)).sqrt();
        let mut sum = 0.0;
        let weights = text.counts.iter().map(|&count| {
            let root = f64::from(count).sqrt();
            sum += root * root.sqrt();
            sum
        });
        Self {
            weights: weights.collect(),
            kept: text.counts.iter().map(kept).collect(),
            random: Pcg32::new(seed, stream),
            text,
        }
    }

    /// The pairs of an epoch, shuffled: each kept word with those within a distance that is drawn anew
    /// for each.
    pub fn pairs(&mut self, part: Part) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        for paragraph in self.text.part(part) {
            let kept = paragraph
                .iter()
                .copied()
                .filter(|&word| self.kept[word as usize] > unit(&mut self.random));
            let kept: Vec<u32> = kept.collect();
            for (i, &word) in kept.iter().enumerate() {
                let reach = 1 + below(&mut self.random, WINDOW) as usize;
                let near = i.saturating_sub(reach)..kept.len().min(i + reach + 1);
                pairs.extend(near.filter(|&j| j != i).map(|j| (word, kept[j])));
            }
        }
        for i in (1..pairs.len()).rev() {
            pairs.swap(i, below(&mut self.random, i as u32 + 1) as usize);
        }
        pairs
    }

    /// A mini-batch: each pair, and after it the negative samples for its word.
    pub fn samples(&mut self, pairs: &[(u32, u32)]) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(pairs.len() * (1 + NEGATIVES));
        for &(input, output) in pairs {
            samples.push(Sample { input, output, is_near: true });
            for _ in 0..NEGATIVES {
                samples.push(Sample { input, output: self.other_than(output), is_near: false });
            }
        }
        samples
    }

    /// A word drawn by its count^¾.
    fn other_than(&mut self, word: u32) -> u32 {
        loop {
            let place = unit(&mut self.random) * self.weights[self.weights.len() - 1];
            let drawn = self.weights.partition_point(|&sum| sum <= place) as u32;
            if drawn != word {
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
