//! A step allocates nothing.

mod common;

use common::{every_option, uniform};
use downhill::Isa;

#[test]
fn a_step_allocates_nothing() {
    let isas = Isa::available();
    for rule in every_option() {
        let mut arrays = common::Arrays::new(&*rule, 1003, uniform());
        let mut state: Vec<&mut [f32]> = arrays.state.iter_mut().map(|x| &mut x[..]).collect();
        for &isa in &isas {
            let count = allocation_counter::measure(|| {
                for t in 1..=10 {
                    rule.step_on(isa, &mut arrays.w, &arrays.g, &mut state, t).unwrap();
                }
            });
            assert_eq!(count.count_total, 0, "{isa} {rule:?}");
        }
    }
    // The counter counts.
    assert_eq!(
        allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 10]))).count_total,
        1
    );
}
