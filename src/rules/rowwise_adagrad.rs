//! Adagrad with one state for each row of a table.

use super::{Sgd, sgd};
use crate::{
    Error, Isa, Optimizer, State, StateKind,
    decay::{Decay, WeightDecay},
    hyperparameter::{Checked, Fields, Range::NonNegative, Replaced, Visitor},
    norm::{SUMS, add_squares, pairwise},
    optimizer::{Around, Engine, RowRule, Step, check_states},
    reference,
    rule::{Prelude, Update, check_length},
    sweep::RuleStep,
};

/// The hyper-parameters of [`rowwise_adagrad_step`], and in a [`Group`](crate::Group) those of tables whose
/// [`rows`](crate::Tensor::rows) have one state each: `s` has as many elements as the table has rows.
///
/// It is not among [`rules()`](crate::rules), whose states have an element for each weight.
///
/// ```
/// use downhill::{Extras, Group, Rows, RowwiseAdagrad, Tensor, Threads, step};
///
/// let (mut table, mut s) = ([1.0; 3 * 2], [0.0; 3]); // 3 rows of 2
/// let mut tensor = Tensor::new(&mut table, &[3.0, 1.0], [&mut s]);
/// tensor.rows = Some(Rows::new(2, &[1]));
/// let config = RowwiseAdagrad::default();
/// step(&mut [Group::new(&config, 1, &mut [tensor])], &Extras::default(), Threads::Caller)?;
/// assert_eq!(s, [0.0, 5.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowwiseAdagrad {
    /// Learning rate η, finite and at least 0. Default 1e-2.
    pub lr: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-10. With 0, a
    /// row that never had a gradient is divided by zero, as IEEE says.
    pub eps: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one. L2 is part of the squares, too.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

const NAME: &str = "rowwise_adagrad";

const STATES: [State; 1] = [State::new("s", StateKind::Row)];

impl Default for RowwiseAdagrad {
    fn default() -> Self {
        Self { lr: 1e-2, eps: 1e-10, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for RowwiseAdagrad {
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of row-wise Adagrad for one row: `s += mean(g·g); r = η/(√s + ε); w −= r·g`. The mean is
/// `Σ g·g` over the row, divided by its length, in `f64`, and rounded once; element `i` is added to sum
/// `i mod 32`, and the 32 sums pairwise (neighbours, then neighbouring pairs, ...).
///
/// *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization* (Duchi, Hazan & Singer,
/// 2011), with one accumulator for all of a row, as tables of embeddings have it in FBGEMM and TorchRec.
///
/// `w` (weights of the row) and `g` (gradient) have the same length, of any size; `s` is the state of the
/// row, which starts as zero, or as another initial accumulator. `w` and `s` are updated; without elements
/// nothing is.
///
/// # Errors
/// [`Error::Length`] if `g` is not as long as `w`, [`Error::Hyperparameter`] if a field of `config` is out
/// of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{RowwiseAdagrad, rowwise_adagrad_step};
///
/// let (mut row, mut s) = ([1.0, 1.0], 0.0);
/// rowwise_adagrad_step(&mut row, &[4.0, 0.0], &mut s, &RowwiseAdagrad::default())?;
/// assert_eq!((s, row[1]), (8.0, 1.0));
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn rowwise_adagrad_step(
    w: &mut [f32],
    g: &[f32],
    s: &mut f32,
    config: &RowwiseAdagrad,
) -> Result<(), Error> {
    config.step_of_row(Isa::current()?, w, g, s)
}

impl RowwiseAdagrad {
    fn step_of_row(&self, isa: Isa, w: &mut [f32], g: &[f32], s: &mut f32) -> Result<(), Error> {
        check_length("g", g.len(), w.len())?;
        self.check_at(1)?;
        if !w.is_empty() {
            let prelude = Prelude::new(self.decay());
            let mut sums = [0.0; SUMS];
            add_squares(isa, prelude, w, g, &mut sums);
            let rate = self.advance(pairwise(sums), w.len(), s);
            let around = Around { scale: 1.0, clamp: None };
            self.with_rate(isa, rate, &around, &mut |step| step.plain(w, g, &mut [], false));
        }
        Ok(())
    }
}

impl RowRule for RowwiseAdagrad {
    fn decay(&self) -> WeightDecay {
        let Self { decay, weight_decay, lr, .. } = *self;
        WeightDecay { decay, weight_decay, lr }
    }

    fn advance(&self, squares: f64, n: usize, s: &mut f32) -> f32 {
        let mean = (squares / n as f64) as f32;
        let before = if s.is_subnormal() || *s == 0.0 { 0.0 } else { *s };
        *s = before + mean;
        self.lr as f32 / (s.sqrt() + self.eps as f32)
    }

    /// A step of SGD.
    fn with_rate(&self, isa: Isa, rate: f32, around: &Around, then: &mut dyn FnMut(&dyn Step)) {
        let Around { scale, clamp } = *around;
        let prelude = Prelude::new(self.decay()).scaled(scale);
        let update = Update { formula: sgd::Constants { lr: rate }, prelude };
        then(&RuleStep::<Sgd, 0> { isa, update, clamp });
    }
}

/// The state of the one row that the arrays of a step are.
fn state_of_row<'a>(config: &RowwiseAdagrad, state: &'a mut [&mut [f32]]) -> Result<&'a mut f32, Error> {
    check_states(config, state.len())?;
    match &mut *state[0] {
        [s] => Ok(s),
        s => Err(Error::RowCount { argument: "s", len: s.len(), expected: 1 }),
    }
}

impl Engine for RowwiseAdagrad {
    fn check_at(&self, _t: u64) -> Result<(), Error> {
        self.map(&mut Checked)?;
        Prelude::new(self.decay()).check(self.decay())
    }

    /// The rate is that of a row whose root is 1: each row is given its own.
    fn with_constants(&self, isa: Isa, _t: u64, around: &Around, then: &mut dyn FnMut(&dyn Step)) {
        self.with_rate(isa, self.lr as f32, around, then);
    }

    fn row_rule(&self) -> Option<&dyn RowRule> {
        Some(self)
    }

    fn replace(&mut self, mut fields: Replaced<'_>) -> Result<(), Error> {
        *self = self.map(&mut fields)?;
        Ok(())
    }

    fn boxed(&self) -> Box<dyn Optimizer> {
        Box::new(*self)
    }

    #[cfg(test)]
    fn call_function(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        _t: u64,
    ) -> Result<(), Error> {
        rowwise_adagrad_step(w, g, state_of_row(self, state)?, self)
    }
}

impl Optimizer for RowwiseAdagrad {
    fn name(&self) -> &'static str {
        NAME
    }

    fn states(&self) -> &'static [State] {
        &STATES
    }

    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        _t: u64,
    ) -> Result<(), Error> {
        self.step_of_row(isa, w, g, state_of_row(self, state)?)
    }

    fn reference_step(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        _t: u64,
    ) -> Result<(), Error> {
        reference::rowwise_adagrad_step(w, g, state_of_row(self, state)?, self)
    }
}
