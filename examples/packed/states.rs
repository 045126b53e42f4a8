//! How far packed states are from those of `f32` after many steps with the same gradients.

use downhill::Optimizer;
use trainer::{Trainer, models::Model};

use crate::{
    digits::Digits,
    runs::{Held, Result, Steps, mean, mlp, options},
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

/// For each way to hold them, the deviation of each state. All are fed with the gradients of a run with
/// `f32`.
pub fn deviations(
    rule: &dyn Optimizer,
    digits: &Digits,
    all: &[Held],
    seed: u64,
) -> Result<Vec<Vec<Deviation>>> {
    let model = mlp();
    let mut w = model.initial_weights(seed);
    let n = w.len();
    let mut new = |held| Steps::new(rule, held, seed, &mut w);
    let mut plain = new(Held::PLAIN)?;
    let mut narrow = all.iter().map(|&held| new(held)).collect::<Result<Vec<_>>>()?;
    let mut trainer = Trainer::new(model, digits.training(), w, 0, options(seed))?;
    while trainer.steps() < STEPS {
        trainer.epoch(|w, g, _, t| {
            if t > STEPS {
                return Ok(());
            }
            for steps in &mut narrow {
                steps.step(&mut w.to_vec(), g, t)?;
            }
            plain.step(w, g, t).map(drop)
        })?;
    }
    let exact = plain.states(n)?;
    let deviations = |steps: Steps| {
        let ours = steps.states(n)?;
        Ok(ours.iter().zip(&exact).map(|(ours, exact)| deviation(ours, exact)).collect())
    };
    narrow.into_iter().map(deviations).collect()
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
