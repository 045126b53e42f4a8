//! Every rule at every size on every instruction set, and its reference: the benchmark to compare two
//! versions of the crate with.

mod common;

use std::time::Duration;

use common::{Arrays, T, assert_reference_bits, bytes_per_element, rules};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use downhill::{Error, Isa, Optimizer};

const SIZES: [usize; 5] = [16, 1 << 10, 1 << 14, 1 << 18, 1 << 22];

fn steps(criterion: &mut Criterion) {
    for (name, rule) in rules() {
        for isa in Isa::available() {
            assert_reference_bits(&*rule, isa.name(), |arrays| {
                let (w, g, mut state) = arrays.parts();
                step(&*rule, Some(isa), w, g, &mut state).expect("valid arguments");
            });
        }
        sizes(criterion, &name, &*rule);
    }
}

fn sizes(criterion: &mut Criterion, name: &str, rule: &dyn Optimizer) {
    let mut group = criterion.benchmark_group(name);
    for n in SIZES {
        let mut arrays = Arrays::new(rule, n, n as u64);
        group.throughput(Throughput::Bytes((n * bytes_per_element(rule)) as u64));
        for isa in [None].into_iter().chain(Isa::available().into_iter().map(Some)) {
            let name = isa.map_or("reference", Isa::name);
            let (w, g, mut state) = arrays.parts();
            group.bench_function(BenchmarkId::new(name, n), |bencher| {
                bencher.iter(|| step(rule, isa, w, g, &mut state));
            });
        }
    }
}

/// On an instruction set, or by the reference.
fn step(
    rule: &dyn Optimizer,
    isa: Option<Isa>,
    w: &mut [f32],
    g: &[f32],
    state: &mut [&mut [f32]],
) -> Result<(), Error> {
    match isa {
        Some(isa) => rule.step_on(isa, w, g, state, T),
        None => rule.reference_step(w, g, state, T),
    }
}

/// Short, because there are many: the comparison with C is `roofline`'s.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .nresamples(10_000)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! { name = benches; config = short(); targets = steps }
criterion_main!(benches);
