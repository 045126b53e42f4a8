//! candle with downhill's AdamW: an `Optimizer` like candle's own, and both raced. Each trains the same network; losses
//! agree to rounding, and a step is a fraction of the time.
//!
//!     cargo run --release

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use candle_core::{
    CpuStorage, DType, Device, Error, InplaceOp2, Layout, Result, Tensor, Var, backprop::GradStore,
};
use candle_nn::{AdamW, Linear, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear};
use downhill::{Adamw, adamw_step};

/// AdamW for all variables of a model.
struct Downhill {
    variables: Vec<(Var, Mutex<[Vec<f32>; 2]>)>,
    config: Adamw,
    t: u64,
}

impl Optimizer for Downhill {
    type Config = Adamw;

    fn new(variables: Vec<Var>, config: Adamw) -> Result<Self> {
        let with_states = |var: Var| {
            let zeros = vec![0.0; var.elem_count()];
            (var, Mutex::new([zeros.clone(), zeros]))
        };
        Ok(Self { variables: variables.into_iter().map(with_states).collect(), config, t: 0 })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.t += 1;
        for (var, states) in &self.variables {
            if let Some(g) = gradients.get(var) {
                var.inplace_op2(&g.contiguous()?, &Step { states, config: &self.config, t: self.t })?;
            }
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.config.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.config.lr = lr;
    }
}

/// The step of one variable, in its own memory: candle hands out `w` to be written and `g` to be read.
struct Step<'a> {
    states: &'a Mutex<[Vec<f32>; 2]>,
    config: &'a Adamw,
    t: u64,
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "downhill"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, w_at: &Layout, g: &CpuStorage, g_at: &Layout) -> Result<()> {
        let (CpuStorage::F32(w), CpuStorage::F32(g)) = (w, g) else {
            candle_core::bail!("downhill steps variables and gradients in f32");
        };
        let (Some((w_from, w_to)), Some((g_from, g_to))) =
            (w_at.contiguous_offsets(), g_at.contiguous_offsets())
        else {
            candle_core::bail!("downhill steps variables that are contiguous");
        };
        let [m, v] = &mut *self.states.lock().expect("no step panics");
        adamw_step(&mut w[w_from..w_to], &g[g_from..g_to], m, v, self.t, self.config)
            .map_err(Error::wrap)
    }
}

/// Two layers, with the same weights at the start in every run.
struct Network {
    hidden: Linear,
    output: Linear,
    variables: Vec<Var>,
}

const WIDTH: usize = 1024;

impl Network {
    fn new() -> Result<Self> {
        let map = VarMap::new();
        let builder = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
        let hidden = linear(WIDTH, WIDTH, builder.pp("hidden"))?;
        let output = linear(WIDTH, 1, builder.pp("output"))?;
        // A hash of the place, between −1 and 1, as candle's own random numbers have no seed on the CPU.
        for var in map.all_vars() {
            let hash = |i: usize| {
                (i as u32 + 1).wrapping_mul(0x9e37_79b9).rotate_left(13).wrapping_mul(0x85eb_ca6b)
            };
            let place = |i| {
                (f64::from(hash(i)) / f64::from(u32::MAX) * 2.0 - 1.0) as f32 / (WIDTH as f32).sqrt()
            };
            let values: Vec<f32> = (0..var.elem_count()).map(place).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
        }
        Ok(Self { hidden, output, variables: map.all_vars() })
    }

    fn loss(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let prediction = self.output.forward(&self.hidden.forward(x)?.relu()?)?;
        candle_nn::loss::mse(&prediction, y)
    }
}

/// The losses of some steps, and how long the optimizer took for one: the best, as others may be at work.
fn train<O: Optimizer>(config: O::Config) -> Result<(Vec<f32>, Duration)> {
    let network = Network::new()?;
    let mut optimizer = O::new(network.variables.clone(), config)?;
    let x = Tensor::arange(0.0, (16 * WIDTH) as f32, &Device::Cpu)?.sin()?.reshape((16, WIDTH))?;
    let y = x.narrow(1, 0, 2)?.sum_keepdim(1)?;
    let (mut losses, mut best) = (Vec::new(), Duration::MAX);
    for _ in 0..60 {
        let loss = network.loss(&x, &y)?;
        losses.push(loss.to_scalar()?);
        let gradients = loss.backward()?;
        let start = Instant::now();
        optimizer.step(&gradients)?;
        best = best.min(start.elapsed());
    }
    Ok((losses, best))
}

fn main() -> Result<()> {
    let (theirs, their_time) = train::<AdamW>(ParamsAdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
    })?;
    let (ours, our_time) = train::<Downhill>(Adamw { lr: 1e-3, ..Adamw::default() })?;
    println!("step   candle's AdamW   downhill");
    for step in [0, 1, 10, 59] {
        println!("{step:4}   {:<14.6}   {:.6}", theirs[step], ours[step]);
    }
    println!("a step of {} weights takes {their_time:.1?} and {our_time:.1?}", WIDTH * (WIDTH + 2) + 1);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * a.abs() + 1e-5;
    assert!(theirs.iter().zip(&ours).all(close), "the losses differ");
    assert!(ours[59] < 0.1 * ours[0], "the loss did not fall");
    Ok(())
}
