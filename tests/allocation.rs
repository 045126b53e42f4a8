//! A step allocates nothing, and neither does a whole step without threads.

mod common;

use common::{every_option, uniform};
use downhill::{
    Adam, Adamw, Amsgrad, Extras, Isa, Momentum, PackedTensor, Packing, Pool, Report, Rmsprop,
    RmspropForm, Sgd, StateFormat, Tensor, Threads, grad_norm, step_many, step_packed,
};

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

/// Nothing that a whole step can do besides, and all of it.
fn extras() -> [Extras; 2] {
    let all = Extras {
        grad_scale: 0.5,
        max_norm: 0.1,
        zero_grad: true,
        skip_nonfinite: true,
        grad_norm: true,
    };
    [Extras::default(), all]
}

/// Steps over tensors of `n` and of 7 elements, and allocates nothing.
fn check_whole_step<const N: usize>(
    n: usize,
    threads: Threads<'_>,
    step: impl Fn(&mut [Tensor<'_, N>], u64, &Extras, Threads<'_>) -> Report,
) {
    // The first call of a process looks at the CPU and the environment.
    Isa::current().unwrap();
    for extras in extras() {
        let mut arrays = [n, 7].map(|n| vec![vec![0.5; n]; 2 + N]);
        let mut tensors = arrays.each_mut().map(|arrays| {
            let [w, g, state @ ..] = &mut arrays[..] else { unreachable!() };
            let mut state = state.iter_mut();
            Tensor { w, g, state: std::array::from_fn(|_| &mut state.next().unwrap()[..]) }
        });
        let mut clipped = false;
        let count = allocation_counter::measure(|| {
            for t in 1..=3 {
                let report = step(&mut tensors, t, &extras, threads);
                clipped |= report.applied_scale < 0.5;
            }
            // Skipped, if steps are to be.
            tensors[1].g[6] = f32::NAN;
            let report = step(&mut tensors, 4, &extras, threads);
            assert_eq!(report.skipped, extras.skip_nonfinite);
        });
        assert_eq!(count.count_total, 0, "{N} states, {n} elements, {extras:?}");
        assert_eq!(clipped, extras.max_norm > 0.0);
    }
}

/// With as many elements as would be enough for threads, and with few though there are threads.
#[test]
fn a_whole_step_without_threads_allocates_nothing() {
    let pool = Pool::new(2);
    for (n, threads) in
        [(1003, Threads::Caller), (500_000, Threads::Caller), (1003, Threads::Pool(&pool))]
    {
        macro_rules! check {
            ($states:literal, $config:expr) => {
                check_whole_step::<$states>(n, threads, |tensors, t, extras, threads| {
                    step_many(&$config, tensors, t, extras, threads).unwrap()
                })
            };
        }
        check!(0, Sgd::default());
        check!(1, Momentum::default());
        check!(2, Adamw::default());
        check!(3, Amsgrad::default());
        check!(3, RmspropForm::<true>(Rmsprop { momentum: 0.9, ..Rmsprop::default() }));
    }
}

#[test]
fn a_step_on_packed_states_without_threads_allocates_nothing() {
    Isa::current().unwrap();
    for format in [StateFormat::Bits8, StateFormat::Bf16] {
        let packing = Packing { format, ..Packing::default() };
        let (mut w, mut g) = (vec![1.0; 500_003], vec![0.5; 500_003]);
        let mut state = vec![0; format.bytes(2, w.len()).unwrap()];
        let extras = Extras { max_norm: 1.0, zero_grad: true, ..Extras::default() };
        let count = allocation_counter::measure(|| {
            let mut tensors =
                [PackedTensor { w: &mut w, g: &mut g, state: &mut state, first_element: 0 }];
            step_packed(&Adam::default(), &mut tensors, 1, &packing, &extras, Threads::Caller).unwrap();
        });
        assert_eq!(count.count_total, 0, "{format:?}");
    }
}

#[test]
fn a_norm_without_threads_allocates_nothing() {
    Isa::current().unwrap();
    let g = vec![0.5; 600_000];
    let count = allocation_counter::measure(|| {
        grad_norm(&[&g, &[], &g[1..]], Threads::Caller).unwrap();
    });
    assert_eq!(count.count_total, 0);
}
