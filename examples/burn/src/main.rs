//! burn with downhill's AdamW: a `SimpleOptimizer` like burn's own, and both raced. Each trains the same network; losses
//! agree, and a step is a fraction of the time, although burn hands out copies.
//!
//!     cargo run --release

use std::time::{Duration, Instant};

use burn::{
    backend::{Autodiff, NdArray},
    module::Module,
    nn::{Linear, LinearConfig, loss::MseLoss, loss::Reduction},
    optim::{AdamWConfig, GradientsParams, Optimizer, SimpleOptimizer, adaptor::OptimizerAdaptor},
    record::Record,
    tensor::{Device, Tensor, TensorData, activation::relu, backend::Backend},
};
use downhill::{Adamw, adamw_step};

/// AdamW. The learning rate is that of the call.
#[derive(Clone)]
struct Downhill(Adamw);

/// What is kept of one tensor.
#[derive(Record, Clone)]
struct States<B: Backend, const D: usize> {
    m: Tensor<B, D>,
    v: Tensor<B, D>,
    t: u64,
}

/// The numbers of a tensor, copied unless nobody else has them.
fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().into_vec().expect("a backend in f32")
}

impl<B: Backend> SimpleOptimizer<B> for Downhill {
    type State<const D: usize> = States<B, D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        states: Option<States<B, D>>,
    ) -> (Tensor<B, D>, Option<States<B, D>>) {
        let (device, shape) = (tensor.device(), tensor.shape());
        let (mut m, mut v, t) = match states {
            Some(states) => (values(states.m), values(states.v), states.t + 1),
            None => (vec![0.0; shape.num_elements()], vec![0.0; shape.num_elements()], 1),
        };
        let (mut w, g) = (values(tensor), values(gradient));
        adamw_step(&mut w, &g, &mut m, &mut v, t, &Adamw { lr, ..self.0 })
            .expect("a valid configuration");
        let back = |values| Tensor::from_data(TensorData::new(values, shape.clone()), &device);
        (back(w), Some(States { m: back(m), v: back(v), t }))
    }

    fn to_device<const D: usize>(states: States<B, D>, device: &Device<B>) -> States<B, D> {
        States { m: states.m.to_device(device), v: states.v.to_device(device), t: states.t }
    }
}

type B = Autodiff<NdArray>;
const WIDTH: usize = 1024;

#[derive(Module, Debug)]
struct Network<B: Backend> {
    hidden: Linear<B>,
    output: Linear<B>,
}

/// The losses of some steps, and how long the optimizer took for one: the best, as others may be at work.
fn train(mut network: Network<B>, mut optimizer: impl Optimizer<Network<B>, B>) -> (Vec<f32>, Duration) {
    let x = Tensor::<B, 1>::from_floats(
        &*(0..16 * WIDTH).map(|i| (i as f32).sin()).collect::<Vec<_>>(),
        &Default::default(),
    );
    let x = x.reshape([16, WIDTH]);
    let y = x.clone().narrow(1, 0, 2).sum_dim(1);
    let (mut losses, mut best) = (Vec::new(), Duration::MAX);
    for _ in 0..60 {
        let prediction = network.output.forward(relu(network.hidden.forward(x.clone())));
        let loss = MseLoss::new().forward(prediction, y.clone(), Reduction::Mean);
        losses.push(loss.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let start = Instant::now();
        network = optimizer.step(1e-3, network, gradients);
        best = best.min(start.elapsed());
    }
    (losses, best)
}

fn main() {
    let device = Default::default();
    let network = Network {
        hidden: LinearConfig::new(WIDTH, WIDTH).init(&device),
        output: LinearConfig::new(WIDTH, 1).init(&device),
    };
    let weights = network.num_params();
    let config = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01);
    let (theirs, their_time) = train(network.clone(), config.init());
    let (ours, our_time) = train(network, OptimizerAdaptor::from(Downhill(Adamw::default())));
    println!("step   burn's AdamW   downhill");
    for step in [0, 1, 10, 59] {
        println!("{step:4}   {:<12.6}   {:.6}", theirs[step], ours[step]);
    }
    println!("a step of {weights} weights takes {their_time:.1?} and {our_time:.1?}");
    // burn computes 1 − β in f32, which for 0.999 is off by 1e-5 of it.
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-2 * a.abs() + 1e-5;
    assert!(theirs.iter().zip(&ours).all(close), "the losses differ");
    assert!(ours[59] < 0.1 * ours[0], "the loss did not fall");
}
