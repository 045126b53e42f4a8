//! A step allocates nothing, and neither does a whole step without threads, whatever the types.

mod common;

use common::{
    Arrays, Rule, every_option,
    owned::{Floats, Owned, OwnedGroup, OwnedRows, Types, one, with_groups},
    uniform, uniform_from,
};
use downhill::{Extras, Isa, Pool, Threads, convert, grad_squares, pack, rules, state_bytes, unpack};

/// How often `f` allocates.
fn allocations(f: impl FnOnce()) -> u64 {
    allocation_counter::measure(f).count_total
}

#[test]
fn a_step_allocates_nothing() {
    let isas = Isa::available();
    for rule in every_option() {
        let mut arrays = Arrays::new(&*rule, 1003, uniform());
        let mut state: Vec<&mut [f32]> = arrays.state.iter_mut().map(|x| &mut x[..]).collect();
        for &isa in &isas {
            let count = allocations(|| {
                for t in 1..=10 {
                    rule.step_on(isa, &mut arrays.w, &arrays.g, &mut state, t).unwrap();
                }
            });
            assert_eq!(count, 0, "{isa} {rule:?}");
        }
    }
    // The counter counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0_u8; 10]))), 1);
}

/// None of the extras, and all of them.
fn extras() -> [Extras; 2] {
    let all = Extras {
        grad_scale: 0.5,
        max_norm: 0.1,
        zero_grad: true,
        skip_nonfinite: true,
        grad_norm: true,
        norm_squared: None,
    };
    [Extras::default(), all]
}

/// Steps these groups, with one tensor whose gradient is not finite and without, and allocates nothing.
fn check(groups: &[OwnedGroup], threads: Threads<'_>) {
    for extras in extras() {
        let mut tensors: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
        let scale = with_groups(groups, &mut tensors, extras.zero_grad, |groups| {
            let mut scale = 0.0;
            let step = || scale = downhill::step(groups, &extras, threads).unwrap().applied_scale;
            assert_eq!(allocations(step), 0, "{groups:?} {extras:?}");
            scale
        });
        assert_eq!(scale < 0.5, extras.max_norm > 0.0, "clipped if it is to be");
        let g = Floats::F32(vec![f32::NAN; tensors[0][1].len()]);
        tensors[0][1].g = Some(g);
        with_groups(groups, &mut tensors, extras.zero_grad, |groups| {
            let mut skipped = false;
            let step = || skipped = downhill::step(groups, &extras, threads).unwrap().skipped;
            assert_eq!(allocations(step), 0, "{groups:?} {extras:?}");
            assert_eq!(skipped, extras.skip_nonfinite);
        });
    }
}

/// Tensors of `n` and of 7 elements, and one with a step count of its own.
fn group(rule: &Rule, types: Types, n: usize) -> OwnedGroup {
    let tensor = |n| Owned::new(&**rule, n, types, uniform_from(n as u64)).fresh();
    let mut tensors = vec![tensor(n), tensor(7), tensor(65)];
    tensors[2].t = 9;
    one(rule.clone(), 3, tensors)
}

#[test]
fn a_whole_step_without_threads_allocates_nothing_for_any_types() {
    // The first call of a process looks at the CPU and the environment.
    Isa::current().unwrap();
    for rule in rules() {
        for types in Types::all(&*rule) {
            check(&[group(&rule, types, 200)], Threads::Caller);
        }
    }
}

/// All rules in one call: with as many elements as would be enough for threads, and with few though
/// there are threads.
#[test]
fn a_whole_step_over_many_groups_without_threads_allocates_nothing() {
    Isa::current().unwrap();
    let pool = Pool::new(2);
    for (n, threads) in [(100_003, Threads::Caller), (203, Threads::Pool(&pool))] {
        let groups: Vec<_> = rules()
            .iter()
            .enumerate()
            .map(|(k, rule)| {
                let all = Types::all(&**rule);
                group(rule, all[k * 31 % all.len()], n)
            })
            .collect();
        check(&groups, threads);
    }
}

#[test]
fn rows_that_ascend_allocate_nothing() {
    Isa::current().unwrap();
    for rule in rules() {
        for types in Types::all(&*rule) {
            let rows = OwnedRows::new(64, (0..40).map(|row| 2 * row).collect());
            let table = Owned::table(&*rule, 80, rows, types, uniform_from(1)).fresh();
            let tensor = Owned::new(&*rule, 200, types, uniform_from(2)).fresh();
            check(&[one(rule.clone(), 3, vec![table, tensor])], Threads::Caller);
        }
    }
}

/// But for the list that it gives.
#[test]
fn sums_of_squares_without_threads_allocate_one_list() {
    Isa::current().unwrap();
    for rule in rules() {
        let groups = [group(&rule, Types::F32, 600_000)];
        let mut tensors = [groups[0].tensors.clone()];
        with_groups(&groups, &mut tensors, false, |groups| {
            let sums = || drop(grad_squares(groups, Threads::Caller).unwrap());
            assert_eq!(allocations(sums), 1);
        });
    }
}

#[test]
fn packing_and_converting_allocates_nothing() {
    let n = 1000;
    for rule in rules() {
        let Ok(bytes) = state_bytes(&*rule, n) else { continue };
        let mut packed = vec![0; bytes];
        let mut states = vec![vec![0.5; n]; rule.states().len()];
        let shared: Vec<&[f32]> = states.iter().map(|state| &state[..]).collect();
        assert_eq!(allocations(|| pack(&*rule, &shared, &mut packed).unwrap()), 0);
        let mut slices: Vec<&mut [f32]> = states.iter_mut().map(|state| &mut state[..]).collect();
        assert_eq!(allocations(|| unpack(&*rule, &packed, &mut slices).unwrap()), 0);
    }
    let (from, mut to) = (vec![0.5; n], vec![half::bf16::ZERO; n]);
    let converted = || convert(downhill::Values::F32(&from), (&mut to).into()).unwrap();
    assert_eq!(allocations(converted), 0);
}
