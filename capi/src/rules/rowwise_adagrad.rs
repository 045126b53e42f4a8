//! Adagrad with one state for each row.

use super::super::arrays::{check_outside, check_pointer};
use super::*;

/// The hyper-parameters of downhill_rowwise_adagrad_step(), and of tensors with rows whose state[0] has
/// one float for each row of w, n/row_length of them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_rowwise_adagrad {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Added to the denominator, outside the root; finite and >= 0.
    pub eps: f64,
    pub weight_decay: f64,
}

impl CRule for RowwiseAdagrad {
    const TAG: u32 = DOWNHILL_RULE_ROWWISE_ADAGRAD;
    const NAME: &'static str = "rowwise_adagrad";
    const STATES: &'static [&'static str] = &["s"];
    type Config = downhill_rowwise_adagrad;

    #[inline(always)]
    fn decode(config: downhill_rowwise_adagrad) -> Result<Self, Failure> {
        let downhill_rowwise_adagrad { lr, eps, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        let mut decoded = Self::default();
        (decoded.lr, decoded.eps, decoded.weight_decay) = (lr, eps, weight_decay);
        decoded.decay = decay(config.decay)?;
        Ok(decoded)
    }

    fn encode(self) -> downhill_rowwise_adagrad {
        let Self { lr, eps, weight_decay, decay } = self;
        downhill_rowwise_adagrad {
            struct_size: size::<downhill_rowwise_adagrad>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            eps,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::RowwiseAdagrad(self)
    }
}

/// Row-wise Adagrad (Duchi, Hazan & Singer, 2011, with one accumulator for a row as in FBGEMM and
/// TorchRec), for one row. State: s, one float, which may also start as another initial accumulator.
///     s += mean(g*g), which is summed in double as downhill_grad_squares() does within 4,096 elements
///     w -= (lr/(sqrt(s) + eps))*g
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_rowwise_adagrad_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    s: *mut f32,
    config: *const downhill_rowwise_adagrad,
) -> downhill_status {
    boundary::call(|| {
        // SAFETY: the C caller keeps the preconditions of plain steps; `s` is one float.
        unsafe {
            let config = read::<RowwiseAdagrad>(config)?;
            let (w, g, []) = slices(n, w, g, [], &[])?;
            if n == 0 {
                return Ok(rowwise_adagrad_step(w, g, &mut 0.0, &config)?);
            }
            check_pointer(("s", s), size_of::<f32>())?;
            check_outside(("s", s), ("w", w.as_ptr()), n)?;
            check_outside(("s", s), ("g", g.as_ptr()), n)?;
            Ok(rowwise_adagrad_step(w, g, &mut *s, &config)?)
        }
    })
}
