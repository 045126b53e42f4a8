//! Powers and products with the same bits on every platform: `f64::powi` and the system's `pow` differ.

/// Each base, from 0 to 1, to the power `t`, by repeated squaring. Side by side, because the chains of
/// multiplications then hide each other's latency, which is most of what a step on a small array costs.
/// A power below e^-100 is 0.
#[inline]
pub(crate) fn powers<const K: usize>(mut bases: [f64; K], mut t: u64) -> [f64; K] {
    // base^t <= e^(-(1 - base)*t), and what is below e^-100 is lost beside 1. Multiplying on would reach
    // numbers too small to be normal, each of which costs a Zen 4 as much as 14 other products.
    for base in &mut bases {
        if (1.0 - *base) * t as f64 > 100.0 {
            *base = 0.0;
        }
    }
    let mut powers = [1.0; K];
    while t > 0 {
        // Multiplying by 1 is exact. A branch on each bit would be mispredicted while `t` counts up, and
        // the compiler makes one of every other way to choose.
        let least = (!t & 1) as f64;
        for k in 0..K {
            powers[k] *= if bases[k] > least { bases[k] } else { least };
            bases[k] *= bases[k];
        }
        t >>= 1;
    }
    powers
}

/// Nadam's `[μ_t, μ_(t+1), μ_1·…·μ_t]` with `μ_i = β1·(1 − ½·0.96^(i·ψ))`.
#[inline]
pub(crate) fn momentum_product(beta1: f64, momentum_decay: f64, t: u64) -> [f64; 3] {
    let ratio = libm::pow(0.96, momentum_decay);
    let [warm_up, bound] = powers([ratio, beta1], t);
    let mu = |warm_up: f64| beta1 * (1.0 - 0.5 * warm_up);
    // No factor is larger than β1. A product that is lost beside 1 has no more to say.
    let product = if 1.0 - bound == 1.0 { bound } else { multiply(mu, ratio, beta1, t) };
    [mu(warm_up), mu(warm_up * ratio), product]
}

/// The factors stop when the product is lost beside 1, or when they no longer differ from β1, which
/// leaves a power. One of the two happens within 2,400 factors (2,382 with β1 = 0.999999 and
/// ψ = 0.378): a small ψ keeps them near β1/2, a large ψ brings them to β1 soon.
fn multiply(mu: impl Fn(f64) -> f64, ratio: f64, beta1: f64, t: u64) -> f64 {
    let (mut warm_up, mut product) = (1.0, 1.0);
    for i in 0..t {
        warm_up *= ratio;
        let factor = mu(warm_up);
        if factor == beta1 {
            return product * powers([beta1], t - i)[0];
        }
        product *= factor;
        if 1.0 - product == 1.0 {
            break;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::{momentum_product, powers};

    #[test]
    fn small_powers_are_exact() {
        assert_eq!(powers([0.5, 0.75], 0), [1.0, 1.0]);
        assert_eq!(powers([0.5, 0.75], 1), [0.5, 0.75]);
        assert_eq!(powers([0.5, 0.75], 13), [1.0 / 8192.0, 1_594_323.0 / 67_108_864.0]);
        assert_eq!(powers([0.0, 1.0], 1), [0.0, 1.0]);
    }

    /// Where a power is taken to be 0, it made no difference.
    #[test]
    fn a_power_that_is_lost_is_zero() {
        for beta in [0.0, 1e-300, 0.1, 0.5, 0.9, 0.999, 0.999_999] {
            for t in (0..63).map(|bits| 1 << bits) {
                let [power] = powers([beta], t);
                let exact = libm::pow(beta, t as f64);
                assert!(power > 0.0 || exact < 1e-40, "{beta}^{t}");
            }
        }
    }

    #[test]
    fn close_to_the_exact_power_at_any_step() {
        for beta in [0.1, 0.9, 0.999, 0.9999] {
            for t in [1, 2, 3, 10, 999, 10_000, 1_000_000, 1 << 32, (1 << 32) + 1, u64::MAX] {
                let exact = libm::pow(beta, t as f64);
                let [ours] = powers([beta], t);
                // The error grows with t, but so does the decay: 1 - beta^t is right to f64.
                assert!((ours - exact).abs() <= 4e-16 * (1.0 + exact * t as f64), "{beta}^{t}");
            }
        }
    }

    /// At t = 10^6 and β = 0.9999 the correction `1 - β^t` is right to `f64`.
    #[test]
    fn a_late_bias_correction_is_exact() {
        assert_eq!(1.0 - powers([0.9999], 1_000_000)[0], 1.0);
        let exact = 0.632_138_953_567_029; // 1 - 0.9999^10000
        assert!((1.0 - powers([0.9999], 10_000)[0] - exact).abs() < 1e-13);
    }

    #[test]
    fn the_product_is_the_plain_product() {
        for (beta1, psi) in [(0.9, 4e-3), (0.9, 0.0), (0.999_999, 1.0), (0.5, 50.0), (0.0, 1.0)] {
            let mu = |t: u64| beta1 * (1.0 - 0.5 * libm::pow(0.96, t as f64 * psi));
            let mut product = 1.0;
            for t in 1..=3000 {
                product *= mu(t);
                let [now, next, ours] = momentum_product(beta1, psi, t);
                assert!(
                    (now - mu(t)).abs() <= 1e-13 && (next - mu(t + 1)).abs() <= 1e-13,
                    "{beta1} {psi} {t}"
                );
                assert!((ours - product).abs() <= 1e-13 * product + 1e-16, "{beta1} {psi} {t}");
                assert!(((1.0 - ours) - (1.0 - product)).abs() <= 2e-16, "{beta1} {psi} {t}");
            }
        }
    }

    /// A step number is not cut off at 32 bits.
    #[test]
    fn a_step_past_two_to_the_32() {
        let t = (1 << 32) + 1;
        let [power] = powers([1.0 - 1e-12], t);
        assert!((power - (-1e-12 * t as f64).exp()).abs() < 1e-6, "{power}");
    }

    /// With a slow β1 the product still matters after thousands of steps.
    #[test]
    fn a_late_product_is_the_plain_product() {
        let (beta1, psi) = (0.9999, 1.0);
        let mut product = 1.0;
        for t in 1..=20_000_u64 {
            product *= beta1 * (1.0 - 0.5 * libm::pow(0.96, t as f64 * psi));
            if t % 997 == 0 {
                let [_, _, ours] = momentum_product(beta1, psi, t);
                assert!((ours - product).abs() <= 1e-12 * product + 1e-16, "{t}");
            }
        }
    }

    /// Another release of libm could round differently; then these bits change, and that must be known.
    #[test]
    fn libm_has_not_changed() {
        assert_eq!(libm::pow(0.96, 4e-3).to_bits(), 0x3fef_fea9_9697_57db);
    }

    /// It would run for ages here if the cost grew with t.
    #[test]
    fn the_products_cost_is_bounded() {
        for psi in [0.0, 1e-9, 1e-3, 0.3, 1.0, 2.0, 10.0, 1e6, 1e300] {
            for beta1 in [0.9, 1.0 - f64::EPSILON / 2.0] {
                assert!(momentum_product(beta1, psi, u64::MAX)[2] < 1.0);
            }
        }
    }
}
