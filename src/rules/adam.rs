//! Adam, with AdamW and AMSGrad: the same configuration, two more steps.

use crate::{
    Error, Isa, State, StateKind, check,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Choice, Fields,
        Range::{BelowOne, NonNegative},
        Visitor,
    },
    lane::{Lane, Lanes},
    power::powers,
    rule::{Configuration, Formula, Kernels, kernels},
};

/// What Adam divides its moments by: `c1` and `c2`, from β1 and β2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BiasCorrection {
    /// `c = 1 − β^t` (Kingma & Ba): undoes the pull of the zeros that the moments start from.
    #[default]
    Step,
    /// `c = 1 − β`, at every step.
    Constant,
    /// `c = 1`: no correction.
    None,
}

impl Choice for BiasCorrection {
    const ALL: &'static [Self] = &[Self::Step, Self::Constant, Self::None];
    const NAMES: &'static [&'static str] = &["step", "constant", "none"];
}

/// The hyper-parameters of [`adam_step`] and [`amsgrad_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// Decay rate of the first moment, β1, in [0, 1). Default 0.9. With 0 the first moment is the gradient,
    /// and there is no state `m`, but for AMSGrad.
    pub beta1: f64,
    /// Decay rate of the second moment, β2, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-8. With 0, an
    /// element whose second moment is zero is divided by zero, as IEEE says. Below 1e-17 it no longer
    /// hides that an average of squares which grows in portions below 2⁻¹²⁶ (gradients below 4e-18)
    /// stays 0: subnormal states are read as zero.
    pub eps: f64,
    /// What the moments are divided by. Default [`BiasCorrection::Step`].
    pub bias_correction: BiasCorrection,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            bias_correction: BiasCorrection::Step,
            weight_decay: 0.0,
            decay: Decay::L2,
        }
    }
}

impl Fields for Adam {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            beta1: visitor.number("beta1", BelowOne, self.beta1)?,
            beta2: visitor.number("beta2", BelowOne, self.beta2)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            bias_correction: visitor.choice("bias_correction", self.bias_correction)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of Adam.
///
/// `m = β1·m + (1−β1)·g; v = β2·v + ((1−β2)·g)·g; w −= (a·m)/(√v·k + ε)` with `a = η/c1`, `k = 1/√c2`
/// and `c1`, `c2` as [`BiasCorrection`] says.
///
/// With `beta1` 0 the first moment is the gradient: `v` as above; `w −= (a·g)/(√v·k + ε)`. Then `m` is
/// empty, and a step moves 20 bytes for each element instead of 28.
///
/// *Adam: A Method for Stochastic Optimization* (Kingma & Ba, 2014).
///
/// `w` (weights), `m`, `v` (state, start as zeros) and `g` (gradient) have the same length, of any
/// size. `w`, `m` and `v` are updated. `t` is the number of this step and counts from 1.
///
/// # Errors
/// [`Error::Length`] if `g`, `m` or `v` is not as long as `w`, [`Error::OptionalState`] if `beta1` is 0
/// and `m` is not empty, [`Error::Step`] if `t` is 0, [`Error::Hyperparameter`] if a field of `config` is
/// out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Adam, adam_step};
///
/// let (mut w, mut m, mut v) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
/// for t in 1..=10 {
///     let g = [w[0], 100.0 * w[1]]; // the gradient of (w0² + 100·w1²)/2
///     adam_step(&mut w, &g, &mut m, &mut v, t, &Adam { lr: 0.1, ..Adam::default() })?;
/// }
/// assert!(w[0] < 0.1 && w[1] < 0.1); // both at one pace, however steep
///
/// let forgetful = Adam { beta1: 0.0, ..Adam::default() };
/// adam_step(&mut w, &[1.0, 1.0], &mut [], &mut v, 11, &forgetful)?;
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn adam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Adam,
) -> Result<(), Error> {
    match first_moment(m, config.beta1)? {
        Some(m) => config.plain_step(Isa::current()?, w, g, [m, v], t),
        None => config.plain_step(Isa::current()?, w, g, [v], t),
    }
}

/// `m`, if it is a state.
#[inline(always)]
pub(crate) fn first_moment(m: &mut [f32], beta1: f64) -> Result<Option<&mut [f32]>, Error> {
    match m {
        [] if beta1 == 0.0 => Ok(None),
        _ if beta1 == 0.0 => {
            let condition = "`beta1` is not 0";
            Err(Error::OptionalState { argument: "m", is_passed: true, condition })
        }
        m => Ok(Some(m)),
    }
}

/// One step of AdamW: [`adam_step`] with decoupled weight decay, `w *= 1 − η·λ` before the update.
///
/// *Decoupled Weight Decay Regularization* (Loshchilov & Hutter, 2019).
///
/// # Errors
/// As [`adam_step`].
///
/// # Example
/// ```
/// use downhill::{Adamw, adamw_step};
///
/// let (mut w, mut m, mut v) = ([1.0], [0.0], [0.0]);
/// let config = Adamw { lr: 0.5, weight_decay: 0.5, ..Adamw::default() };
/// adamw_step(&mut w, &[0.0], &mut m, &mut v, 1, &config)?;
/// assert_eq!(w, [0.75]); // no gradient: w *= 1 - lr*weight_decay
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn adamw_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Adamw,
) -> Result<(), Error> {
    match first_moment(m, config.beta1)? {
        Some(m) => config.plain_step(Isa::current()?, w, g, [m, v], t),
        None => config.plain_step(Isa::current()?, w, g, [v], t),
    }
}

/// One step of AMSGrad: Adam with the largest second moment so far in the denominator.
///
/// `m`, `v` as [`adam_step`]; `v_max = max(v_max, v); w −= (a·m)/(√v_max·k + ε)`. The maximum of a NaN
/// and a number is NaN.
///
/// *On the Convergence of Adam and Beyond* (Reddi, Kale & Kumar, 2018), with the bias correction of Adam
/// as PyTorch has it.
///
/// `w` (weights), `m`, `v`, `v_max` (state, start as zeros) and `g` (gradient) have the same length, of
/// any size. All but `g` are updated. `t` is the number of this step and counts from 1.
///
/// # Errors
/// [`Error::Length`] if `g`, `m`, `v` or `v_max` is not as long as `w` (`m` also where `beta1` is 0),
/// [`Error::Step`] if `t` is 0, [`Error::Hyperparameter`] if a field of `config` is out of its range,
/// [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Adam, amsgrad_step};
///
/// let (mut w, mut m, mut v, mut v_max) = ([1.0], [0.0], [0.0], [0.0]);
/// for (t, g) in [(1, 10.0), (2, 0.0)] {
///     amsgrad_step(&mut w, &[g], &mut m, &mut v, &mut v_max, t, &Adam::default())?;
/// }
/// assert!(v < v_max); // v decays, its maximum does not
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn amsgrad_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    v_max: &mut [f32],
    t: u64,
    config: &Adam,
) -> Result<(), Error> {
    Amsgrad(*config).plain_step(Isa::current()?, w, g, [m, v, v_max], t)
}

/// The hyper-parameters of [`adamw_step`]: Adam's, and a weight decay that is always decoupled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamw {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// Decay rate of the first moment, β1, in [0, 1). Default 0.9. With 0 the first moment is the gradient,
    /// and there is no state `m`.
    pub beta1: f64,
    /// Decay rate of the second moment, β2, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// As [`Adam::eps`]. Default 1e-8.
    pub eps: f64,
    /// What the moments are divided by. Default [`BiasCorrection::Step`].
    pub bias_correction: BiasCorrection,
    /// Weight decay λ, finite and at least 0. Default 1e-2. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
}

impl Default for Adamw {
    fn default() -> Self {
        let Adam { lr, beta1, beta2, eps, bias_correction, .. } = Adam::default();
        Self { lr, beta1, beta2, eps, bias_correction, weight_decay: 1e-2 }
    }
}

impl Fields for Adamw {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            beta1: visitor.number("beta1", BelowOne, self.beta1)?,
            beta2: visitor.number("beta2", BelowOne, self.beta2)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            bias_correction: visitor.choice("bias_correction", self.bias_correction)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
        })
    }
}

impl Adamw {
    /// The same as a configuration of Adam.
    #[inline(always)]
    pub(crate) fn adam(&self) -> Adam {
        let Self { lr, beta1, beta2, eps, bias_correction, weight_decay } = *self;
        Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay: Decay::Decoupled }
    }
}

/// Adam's hyper-parameters as the configuration of AMSGrad ([`amsgrad_step`]), where the type of the
/// configuration selects the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amsgrad(pub Adam);

impl Fields for Amsgrad {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self(self.0.map(visitor)?))
    }
}

impl Adam {
    /// `(c1, c2)`
    #[inline]
    fn corrections(&self, t: u64) -> (f64, f64) {
        match self.bias_correction {
            BiasCorrection::Step => {
                let [beta1_t, beta2_t] = powers([self.beta1, self.beta2], t);
                (1.0 - beta1_t, 1.0 - beta2_t)
            }
            BiasCorrection::Constant => (1.0 - self.beta1, 1.0 - self.beta2),
            BiasCorrection::None => (1.0, 1.0),
        }
    }

    #[inline(always)]
    fn constants(&self, t: u64) -> Constants {
        let (c1, c2) = self.corrections(t);
        Constants {
            beta1: self.beta1 as f32,
            one_minus_beta1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            one_minus_beta2: (1.0 - self.beta2) as f32,
            a: (self.lr / c1) as f32,
            k: (1.0 / c2.sqrt()) as f32,
            eps: self.eps as f32,
        }
    }
}

kernels!(Adam, |config, w, g, t|
    1: [v] => adam_step(w, g, &mut [], v, t, config) if config.beta1 == 0.0;
    2: [m, v] => adam_step(w, g, m, v, t, config);
);
kernels!(Adamw, |config, w, g, t|
    1: [v] => adamw_step(w, g, &mut [], v, t, config) if config.beta1 == 0.0;
    2: [m, v] => adamw_step(w, g, m, v, t, config);
);
kernels!(Amsgrad: 3, |config, w, g, [m, v, v_max], t| amsgrad_step(w, g, m, v, v_max, t, &config.0));

/// The second moment, and before it the first if there are two.
const fn moments<const N: usize>() -> [State; N] {
    let mut states = [State::squares("v"); N];
    if N == 2 {
        states[0] = State::signed("m");
    }
    states
}

impl<const N: usize> Configuration<N> for Adam
where
    Self: Kernels<N>,
    Constants: Formula<N>,
{
    const NAME: &'static str = "adam";
    const STATES: [State; N] = moments();

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, t: u64) -> Result<(), Error> {
        check::step(t)
    }

    #[inline(always)]
    fn formula(&self, t: u64) -> Constants {
        self.constants(t)
    }

    #[inline(always)]
    fn largest_rate(&self) -> f64 {
        self.lr / (1.0 - self.beta1)
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { decay, weight_decay, lr, .. } = *self;
        WeightDecay { decay, weight_decay, lr }
    }
}

impl<const N: usize> Configuration<N> for Adamw
where
    Self: Kernels<N>,
    Constants: Formula<N>,
{
    const NAME: &'static str = "adamw";
    const STATES: [State; N] = moments();

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, t: u64) -> Result<(), Error> {
        check::step(t)
    }

    #[inline(always)]
    fn formula(&self, t: u64) -> Constants {
        self.adam().constants(t)
    }

    #[inline(always)]
    fn largest_rate(&self) -> f64 {
        self.lr / (1.0 - self.beta1)
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { weight_decay, lr, .. } = *self;
        WeightDecay { decay: Decay::Decoupled, weight_decay, lr }
    }
}

impl Configuration<3> for Amsgrad {
    const NAME: &'static str = "amsgrad";
    const STATES: [State; 3] =
        [State::signed("m"), State::squares("v"), State::new("v_max", StateKind::Maximum)];

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, t: u64) -> Result<(), Error> {
        check::step(t)
    }

    #[inline(always)]
    fn formula(&self, t: u64) -> Constants {
        self.0.constants(t)
    }

    #[inline(always)]
    fn largest_rate(&self) -> f64 {
        self.0.lr / (1.0 - self.0.beta1)
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Adam { decay, weight_decay, lr, .. } = self.0;
        WeightDecay { decay, weight_decay, lr }
    }
}

#[derive(Clone, Copy)]
pub struct Constants {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    a: f32,
    k: f32,
    eps: f32,
}

impl Formula<2> for Constants {
    const IS_DECAYED: bool = true;
    const IS_FUSED: bool = true;

    #[inline(always)]
    fn rates(&self) -> [f32; 2] {
        [self.a; 2]
    }

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [m, v]: [Lane<S>; 2],
    ) -> ([Lane<S>; 2], impl FnOnce() -> Lane<S>) {
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + (self.one_minus_beta2 * g) * g;
        let root = v.sqrt();
        (
            [m, v],
            #[inline(always)]
            move || w - (self.a * m) / (root * self.k + self.eps),
        )
    }
}

/// Without a first moment: the gradient takes its place.
impl Formula<1> for Constants {
    const IS_DECAYED: bool = true;

    #[inline(always)]
    fn rates(&self) -> [f32; 2] {
        [self.a; 2]
    }

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [v]: [Lane<S>; 1],
    ) -> ([Lane<S>; 1], impl FnOnce() -> Lane<S>) {
        let v = self.beta2 * v + (self.one_minus_beta2 * g) * g;
        let root = v.sqrt();
        (
            [v],
            #[inline(always)]
            move || w - (self.a * g) / (root * self.k + self.eps),
        )
    }
}

/// AMSGrad: the largest `v` so far takes `v`'s place in the denominator.
impl Formula<3> for Constants {
    #[inline(always)]
    fn rates(&self) -> [f32; 2] {
        [self.a; 2]
    }

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [m, v, v_max]: [Lane<S>; 3],
    ) -> ([Lane<S>; 3], impl FnOnce() -> Lane<S>) {
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + (self.one_minus_beta2 * g) * g;
        let v_max = v_max.max(v);
        let root = v_max.sqrt();
        (
            [m, v, v_max],
            #[inline(always)]
            move || w - (self.a * m) / (root * self.k + self.eps),
        )
    }
}
