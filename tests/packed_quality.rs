//! Training with packed states comes as far as with states of `f32`.

use downhill::StateFormat;

#[allow(dead_code, reason = "one of the two splits")]
#[path = "../examples/common/digits.rs"]
mod digits;
#[allow(dead_code, reason = "the example has more kinds of runs")]
#[path = "../examples/packed/runs.rs"]
mod runs;

use digits::{Digits, Split};
use runs::{Comparison, Held, at_random};
use trainer::models::Model;

const SEEDS: u64 = 8;
const EPOCHS: u32 = 8;

/// With Adam, the loss within 2 % and the accuracy within 0.3 points, both on average over all seeds.
fn assert_close(model: impl Model<Target = usize> + Copy) {
    let (digits, rule) = (Digits::load(Split::EveryFifth), runs::adam(0.003));
    let train = |held| {
        let outcomes = (0..SEEDS).map(|seed| runs::train(model, &digits, &rule, held, seed, EPOCHS));
        outcomes.collect::<runs::Result<Vec<_>>>().unwrap()
    };
    let plain = train(Held::Plain);
    for format in [StateFormat::Bits8, StateFormat::Bf16] {
        let comparison = Comparison::new(&train(Held::States(at_random(format))), &plain);
        println!("{format:?} {comparison:?}");
        assert!(comparison.is_close(), "{format:?} {comparison:?}");
    }
}

#[test]
fn softmax_regression() {
    assert_close(runs::softmax());
}

#[test]
fn network() {
    assert_close(runs::mlp());
}
