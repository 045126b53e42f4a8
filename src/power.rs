//! Integer powers with the same bits on every platform: `f64::powi` and the system's `pow` differ.

/// `(a^t, b^t)` by repeated squaring. Side by side, because the two chains of multiplications then
/// hide each other's latency, which is most of what a step on a small array costs.
#[inline]
pub(crate) fn powers(mut a: f64, mut b: f64, mut t: u64) -> (f64, f64) {
    let (mut a_t, mut b_t) = (1.0, 1.0);
    while t > 0 {
        // Multiplying by 1 is exact, and keeps the choice out of the chain of multiplications.
        let odd = t & 1 == 1;
        a_t *= if odd { a } else { 1.0 };
        b_t *= if odd { b } else { 1.0 };
        a *= a;
        b *= b;
        t >>= 1;
    }
    (a_t, b_t)
}

#[cfg(test)]
mod tests {
    use super::powers;

    #[test]
    fn small_powers_are_exact() {
        assert_eq!(powers(0.5, 3.0, 0), (1.0, 1.0));
        assert_eq!(powers(0.5, 3.0, 1), (0.5, 3.0));
        assert_eq!(powers(0.5, 3.0, 13), (0.5_f64.powi(13), 1_594_323.0));
        assert_eq!(powers(0.0, 0.0, 1), (0.0, 0.0));
    }

    #[test]
    fn close_to_the_exact_power_at_any_step() {
        for beta in [0.1, 0.9, 0.999, 0.9999] {
            for t in [1, 2, 3, 10, 999, 10_000, 1_000_000, u64::MAX] {
                let exact = libm::pow(beta, t as f64);
                let (ours, same) = powers(beta, beta, t);
                assert_eq!(ours, same);
                // The error grows with t, but so does the decay: 1 - beta^t is right to f64.
                assert!((ours - exact).abs() <= 4e-16 * (1.0 + exact * t as f64), "{beta}^{t}");
            }
        }
    }
}
