//! The handwritten digits in `data/digits.csv`, split into a part to train on and a part to test with.

use trainer::data::Data;

/// Pixels of a digit.
pub const PIXELS: usize = 64;
/// The digits from 0 to 9.
pub const CLASSES: usize = 10;
/// Digits to train on.
pub const TRAINING: usize = 1437;
/// Digits to test with.
pub const TEST: usize = 360;

/// Which digits test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The last ones of the file. They are less like the others than a random choice would be.
    Last,
    /// Every fifth, beginning with the first.
    EveryFifth,
}

/// Both parts, pixels from 0 to 1.
#[derive(Default)]
pub struct Digits {
    training: Part,
    test: Part,
}

#[derive(Default)]
struct Part {
    inputs: Vec<f32>,
    classes: Vec<usize>,
}

impl Digits {
    /// All 1,797 of them.
    pub fn load(split: Split) -> Self {
        let mut digits = Self::default();
        for (k, line) in include_str!("../../data/digits.csv").lines().enumerate() {
            let tests = match split {
                Split::Last => k >= TRAINING,
                Split::EveryFifth => k % 5 == 0,
            };
            let part = if tests { &mut digits.test } else { &mut digits.training };
            part.push(line);
        }
        assert_eq!((digits.training.classes.len(), digits.test.classes.len()), (TRAINING, TEST));
        digits
    }

    /// The digits to train on.
    pub fn training(&self) -> Data<'_, usize> {
        self.training.data()
    }

    /// The digits to test with.
    pub fn test(&self) -> Data<'_, usize> {
        self.test.data()
    }
}

impl Part {
    fn push(&mut self, line: &str) {
        let (pixels, class) = line.rsplit_once(',').expect("the class is in the last column");
        let pixels = pixels.split(',').map(|pixel| pixel.parse::<f32>().expect("a number"));
        self.inputs.extend(pixels.map(|pixel| pixel / 16.0));
        self.classes.push(class.parse().expect("a class"));
    }

    fn data(&self) -> Data<'_, usize> {
        Data { inputs: &self.inputs, targets: &self.classes }
    }
}
