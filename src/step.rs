//! The whole step, once for every rule, type and list: look at the gradients, share the work, step,
//! zero.

mod blocks;
mod checks;
mod one;
mod share;
mod table;

use std::slice;

use crate::{
    Error, Gradient, Group, Isa, NonFinite, Numbering, Optimizer, Rows, Tensor, Threads, check,
    formats::{BLOCK, Key},
    norm::{first_nonfinite, sum_of_squares},
    optimizer::Step,
    rows::{Arranged, Order},
    sweep::is_far,
};
use blocks::Scratch;
pub(crate) use checks::check_all;
pub use checks::{Sizes, check_has_rows, check_number, check_row_state};
use one::{How, step_tensor, with_scratch};
use share::share;
use table::{Table, Using};

/// To hand a tensor over to another thread takes the calling one as long as to move this many bytes:
/// small ones it steps sooner by itself.
const BYTES_PER_TENSOR: usize = 3 << 10;

/// What keeps the clipping factor finite when the norm is zero, as in PyTorch.
const CLIP_EPS: f64 = 1e-6;

/// What else a whole step does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extras {
    /// What gradients are multiplied by, finite: the inverse of a loss scale, one over a number of
    /// samples, −1 to maximize. Default 1.
    pub grad_scale: f64,
    /// The norm of all scaled gradients together above which they are scaled down to it, finite and at
    /// least 0. Default 0: no clipping. A norm that is NaN makes all weights NaN; with an infinite
    /// one finite gradients become 0 and infinite ones NaN. `skip_nonfinite` prevents both.
    pub max_norm: f64,
    /// Set the gradients to zero after the step, unless it is skipped. Default false.
    pub zero_grad: bool,
    /// Change nothing at all if a gradient is NaN or infinite, or if one may become infinite when it is
    /// scaled: if the norm times what gradients are to be multiplied by is beyond the largest `f32`.
    /// Default false.
    ///
    /// A skipped step is not counted: call again with the same `t`. If it were, Adam's bias correction
    /// would assume steps that its moments have not seen: after three skips its first step would be 0.58
    /// times what it should be.
    ///
    /// It does not see a finite gradient whose *square* overflows, 5.8e20 for Adam's `(1−β2)·g²` and
    /// 1.8e19 for a rule that adds `g²` up: that makes `v` infinite, and its weight never moves again.
    /// `max_norm` prevents it.
    pub skip_nonfinite: bool,
    /// Report the norm even if neither clipping nor skipping needs it. Default false.
    pub grad_norm: bool,
    /// The sum of the squares of all gradients, before `grad_scale`, where this call has only a part of
    /// them: the sums that [`grad_squares`](crate::grad_squares) gives, added from left to right. At
    /// least 0, or infinite or NaN, which means that a gradient is not finite. Default `None`: the sum
    /// of this call's gradients.
    pub norm_squared: Option<f64>,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            grad_scale: 1.0,
            max_norm: 0.0,
            zero_grad: false,
            skip_nonfinite: false,
            grad_norm: false,
            norm_squared: None,
        }
    }
}

/// What a whole step did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The norm of all scaled gradients together, before clipping: `|grad_scale|·√Σ`. `None` if nothing
    /// needed it.
    pub grad_norm: Option<f64>,
    /// What the gradients were multiplied by: `grad_scale` times the clipping factor, rounded to `f32`.
    /// 0 if the step was skipped.
    pub applied_scale: f64,
    /// Was the step skipped? Then nothing has changed, and the next call has the same `t`.
    pub skipped: bool,
    /// How many tensors were updated: all that have a gradient, or none.
    pub tensors_updated: usize,
    /// The first element of a gradient of this call that is not finite, if the step was skipped for one.
    pub nonfinite: Option<NonFinite>,
}

/// A whole training step in one call: scale, norm, clip, look for NaN, decay, update, round, copy, zero
/// the gradients; for any number of groups, each with its own rule, hyper-parameters and step count, of
/// tensors of any types, and by several threads if wanted.
///
/// Each tensor is stepped as by the rule's own function ([`adam_step`](crate::adam_step), ...), bit by
/// bit, with the gradient `g·s` where `s` is `grad_scale·min(1, max_norm/(norm + 1e-6))` rounded to
/// `f32`, and `norm` is that of all scaled gradients of all groups together. With `s = 1` there is no
/// multiplication. What is not `f32` is widened to it, exactly, and rounded back after the step. No
/// result depends on `threads`. Which tensors are stepped together affects only the norm and, by default,
/// random rounding ([`Numbering`]).
///
/// Memory is read once, and the gradients once more if a norm is needed. Without threads nothing is
/// allocated, but for rows that are not listed in ascending order ([`Rows`](crate::Rows)).
///
/// *On the difficulty of training recurrent neural networks* (Pascanu, Mikolov & Bengio, 2013) for
/// clipping by the norm; *8-bit Optimizers via Block-wise Quantization* (Dettmers, Lewis, Shleifer &
/// Zettlemoyer, 2022) for states in eight bits; *Deep Learning with Limited Numerical Precision* (Gupta,
/// Agrawal, Gopalakrishnan & Narayanan, 2015) for random rounding.
///
/// # Errors
/// Nothing is written if there is one. A skipped step is no error: the report says so.
///
/// - [`Error::Isa`] if `DOWNHILL_ISA` is wrong; [`Error::Hyperparameter`] for `grad_scale`, `max_norm` and
///   `norm_squared`.
/// - [`Error::Group`] with what is wrong with a group: what the rule's own function returns for its
///   hyper-parameters and `t` (0 is refused for every rule), or [`Error::Hyperparameter`] for `clamp_low` and
///   `clamp_high`.
/// - [`Error::Tensor`] in that, with what is wrong with one of its tensors: [`Error::Length`] if an array is
///   not as long as `w`, [`Error::TooLong`], [`Error::StateCount`], [`Error::PackedLength`],
///   [`Error::NotInBits8`], [`Error::FirstElement`], [`Error::SharedGradient`].
/// - [`Error::Tensor`] with what is wrong with its rows: [`Error::RowLength`], [`Error::RowCount`],
///   [`Error::Row`], [`Error::RowTwice`], [`Error::RowInBits8`], [`Error::RowState`], [`Error::NeedsRows`],
///   [`Error::UnsortedRows`], [`Error::NoMemory`].
///
/// # Example
/// ```
/// use downhill::{Adamw, Extras, Group, Tensor, Threads, step};
///
/// let (mut w, mut g, mut m, mut v) = ([1.0; 6], [30.0; 6], [0.0; 6], [0.0; 6]);
/// let (mut bias, mut bias_g, mut bias_m, mut bias_v) = ([0.0; 2], [40.0; 2], [0.0; 2], [0.0; 2]);
/// let decayed = Adamw::default();
/// let not_decayed = Adamw { weight_decay: 0.0, ..decayed };
/// let extras = Extras { max_norm: 1.0, zero_grad: true, skip_nonfinite: true, ..Extras::default() };
/// let mut t = 1;
/// while t <= 3 {
///     // ... compute the gradients ...
///     let mut weights = [Tensor::new(&mut w, &mut g, [&mut m, &mut v])];
///     let mut biases = [Tensor::new(&mut bias, &mut bias_g, [&mut bias_m, &mut bias_v])];
///     let mut groups = [Group::new(&decayed, t, &mut weights), Group::new(&not_decayed, t, &mut biases)];
///     let report = step(&mut groups, &extras, Threads::Caller)?;
///     println!("step {t}: norm {:?}, gradients scaled by {}", report.grad_norm, report.applied_scale);
///     t += u64::from(!report.skipped); // a skipped step is not counted
/// #   g.fill(30.0);
/// }
/// assert_eq!(bias_g, [0.0; 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn step(
    groups: &mut [Group<'_, '_>],
    extras: &Extras,
    threads: Threads<'_>,
) -> Result<Report, Error> {
    step_on(Isa::current()?, groups, extras, threads)
}

/// [`step`] on a named instruction set.
///
/// # Errors
/// As [`step`], but for [`Error::Isa`].
pub fn step_on(
    isa: Isa,
    groups: &mut [Group<'_, '_>],
    extras: &Extras,
    threads: Threads<'_>,
) -> Result<Report, Error> {
    let mut sizes = Sizes::default();
    check_all(groups, extras, &mut sizes)?;
    Ok(step_checked(isa, groups, extras, threads, &sizes))
}

/// The step itself, after all checks.
pub fn step_checked(
    isa: Isa,
    groups: &mut [Group<'_, '_>],
    extras: &Extras,
    threads: Threads<'_>,
    sizes: &Sizes,
) -> Report {
    let report = look(isa, groups, extras, threads, sizes);
    if !report.skipped {
        let how = &How {
            isa,
            scale: report.applied_scale as f32,
            zero_grad: extras.zero_grad,
            far: is_far(sizes.held),
            is_mixed: sizes.is_mixed,
        };
        let handed_over = sizes.tensors.saturating_mul(BYTES_PER_TENSOR);
        let workers = threads.for_bytes(sizes.moved.saturating_sub(handed_over));
        let by_threads = workers.and_then(|workers| share(groups, how, threads, workers, sizes));
        if by_threads.is_none() {
            with_scratch(how, |scratch| in_order(groups, &sizes.arranged, how, scratch));
        }
    }
    report
}

impl Extras {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check::any_finite("grad_scale", self.grad_scale)?;
        check::non_negative("max_norm", self.max_norm)?;
        match self.norm_squared {
            Some(value) if value < 0.0 => {
                let allowed = "a sum of squares: at least 0, infinite or NaN";
                Err(Error::Hyperparameter { argument: "norm_squared", value, allowed })
            }
            _ => Ok(()),
        }
    }

    /// Is the sum of all squares needed?
    fn needs_sum(&self) -> bool {
        self.grad_norm || self.skip_nonfinite || self.max_norm > 0.0
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

/// All checks of extras, for C.
pub fn check_extras(extras: &Extras) -> Result<(), Error> {
    extras.check()
}

/// The first pass, over gradients only, if one is needed.
fn look(
    isa: Isa,
    groups: &mut [Group<'_, '_>],
    extras: &Extras,
    threads: Threads<'_>,
    sizes: &Sizes,
) -> Report {
    let sum = extras.needs_sum().then(|| match extras.norm_squared {
        Some(sum) => sum,
        None => sum_of_squares(isa, groups, threads),
    });
    let grad_norm = sum.map(|sum| sum.sqrt() * extras.grad_scale.abs());
    let applied_scale = f64::from(extras.applied_scale(grad_norm));
    let skipped = match sum {
        Some(sum) => extras.skip_nonfinite && !stays_finite(sum, applied_scale),
        None => false,
    };
    if skipped {
        let is_finite = sum.is_none_or(f64::is_finite);
        let nonfinite = if is_finite { None } else { first_nonfinite(groups) };
        return Report { grad_norm, applied_scale: 0.0, skipped, tensors_updated: 0, nonfinite };
    }
    Report { grad_norm, applied_scale, skipped, tensors_updated: sizes.tensors, nonfinite: None }
}

/// Are all gradients finite, and are they sure to be so when they are multiplied by `scale`? No look at
/// the gradients themselves: whoever has the same sum decides the same.
fn stays_finite(sum_of_squares: f64, scale: f64) -> bool {
    // False for a NaN.
    sum_of_squares.sqrt() * scale.abs() <= f32::MAX.into() && sum_of_squares.is_finite()
}

/// Steps all tensors on this thread.
fn in_order(
    groups: &mut [Group<'_, '_>],
    arranged: &[Arranged],
    how: &How,
    mut scratch: Option<&mut Scratch>,
) {
    let (mut place, mut arranged) = (0, arranged.iter());
    for group in groups {
        let around = &group.around(how.scale);
        let Group { config, t, rounding, numbering, tensors, .. } = group;
        let (config, t, rounding, numbering) = (*config, *t, *rounding, *numbering);
        config.with_constants(how.isa, t, around, &mut |step| {
            tensors.each_mut(|tensor| {
                let number = number(tensor, numbering, &mut place);
                if is_left_alone(tensor) {
                    return;
                }
                let own_t = own_step(tensor, t);
                let mut apply = |step: &dyn Step| {
                    if let Some((rows, arranged)) = listed(&tensor.rows, &mut arranged) {
                        let order = Order::of(rows, arranged);
                        let mut table = Table::new(tensor.reborrow(), order, own_t, rounding, number);
                        let using = &Using::new(step, config, around, how);
                        return table.step(using, scratch.as_deref_mut());
                    }
                    let key = || Key::of(rounding, own_t, number);
                    step_tensor(tensor, step, config, key, how, scratch.as_deref_mut());
                };
                if own_t == t {
                    return apply(step);
                }
                config.with_constants(how.isa, own_t, around, &mut apply);
            });
        });
    }
}

/// Has a tensor no gradient, or is it a table of which no row is listed? Such a table may say any length of
/// rows, whose bytes may be no `usize`.
#[inline]
fn is_left_alone(tensor: &Tensor<'_>) -> bool {
    matches!(tensor.g, Gradient::Absent) || tensor.rows.as_ref().is_some_and(|rows| rows.rows.is_empty())
}

/// A tensor's list of rows, if it has one, and how it is stepped, if it does not ascend. `arranged` are those
/// that come next.
fn listed<'a, 'b>(
    rows: &Option<Rows<'a>>,
    arranged: &mut slice::Iter<'b, Arranged>,
) -> Option<(&'a [i64], Option<&'b Arranged>)> {
    let rows = rows.as_ref()?.rows;
    Some((rows, if rows.is_sorted() { None } else { arranged.next() }))
}

/// The number of a tensor's first element. `place` is that of the next element by place.
#[inline]
fn number(tensor: &Tensor<'_>, numbering: Numbering, place: &mut u64) -> u64 {
    let by_place = *place;
    *place = (by_place + tensor.w.len() as u64).next_multiple_of(BLOCK as u64);
    match numbering {
        Numbering::ByPlace => by_place,
        Numbering::Given => tensor.first_element,
    }
}

/// The number of a tensor's step in a group whose step is `t`.
#[inline]
fn own_step(tensor: &Tensor<'_>, t: u64) -> u64 {
    if tensor.t == 0 { t } else { tensor.t }
}

/// How many states an element has: not those that a row has.
fn states_of_element(config: &dyn Optimizer) -> usize {
    if config.row_rule().is_some() { 0 } else { config.states().len() }
}
