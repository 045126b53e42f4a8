//! How long both ways take.

use std::{error::Error, time::Instant};

use downhill::Threads;
use indicatif::ProgressBar;

use crate::{
    model::Model,
    ways::{one_call, passes},
};

/// Milliseconds of a step with this many threads, medians of all rounds.
pub struct Timing {
    pub threads: usize,
    /// Of each pass, and of all of one step.
    pub passes: [f64; 4],
    pub together: f64,
    pub call: f64,
}

/// Both ways take turns, and so do the numbers of threads. The model has its gradients.
pub fn time(
    model: &mut Model,
    threads: &[(usize, Threads<'_>)],
    rounds: u16,
    bar: &ProgressBar,
) -> Result<Vec<Timing>, Box<dyn Error>> {
    let mut samples = vec![Samples::default(); threads.len()];
    for round in 0..rounds {
        for (samples, &(_, threads)) in samples.iter_mut().zip(threads) {
            let t = 1 + u64::from(round);
            if round % 2 == 0 {
                samples.call(model, t, threads)?;
                samples.passes(model, t, threads)?;
            } else {
                samples.passes(model, t, threads)?;
                samples.call(model, t, threads)?;
            }
        }
        bar.inc(1);
    }
    Ok(samples.into_iter().zip(threads).map(|(samples, &(count, _))| samples.medians(count)).collect())
}

/// Milliseconds.
#[derive(Clone, Default)]
struct Samples {
    passes: [Vec<f64>; 4],
    together: Vec<f64>,
    call: Vec<f64>,
}

impl Samples {
    fn call(&mut self, model: &mut Model, t: u64, threads: Threads<'_>) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        let is_done = one_call(model, t, threads)?;
        self.call.push(1e3 * start.elapsed().as_secs_f64());
        if is_done { Ok(()) } else { Err("a step was skipped".into()) }
    }

    fn passes(&mut self, model: &mut Model, t: u64, threads: Threads<'_>) -> Result<(), Box<dyn Error>> {
        let times = passes(model, t, threads)?.ok_or("a step was skipped")?;
        let times = times.map(|time| 1e3 * time.as_secs_f64());
        self.passes.iter_mut().zip(times).for_each(|(samples, time)| samples.push(time));
        self.together.push(times.iter().sum());
        Ok(())
    }

    fn medians(self, threads: usize) -> Timing {
        let Self { passes, together, call } = self;
        let passes = passes.map(median);
        Timing { threads, passes, together: median(together), call: median(call) }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}
