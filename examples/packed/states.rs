//! How far packed states are from those of `f32` after many steps with the same gradients.

use downhill::Packing;
use trainer::{Trainer, models::Model};

use crate::{
    digits::Digits,
    runs::{Held, Result, Rule, Steps, mean, mlp, options, with_seed},
};

pub const STEPS: u64 = 1000;
/// Of the root mean square. What is smaller hardly matters, and a ratio to it says little.
const TINY: f64 = 1e-3;

/// Of one state from that of `f32`.
pub struct Deviation {
    /// ‖x̂ − x‖/‖x‖
    pub norm: f64,
    /// The median of |x̂/x − 1|, without tiny x.
    pub median: f64,
    /// The mean of x̂/x, without tiny x.
    pub ratio: f64,
    /// The mean of √(x/x̂), without tiny x. For Adam's v: how much longer it makes the steps.
    pub step: f64,
}

/// For each packing, the deviation of each state. All are fed with the gradients of a run with `f32`.
pub fn deviations(
    rule: &Rule,
    digits: &Digits,
    packings: &[Packing],
    seed: u64,
) -> Result<Vec<Vec<Deviation>>> {
    let model = mlp();
    let w = model.initial_weights(seed);
    let new = |held| Steps::new(rule, held, seed, w.len());
    let mut plain = new(Held::Plain)?;
    let mut packed: Vec<Steps> =
        packings.iter().map(|&packing| new(Held::States(packing))).collect::<Result<_>>()?;
    let count = rule.plain.state_names().len();
    let mut trainer = Trainer::new(model, digits.training(), w, count, options(seed))?;
    while trainer.steps() < STEPS {
        trainer.epoch(|w, g, states, t| {
            if t > STEPS {
                return Ok(());
            }
            for steps in &mut packed {
                steps.step(&mut w.to_vec(), g, &mut [], t)?;
            }
            plain.step(w, g, states, t)
        })?;
    }
    let deviations = |(steps, &packing): (&Steps, &Packing)| {
        let packing = with_seed(packing, seed);
        let mut states = vec![vec![0.0; trainer.weights().len()]; count];
        let mut slices: Vec<&mut [f32]> = states.iter_mut().map(Vec::as_mut_slice).collect();
        rule.packed.unpack(&steps.state, packing.format, &mut slices)?;
        Ok(states.iter().zip(trainer.states()).map(|(ours, exact)| deviation(ours, exact)).collect())
    };
    packed.iter().zip(packings).map(deviations).collect()
}

fn deviation(ours: &[f32], exact: &[f32]) -> Deviation {
    let pairs: Vec<(f64, f64)> =
        ours.iter().zip(exact).map(|(&ours, &exact)| (ours.into(), exact.into())).collect();
    let squares = pairs.iter().map(|(_, exact)| exact * exact).sum::<f64>();
    let errors = pairs.iter().map(|(ours, exact)| (ours - exact).powi(2)).sum::<f64>();
    let tiny = TINY * (squares / pairs.len() as f64).sqrt();
    let ratios: Vec<f64> =
        pairs.iter().filter(|(_, exact)| exact.abs() > tiny).map(|(ours, exact)| ours / exact).collect();
    Deviation {
        norm: (errors / squares).sqrt(),
        median: median(ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect()),
        ratio: mean(ratios.iter().copied()),
        step: mean(ratios.iter().map(|ratio| ratio.powf(-0.5))),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
