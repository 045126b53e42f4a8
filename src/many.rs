//! A whole training step over many tensors: norm, clip, skip, decay, update and zero in one call.

use std::hint;

use crate::{
    Error, Isa, Threads, check,
    norm::{Value, sum_of_squares},
    rule::{Configuration, Update, check_lengths},
    sweep::{bytes, is_far},
    threads::{BLOCK, Piece},
};

/// What keeps the clipping factor finite when the norm is zero, as in PyTorch.
const CLIP_EPS: f64 = 1e-6;

/// The arrays of one tensor, all equally long: for a rule with `N` states, in the order of the step
/// function's arguments.
#[derive(Debug)]
pub struct Tensor<'a, const N: usize> {
    /// Weights, updated.
    pub w: &'a mut [f32],
    /// Gradient. Only [`Extras::zero_grad`] writes to it.
    pub g: &'a mut [f32],
    /// States, updated; zeros before the first step.
    pub state: [&'a mut [f32]; N],
}

/// What else a whole step does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extras {
    /// What gradients are multiplied by, finite: the inverse of a loss scale, one over a number of samples,
    /// −1 to maximize. Default 1.
    pub grad_scale: f64,
    /// The norm of all scaled gradients together above which they are scaled down to it, finite and at
    /// least 0. Default 0: no clipping. A norm that is NaN makes all weights NaN, and an infinite one
    /// multiplies all gradients by 0, if `skip_nonfinite` does not prevent it.
    pub max_norm: f64,
    /// Set the gradients to zero after the step, unless it is skipped. Default false.
    pub zero_grad: bool,
    /// Change nothing at all if a gradient is NaN or infinite, or if one may become infinite when it is scaled: if
    /// the norm times what gradients are to be multiplied by is beyond the largest `f32`. Default false.
    ///
    /// A skipped step is not counted: call again with the same `t`. If it were, Adam's bias correction would be for
    /// steps that its moments have not seen, and after three skips its first step 0.58 of what it should be.
    ///
    /// It does not see a finite gradient whose *square* overflows, 5.8e20 for Adam's `(1−β2)·g²` and 1.8e19 for
    /// Adagrad's `g²`: that makes `v` infinite, and its weight never moves again. `max_norm` prevents it.
    pub skip_nonfinite: bool,
    /// Report the norm even if neither clipping nor skipping needs it. Default false.
    pub grad_norm: bool,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            grad_scale: 1.0,
            max_norm: 0.0,
            zero_grad: false,
            skip_nonfinite: false,
            grad_norm: false,
        }
    }
}

/// What a whole step did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// The norm of all scaled gradients together before clipping, as [`grad_norm`](crate::grad_norm) adds
    /// it up, times `|grad_scale|`. `None` if nothing asked for it.
    pub grad_norm: Option<f64>,
    /// What the gradients were multiplied by: `grad_scale` times the clipping factor, as an `f32`. 0 if the
    /// step was skipped.
    pub applied_scale: f64,
    /// Was the step skipped, as [`Extras::skip_nonfinite`] asks for? Then it is not counted, and the next step has the
    /// same `t`.
    pub skipped: bool,
    /// The first gradient that is not finite, if the step was skipped for one. `None` if it was skipped because
    /// scaling could make a gradient infinite.
    pub nonfinite: Option<NonFinite>,
}

/// A gradient that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonFinite {
    /// In which tensor, counted from 0.
    pub tensor: usize,
    /// At which element of it.
    pub element: usize,
    /// What it is.
    pub value: f32,
}

/// One step over many tensors in one call: scale, norm, clip, look for NaN, decay, update, zero the
/// gradients, by several threads if wanted.
///
/// Each tensor is stepped as by the rule's own function ([`adam_step`](crate::adam_step), ...), bit by bit,
/// with the gradient `g·s` where `s` is `grad_scale·min(1, max_norm/(norm + 1e-6))` rounded to `f32`, and
/// `norm` is that of all scaled gradients together. With `s = 1` there is no multiplication. Nothing depends
/// on `threads`, or on which tensors are stepped together, but for the norm.
///
/// Memory is read once, and the gradients once more if a norm is needed. Without threads nothing is
/// allocated.
///
/// *On the difficulty of training recurrent neural networks* (Pascanu, Mikolov & Bengio, 2013) for clipping
/// by the norm.
///
/// # Errors
/// [`Error::Tensor`] with [`Error::Length`] if an array is not as long as its tensor's `w`,
/// [`Error::Hyperparameter`] for `grad_scale` and `max_norm`, and what the rule's own function returns.
/// Nothing is written then. A skipped step is no error: the report says so, and the next step has the same `t`.
///
/// # Example
/// ```
/// use downhill::{Adam, Extras, Tensor, Threads, step_many};
///
/// let (mut weights, mut weights_g, mut weights_state) = ([1.0; 6], [30.0; 6], [[0.0; 6]; 2]);
/// let (mut bias, mut bias_g, mut bias_state) = ([0.0; 2], [40.0; 2], [[0.0; 2]; 2]);
/// let extras = Extras { max_norm: 1.0, zero_grad: true, skip_nonfinite: true, ..Extras::default() };
/// let mut t = 1;
/// while t <= 3 {
///     // ... compute the gradients ...
///     let mut tensors = [
///         Tensor { w: &mut weights, g: &mut weights_g, state: weights_state.each_mut().map(|s| &mut s[..]) },
///         Tensor { w: &mut bias, g: &mut bias_g, state: bias_state.each_mut().map(|s| &mut s[..]) },
///     ];
///     let report = step_many(&Adam::default(), &mut tensors, t, &extras, Threads::Caller)?;
///     println!("step {t}: norm {:?}, gradients scaled by {}", report.grad_norm, report.applied_scale);
///     t += u64::from(!report.skipped); // a skipped step is not counted
/// #   weights_g.fill(30.0);
/// }
/// assert_eq!(bias_g, [0.0; 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn step_many<const N: usize>(
    config: &impl Configuration<N>,
    tensors: &mut [Tensor<'_, N>],
    t: u64,
    extras: &Extras,
    threads: Threads<'_>,
) -> Result<Report, Error> {
    config.step_many_on(Isa::current()?, tensors, t, extras, threads)
}

/// [`step_many`] on a named instruction set.
pub(crate) fn step<const N: usize, C: Configuration<N>>(
    isa: Isa,
    config: &C,
    t: u64,
    tensors: &mut [Tensor<'_, N>],
    extras: &Extras,
    threads: Threads<'_>,
) -> Result<Report, Error> {
    extras.check()?;
    for (index, Tensor { w, g, state }) in tensors.iter().enumerate() {
        check_lengths::<N, C>(w, g, state.each_ref().map(|array| &**array))
            .map_err(|error| error.of_tensor(index))?;
    }
    config.check(t)?;
    let update = Update::new(config, t);
    update.check(config)?;
    Ok(whole(isa, tensors, extras, threads, &|scale, Tensor { w, g, state }, far| {
        update.scaled(scale).sweep(isa, w, g, state.each_mut().map(|array| &mut **array), far);
    }))
}

/// Steps a tensor, or a part of one, whose gradients are multiplied by a factor, and whose memory may be far.
type Step<'a, const N: usize> = &'a (dyn Fn(f32, &mut Tensor<'_, N>, bool) + Sync);

/// What is left to do when all has been checked. Compiled once for all rules with as many states.
fn whole<const N: usize>(
    isa: Isa,
    tensors: &mut [Tensor<'_, N>],
    extras: &Extras,
    threads: Threads<'_>,
    step: Step<'_, N>,
) -> Report {
    let report = look(isa, tensors.len(), &|i| &*tensors[i].g, extras, threads);
    if report.skipped {
        return report;
    }
    let scale = report.applied_scale as f32;
    let elements = tensors.iter().map(|tensor| tensor.w.len()).sum();
    let far = is_far(bytes(elements, N));
    each(tensors, elements, threads, &|tensor| {
        if !extras.zero_grad {
            return step(scale, tensor, far);
        }
        // While the gradient is in cache.
        let mut rest = tensor.reborrow();
        while rest.len() > 0 {
            let end = rest.len().min(BLOCK);
            let (mut part, after) = rest.split_at(end);
            step(scale, &mut part, far);
            zero(part.g, 0.0);
            rest = after;
        }
    });
    report
}

impl Extras {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check::any_finite("grad_scale", self.grad_scale)?;
        check::non_negative("max_norm", self.max_norm)?;
        Ok(())
    }

    /// What gradients of this norm, scaled, are to be multiplied by.
    fn applied_scale(&self, norm: Option<f64>) -> f32 {
        let clip = match norm {
            Some(norm) if self.max_norm > 0.0 => {
                let clip = self.max_norm / (norm + CLIP_EPS);
                // Not `min`, which would hide a NaN.
                if clip >= 1.0 { 1.0 } else { clip }
            }
            _ => 1.0,
        };
        (self.grad_scale * clip) as f32
    }
}

/// The first pass, over gradients only, if one is needed. `gradient` gives one of `count`.
pub(crate) fn look<'a, E: Value>(
    isa: Isa,
    count: usize,
    gradient: &dyn Fn(usize) -> &'a [E],
    extras: &Extras,
    threads: Threads<'_>,
) -> Report {
    let needed = extras.grad_norm || extras.skip_nonfinite || extras.max_norm > 0.0;
    let sum = needed.then(|| sum_of_squares(isa, count, gradient, threads));
    let grad_norm = sum.map(|sum| sum.sqrt() * extras.grad_scale.abs());
    let applied_scale = f64::from(extras.applied_scale(grad_norm));
    match sum {
        Some(sum) if extras.skip_nonfinite && !stays_finite(sum, applied_scale) => {
            let nonfinite =
                if sum.is_finite() { None } else { first_nonfinite((0..count).map(gradient)) };
            Report { grad_norm, applied_scale: 0.0, skipped: true, nonfinite }
        }
        _ => Report { grad_norm, applied_scale, skipped: false, nonfinite: None },
    }
}

/// Are all gradients finite, and are they sure to be so when they are multiplied by `scale`? No look at the gradients
/// themselves: whoever has the same sum decides the same.
fn stays_finite(sum_of_squares: f64, scale: f64) -> bool {
    // False for a NaN.
    sum_of_squares.sqrt() * scale.abs() <= f32::MAX.into() && sum_of_squares.is_finite()
}

#[cold]
fn first_nonfinite<'a, E: Value>(gradients: impl Iterator<Item = &'a [E]>) -> Option<NonFinite> {
    gradients.enumerate().find_map(|(tensor, g)| {
        let mut values = g.iter().map(|value| value.float());
        let element = values.position(|value| !value.is_finite())?;
        Some(NonFinite { tensor, element, value: g[element].float() })
    })
}

/// Sets a gradient to zero, by a loop and not by `memset`. A user's ThreadSanitizer sees a call of that by a worker, but not
/// the locks by which work reaches it, and reports a race with whoever wrote the gradient.
pub(crate) fn zero<E: Copy>(g: &mut [E], zero: E) {
    g.fill(hint::black_box(zero));
}

/// Calls `f` for every tensor or part of one. They have `elements` elements in all.
fn each<const N: usize>(
    tensors: &mut [Tensor<'_, N>],
    elements: usize,
    threads: Threads<'_>,
    f: &(dyn Fn(&mut Tensor<'_, N>) + Sync),
) {
    let by_threads =
        threads.for_bytes(elements.saturating_mul(bytes_per_element(N))).and_then(|count| {
            let list = tensors.iter_mut().map(Tensor::reborrow);
            threads.run(count, list, elements, &|chunk| chunk.iter_mut().for_each(f))
        });
    if by_threads.is_none() {
        tensors.iter_mut().for_each(f);
    }
}

/// What is moved for each element: `g` is read, `w` and every state are read and written.
const fn bytes_per_element(states: usize) -> usize {
    size_of::<f32>() * (1 + 2 * (1 + states))
}

impl<const N: usize> Tensor<'_, N> {
    fn reborrow(&mut self) -> Tensor<'_, N> {
        Tensor { w: self.w, g: self.g, state: self.state.each_mut().map(|array| &mut **array) }
    }
}

impl<const N: usize> Piece for Tensor<'_, N> {
    fn len(&self) -> usize {
        self.w.len()
    }

    fn split_at(self, element: usize) -> (Self, Self) {
        let (w, w_rest) = self.w.split_at_mut(element);
        let (g, g_rest) = self.g.split_at_mut(element);
        let mut state_rest: [&mut [f32]; N] = std::array::from_fn(|_| Default::default());
        let mut rests = state_rest.iter_mut();
        let state = self.state.map(|array| {
            let (array, rest) = array.split_at_mut(element);
            *rests.next().expect("as many as states") = rest;
            array
        });
        (Self { w, g, state }, Self { w: w_rest, g: g_rest, state: state_rest })
    }
}
