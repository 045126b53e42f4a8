//! Training with fewer bits comes as far as with `f32`.

#[allow(dead_code, reason = "one of the two splits")]
#[path = "../examples/common/digits.rs"]
mod digits;
#[allow(dead_code, reason = "the example has more kinds of runs")]
#[path = "../examples/packed/runs.rs"]
mod runs;

use digits::{Digits, Split};
use runs::{Comparison, Held, StateType, WeightType, held};
use trainer::models::Model;

const SEEDS: u64 = 8;
const EPOCHS: u32 = 8;

/// With Adam, the loss within 2 % and the accuracy within 0.3 points, both on average over all seeds.
fn assert_close(model: impl Model<Target = usize> + Copy) {
    let (digits, rule) = (Digits::load(Split::EveryFifth), runs::adam(0.003));
    let train = |held| {
        let outcomes = (0..SEEDS).map(|seed| runs::train(model, &digits, &*rule, held, seed, EPOCHS));
        outcomes.collect::<runs::Result<Vec<_>>>().unwrap()
    };
    let plain = train(Held::PLAIN);
    for (weights, states) in [
        (WeightType::F32, StateType::Bits8),
        (WeightType::F32, StateType::Bf16),
        (WeightType::Split, StateType::F32),
        (WeightType::Bf16, StateType::F32),
    ] {
        let comparison = Comparison::new(&train(held(weights, states)), &plain);
        println!("{weights:?} {states:?} {comparison:?}");
        assert!(comparison.is_close(), "{weights:?} {states:?} {comparison:?}");
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
