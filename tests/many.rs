//! A whole step over many tensors has the bits of the reference's steps, one tensor after another: for any
//! list, rule, values and extras, on every instruction set, and whoever works on it.

mod common;

use std::{
    iter,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use common::{
    Arrays, Rule, any_rule, any_value, cut, runner::is_brief, same_report, uniform, uniform_from,
};
use downhill::{
    Adam, Amsgrad, AnyTensor, Decay, Extras, Isa, Lion, NonFinite, Optimizer, Pool, Report, Rmsprop,
    Sgd, Threads, grad_norm, optimizer, reference,
};
use proptest::{prelude::*, sample::Index};
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

/// Every cut that threads make is at a multiple of it, and the norm adds up blocks of it.
const BLOCK: usize = 4096;

/// What threads take at a time.
const CHUNK: usize = 4 * BLOCK;

/// Everything at once, and clipping that scales down, if gradients are not tiny.
const ALL: Extras =
    Extras { grad_scale: -0.75, max_norm: 0.5, zero_grad: true, skip_nonfinite: true, grad_norm: true };

/// One whole step, whoever works on it.
#[derive(Clone, Copy, Debug)]
struct Call<'a> {
    rule: &'a dyn Optimizer,
    isa: Isa,
    lengths: &'a [usize],
    t: u64,
    extras: Extras,
}

impl Call<'_> {
    fn run(&self, arrays: &mut Arrays, threads: Threads<'_>) -> Report {
        let Self { rule, isa, lengths, t, extras } = *self;
        arrays.step_many(rule, isa, lengths, t, &extras, threads).unwrap()
    }

    fn expected(&self, start: &Arrays) -> (Arrays, Report) {
        let mut arrays = start.clone();
        let report = arrays.reference_step_many(self.rule, self.lengths, self.t, &self.extras);
        (arrays, report)
    }

    /// Is this what must come of `start`?
    fn check(&self, start: &Arrays, expected: &(Arrays, Report), ours: &Arrays, report: &Report) {
        assert!(same_report(report, &expected.1), "{report:?}, not {:?}: {self:?}", expected.1);
        assert_eq!(ours.difference(&expected.0), None, "{self:?}");
        // What is not to be written keeps even the payload of a NaN.
        if report.skipped {
            assert!(is_untouched(ours, start), "{self:?}");
        } else if !self.extras.zero_grad {
            assert!(same_bits(&ours.g, &start.g), "{self:?}");
        }
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn is_untouched(ours: &Arrays, start: &Arrays) -> bool {
    let states = ours.state.iter().zip(&start.state);
    same_bits(&ours.w, &start.w)
        && same_bits(&ours.g, &start.g)
        && states.fold(true, |all, (a, b)| all && same_bits(a, b))
}

/// Puts `start` into arrays that are there already.
fn restore(arrays: &mut Arrays, start: &Arrays) {
    arrays.w.copy_from_slice(&start.w);
    arrays.g.copy_from_slice(&start.g);
    arrays.state.iter_mut().zip(&start.state).for_each(|(array, start)| array.copy_from_slice(start));
}

/// Who works on a step.
#[derive(Debug)]
enum Who {
    Caller,
    Pool(Pool),
    /// `rayon`'s global pool.
    Rayon,
    /// From a worker of a `rayon` pool.
    InRayon(ThreadPool),
    /// A pool, from a worker of somebody else's.
    PoolInRayon(Pool, ThreadPool),
}

impl Who {
    fn with<T: Send>(&self, f: impl FnOnce(Threads<'_>) -> T + Send) -> T {
        match self {
            Self::Caller => f(Threads::Caller),
            Self::Pool(pool) => f(Threads::Pool(pool)),
            Self::Rayon => f(Threads::Rayon),
            Self::InRayon(rayon) => rayon.install(|| f(Threads::Rayon)),
            Self::PoolInRayon(pool, rayon) => rayon.install(|| f(Threads::Pool(pool))),
        }
    }
}

fn rayon(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn everyone() -> Vec<Who> {
    let pools = (1..=4).map(|threads| Who::Pool(Pool::new(threads)));
    let others =
        [Who::Caller, Who::Rayon, Who::InRayon(rayon(3)), Who::PoolInRayon(Pool::new(3), rayon(2))];
    pools.chain(others).collect()
}

/// A rule for each number of states, with every way that decay enters.
fn rules() -> [Rule; 4] {
    let (weight_decay, decay) = (0.1, Decay::Decoupled);
    [
        optimizer(Sgd { weight_decay, ..Sgd::default() }),
        optimizer(Lion { weight_decay, decay, ..Lion::default() }),
        optimizer(Adam { weight_decay, ..Adam::default() }),
        Rmsprop { momentum: 0.9, weight_decay, decay, ..Rmsprop::default() }.optimizer(true),
    ]
}

/// A list of tensors, and where its values come from.
#[derive(Clone, Debug)]
struct List {
    lengths: Vec<usize>,
    /// What values are drawn from; any in (−1, 1) if there is none.
    values: Vec<f32>,
    seed: u64,
    /// A gradient among all of them, and what it is.
    odd: Option<(Index, f32)>,
}

impl List {
    fn arrays(&self, rule: &dyn Optimizer) -> Arrays {
        let n = self.lengths.iter().sum();
        let mut next = uniform_from(self.seed);
        let mut arrays = match &self.values[..] {
            [] => Arrays::new(rule, n, next),
            values => {
                Arrays::new(rule, n, || values[((next() + 1.0) / 2.0 * values.len() as f32) as usize])
            }
        };
        match self.odd {
            Some((at, value)) if n > 0 => arrays.g[at.index(n)] = value,
            _ => {}
        }
        arrays
    }
}

fn any_list(lengths: impl Strategy<Value = Vec<usize>>) -> impl Strategy<Value = List> {
    let finite = any_value().prop_map(|x| if x.is_finite() { x } else { 0.25 });
    let values = prop_oneof![
        2 => Just(Vec::new()),
        2 => prop::collection::vec(finite, 1..64),
        1 => prop::collection::vec(any_value(), 1..64),
    ];
    let odd = prop_oneof![3 => Just(None), 1 => (any::<Index>(), any_value()).prop_map(Some)];
    (lengths, values, any::<u64>(), odd).prop_map(|(lengths, values, seed, odd)| List {
        lengths,
        values,
        seed,
        odd,
    })
}

/// No tensors, some, empty ones, and lengths around every edge there is.
fn any_lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![
        2 => Just(0),
        2 => Just(1),
        6 => 2..40_usize,
        1 => 40..1000_usize,
        2 => BLOCK - 6..BLOCK + 6,
        1 => 2 * BLOCK - 6..2 * BLOCK + 6,
        1 => CHUNK - 6..CHUNK + 6,
    ];
    prop::collection::vec(length, 0..7)
}

/// Lists large enough for threads, most of them.
fn large_lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![
        1 => Just(0),
        1 => Just(1),
        2 => 2..2000_usize,
        1 => BLOCK - 6..BLOCK + 6,
        2 => CHUNK - 6..CHUNK + 6,
        4 => 30_000..200_000_usize,
    ];
    prop::collection::vec(length, 2..12)
}

fn any_extras() -> impl Strategy<Value = Extras> {
    let grad_scale = prop_oneof![
        4 => -2.0..2.0,
        2 => prop::sample::select(vec![1.0, -1.0, 0.0, -0.0, 0.5]),
        1 => prop::sample::select(vec![1e-45, -1e-300, 1e-20, 65536.0, 3.4e38, -3.4e38]),
    ];
    let max_norm = prop_oneof![
        2 => Just(0.0),
        4 => 0.0..10.0,
        1 => 0.0..1e4,
        1 => prop::sample::select(vec![-0.0, 1e-300, 1e-45, 1e-6, 1.0, 3.4e38]),
    ];
    (grad_scale, max_norm, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(grad_scale, max_norm, zero_grad, skip_nonfinite, grad_norm)| Extras {
            grad_scale,
            max_norm,
            zero_grad,
            skip_nonfinite,
            grad_norm,
        },
    )
}

fn any_step() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..100, Just(1_000_000), Just(u64::MAX)]
}

/// So many cases, if the environment does not say how many.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, ..default },
    }
}

proptest! {
    #![proptest_config(config(600))]

    /// No extras: each tensor as by the rule alone, with nothing to report.
    #[test]
    fn each_tensor_is_stepped_as_if_alone(
        rule in any_rule(),
        list in any_list(any_lengths()),
        t in any_step(),
    ) {
        let start = list.arrays(&*rule);
        let mut expected = start.clone();
        let mut from = 0;
        for len in &list.lengths {
            expected.try_step(&*rule, None, t, from, from + len).unwrap();
            from += len;
        }
        for isa in Isa::available() {
            let mut ours = start.clone();
            let extras = Extras::default();
            let report = ours.step_many(&*rule, isa, &list.lengths, t, &extras, Threads::Caller).unwrap();
            prop_assert_eq!(report, Report { applied_scale: 1.0, ..Report::default() });
            prop_assert_eq!(ours.difference(&expected), None, "{}", isa);
            prop_assert!(same_bits(&ours.g, &start.g));
        }
    }
}

proptest! {
    #![proptest_config(config(1200))]

    #[test]
    fn any_extras_on_any_list(
        rule in any_rule(),
        list in any_list(any_lengths()),
        t in any_step(),
        extras in any_extras(),
    ) {
        let start = list.arrays(&*rule);
        let call = Call { rule: &*rule, isa: Isa::current().unwrap(), lengths: &list.lengths, t, extras };
        let expected = call.expected(&start);
        for isa in Isa::available() {
            let call = Call { isa, ..call };
            let mut ours = start.clone();
            let report = call.run(&mut ours, Threads::Caller);
            call.check(&start, &expected, &ours, &report);
        }
        let gradients: Vec<&[f32]> = cut(&start.g, &list.lengths).collect();
        let (norm, expected) = (grad_norm(&gradients, Threads::Caller).unwrap(), reference::grad_norm(&gradients));
        prop_assert!(norm.to_bits() == expected.to_bits() || norm.is_nan() && expected.is_nan());
    }
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn any_large_list_with_threads(
        rule in any_rule(),
        list in any_list(large_lengths()),
        extras in any_extras(),
        t in any_step(),
    ) {
        let start = list.arrays(&*rule);
        let mut ours = start.clone();
        let isas = Isa::available();
        let call = Call { rule: &*rule, isa: isas[0], lengths: &list.lengths, t, extras };
        let expected = call.expected(&start);
        let others = [Who::Pool(Pool::new(2)), Who::Pool(Pool::new(4)), Who::InRayon(rayon(3))];
        for (who, &isa) in others.iter().zip(isas.iter().cycle()) {
            restore(&mut ours, &start);
            let call = Call { isa, ..call };
            let report = who.with(|threads| call.run(&mut ours, threads));
            call.check(&start, &expected, &ours, &report);
        }
    }

    /// One array or as many as one likes, in any order: without a norm every element has the same bits.
    #[test]
    fn cuts_and_order_change_nothing(
        rule in any_rule(),
        seed in any::<u64>(),
        n in 1_usize..400_000,
        cuts in prop::collection::vec((any::<Index>(), any::<u32>()), 0..100),
        grad_scale in prop_oneof![Just(1.0), -2.0..2.0],
        zero_grad in any::<bool>(),
    ) {
        let start = Arrays::new(&*rule, n, uniform_from(seed));
        let extras = Extras { grad_scale, zero_grad, ..Extras::default() };
        let mut expected = start.clone();
        expected.reference_step_many(&*rule, &[n], 7, &extras);
        let lengths = random_lengths(n, &cuts);
        for who in [Who::Caller, Who::Pool(Pool::new(3))] {
            let mut ours = start.clone();
            let mut list = in_order(ours.tensors(&lengths), &cuts);
            let isa = Isa::current().unwrap();
            who.with(|threads| rule.step_many_on(isa, &mut list, 7, &extras, threads)).unwrap();
            prop_assert_eq!(ours.difference(&expected), None);
        }
    }
}

/// The lengths between these cuts of `n` elements. Some may be empty.
fn random_lengths(n: usize, cuts: &[(Index, u32)]) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|(cut, _)| cut.index(n + 1)).chain([0, n]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| ends[1] - ends[0]).collect()
}

/// The tensors sorted by the number that comes with each cut.
fn in_order<'a>(list: Vec<AnyTensor<'a>>, cuts: &[(Index, u32)]) -> Vec<AnyTensor<'a>> {
    let keys = cuts.iter().map(|&(_, key)| key).chain(iter::repeat(u32::MAX / 2));
    let mut list: Vec<_> = keys.zip(list).collect();
    list.sort_by_key(|&(key, _)| key);
    list.into_iter().map(|(_, tensor)| tensor).collect()
}

/// Lists that four threads work on, cut in odd ways.
fn large_lists() -> Vec<Vec<usize>> {
    let edges = [4095, 4096, 4097, 8191, 16_383, 16_384, 16_385];
    vec![
        vec![800_007],
        (0..1400).map(|k| 512 + k % 7 * 13 + 1).collect(),
        vec![0, 1, 300_001, 0, 0, 5, 16_384, 70_000, 4095, 4097, 0, 350_000, 2, 0],
        iter::repeat_n(edges, 11).flatten().collect(),
        iter::repeat_n([0, 0, 10_007], 75).flatten().collect(),
        iter::repeat_n(1, 5000).chain([750_000]).chain(iter::repeat_n(1, 5000)).collect(),
        vec![2 * CHUNK; 24],
    ]
}

#[test]
fn threads_change_nothing() {
    let everyone = everyone();
    let lists = large_lists();
    let lists = if is_brief() { &lists[..1] } else { &lists[..] };
    for (lengths, rule) in lists.iter().flat_map(|list| rules().map(|rule| (list, rule))) {
        let start = Arrays::new(&*rule, lengths.iter().sum(), uniform());
        let mut ours = start.clone();
        for extras in [Extras::default(), ALL] {
            let call = Call { rule: &*rule, isa: Isa::current().unwrap(), lengths, t: 3, extras };
            let expected = call.expected(&start);
            for who in &everyone {
                restore(&mut ours, &start);
                let report = who.with(|threads| call.run(&mut ours, threads));
                call.check(&start, &expected, &ours, &report);
            }
        }
    }
}

/// Numbers of elements around those from which there are two, three and four threads.
#[test]
fn the_sizes_from_which_there_are_more_threads() {
    let bytes = 2 << 20;
    let pool = Pool::new(4);
    for rule in rules() {
        let per_element = 4 * (3 + 2 * rule.state_names().len());
        for (threads, bytes_per_element) in
            [2, 3, 4].into_iter().flat_map(|k| [(k, per_element), (k, 16)])
        {
            let least = (threads * bytes as usize).div_ceil(bytes_per_element);
            for n in [least - 1, least, least + 1] {
                let start = Arrays::new(&*rule, n, uniform());
                let mut ours = start.clone();
                let isa = Isa::current().unwrap();
                let call = Call { rule: &*rule, isa, lengths: &[n / 3, n - n / 3], t: 3, extras: ALL };
                let report = call.run(&mut ours, Threads::Pool(&pool));
                call.check(&start, &call.expected(&start), &ours, &report);
            }
        }
    }
}

#[test]
fn the_norm_does_not_depend_on_threads() {
    let everyone = everyone();
    for lengths in large_lists() {
        let mut value = uniform();
        // Of very different sizes, so that another order would round otherwise.
        let g: Vec<f32> =
            (0..lengths.iter().sum()).map(|k| value() * 10_f32.powi(k as i32 % 9 - 4)).collect();
        let gradients: Vec<&[f32]> = cut(&g, &lengths).collect();
        let expected = reference::grad_norm(&gradients);
        for who in &everyone {
            let norm = who.with(|threads| grad_norm(&gradients, threads)).unwrap();
            assert_eq!(norm.to_bits(), expected.to_bits(), "{who:?}");
        }
    }
}

/// Lists that no cache holds, which the kernels treat in a way of their own, down to the shortest tensor.
#[test]
fn lists_of_64_mebibytes() {
    let rule = &*optimizer(Amsgrad::default());
    let lengths: Vec<usize> = (0..800).map(|k| k * k % 9001 + k % 3).collect();
    let n = lengths.iter().sum::<usize>();
    assert!(n * 5 * 4 > 64 << 20);
    let mut value = uniform();
    let start = Arrays::new(rule, n, || value().abs());
    let mut ours = start.clone();
    let call = Call { rule, isa: Isa::current().unwrap(), lengths: &lengths, t: 3, extras: ALL };
    let expected = call.expected(&start);
    for isa in Isa::available() {
        for who in [Who::Caller, Who::Pool(Pool::new(2))] {
            restore(&mut ours, &start);
            let call = Call { isa, ..call };
            let report = who.with(|threads| call.run(&mut ours, threads));
            call.check(&start, &expected, &ours, &report);
        }
    }
}

#[test]
fn the_default_is_to_do_nothing_else() {
    let nothing = Extras {
        grad_scale: 1.0,
        max_norm: 0.0,
        zero_grad: false,
        skip_nonfinite: false,
        grad_norm: false,
    };
    assert_eq!(Extras::default(), nothing);
    assert!(matches!(Threads::default(), Threads::Caller));
}

/// By hand: a norm of 5 is scaled by 2 to 10, and clipped to 1.
#[test]
fn what_is_reported() {
    let rule = &*optimizer(Sgd { lr: 1.0, ..Sgd::default() });
    let run = |g: [f32; 2], extras: Extras| {
        let mut arrays = Arrays { w: vec![0.0; 2], g: g.to_vec(), state: vec![] };
        let isa = Isa::current().unwrap();
        let report = arrays.step_many(rule, isa, &[1, 1], 1, &extras, Threads::Caller).unwrap();
        (report, arrays.w)
    };
    let clip = Extras { grad_scale: -2.0, max_norm: 1.0, ..Extras::default() };
    let (report, w) = run([3.0, -4.0], clip);
    let scale = (-2.0 * (1.0 / (10.0 + 1e-6))) as f32;
    let clipped = Report { grad_norm: Some(10.0), applied_scale: scale.into(), ..Report::default() };
    assert_eq!((report, w), (clipped, vec![-3.0 * scale, 4.0 * scale]));

    let (report, _) = run([3.0, -4.0], Extras { max_norm: 11.0, ..clip });
    assert_eq!(report, Report { grad_norm: Some(10.0), applied_scale: -2.0, ..Report::default() });
    let (report, _) = run([3.0, -4.0], Extras { max_norm: 0.0, ..clip });
    assert_eq!(report, Report { applied_scale: -2.0, ..Report::default() });
    let (report, _) = run([0.0, 0.0], clip);
    assert_eq!(report, Report { grad_norm: Some(0.0), applied_scale: -2.0, ..Report::default() });

    let skip = Extras { skip_nonfinite: true, ..clip };
    let (report, w) = run([3.0, f32::NEG_INFINITY], skip);
    let place = NonFinite { tensor: 1, element: 0, value: f32::NEG_INFINITY };
    let skipped = Report {
        grad_norm: Some(f64::INFINITY),
        applied_scale: 0.0,
        skipped: true,
        nonfinite: Some(place),
    };
    assert_eq!((report, w), (skipped, vec![0.0; 2]));

    // Not skipped: a norm that is not finite goes on into every weight, or is clipped to nothing.
    let (report, w) = run([3.0, f32::NAN], clip);
    assert!(report.grad_norm.unwrap().is_nan() && report.applied_scale.is_nan());
    assert!(w.iter().all(|w| w.is_nan()) && !report.skipped);
    let (report, w) = run([3.0, f32::INFINITY], clip);
    assert_eq!((report.grad_norm, report.applied_scale), (Some(f64::INFINITY), 0.0));
    assert!(w[0] == 0.0 && w[1].is_nan());
}

/// The first, the middle and the last element of every tensor, and those around a block's edge.
fn places(lengths: &[usize]) -> Vec<(usize, usize)> {
    let elements = |len: usize| [0, len / 2, len.wrapping_sub(1), BLOCK - 1, BLOCK];
    let places = lengths.iter().enumerate().flat_map(|(tensor, &len)| {
        let inside = elements(len).into_iter().filter(move |&element| element < len);
        inside.map(move |element| (tensor, element))
    });
    places.collect()
}

/// `arrays` is `start` but for a gradient at `place`, which is not finite.
fn check_skipped(call: &Call, who: &Who, arrays: &mut Arrays, start: &Arrays, place: (usize, usize)) {
    let (tensor, element) = place;
    let report = who.with(|threads| call.run(arrays, threads));
    let index = call.lengths[..tensor].iter().sum::<usize>() + element;
    let NonFinite { tensor, element, value } = report.nonfinite.expect("skipped");
    assert_eq!((tensor, element), place, "{call:?}");
    assert_eq!(value.to_bits(), start.g[index].to_bits());
    assert!(report.skipped);
    assert_eq!(report.applied_scale, 0.0);
    assert!(!report.grad_norm.unwrap().is_finite());
    assert!(is_untouched(arrays, start), "{call:?} {who:?} {place:?}");
}

#[test]
fn a_skipped_step_changes_nothing() {
    let only_skip = Extras { skip_nonfinite: true, ..Extras::default() };
    let rule = &*optimizer(Amsgrad(Adam { weight_decay: 0.1, ..Adam::default() }));
    let (small, large) = ([4097, 0, 33, 1, 8192], [4097, 0, 400_000, 1, 8192, 200_001]);
    let pool = || Who::Pool(Pool::new(3));
    for (lengths, who) in [(&small[..], Who::Caller), (&large, Who::Caller), (&large, pool())] {
        let mut start = Arrays::new(rule, lengths.iter().sum(), uniform());
        let mut ours = start.clone();
        let isas = Isa::available();
        for (k, place) in places(lengths).into_iter().enumerate() {
            let index = lengths[..place.0].iter().sum::<usize>() + place.1;
            let good = start.g[index];
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
                (start.g[index], ours.g[index]) = (bad, bad);
                for extras in [ALL, only_skip] {
                    let call = Call { rule, isa: isas[k % isas.len()], lengths, t: 3, extras };
                    check_skipped(&call, &who, &mut ours, &start, place);
                }
            }
            (start.g[index], ours.g[index]) = (good, good);
        }
    }
}

/// Gradients that are finite, and would not be once they are scaled.
#[test]
fn a_scale_that_could_overflow_is_skipped_and_one_that_cannot_is_not() {
    let adam = &*optimizer(Adam::default());
    let skip = |grad_scale| Extras { grad_scale, skip_nonfinite: true, ..Extras::default() };
    // norm, scale, whether it is skipped. No second look: the norm of all decides.
    let cases = [
        ([1e30, 0.0], skip(1e10), true),
        ([1e30, 0.0], skip(-1e10), true),
        ([1e30, 0.0], Extras { max_norm: 1.0, ..skip(1e10) }, false),
        ([f32::MAX, 0.0], skip(1.0), false),
        ([f32::MIN, 0.0], skip(-1.0), false),
        ([f32::MAX, 0.0], skip(1.000_000_2), true),
        ([3e38, 3e38], skip(1.0), true),
        ([3e38, 3e38], skip(0.5), false),
        ([0.0, 0.0], skip(f32::MAX.into()), false),
        ([1e30, 0.0], Extras { skip_nonfinite: false, ..skip(1e10) }, false),
    ];
    for (g, extras, skipped) in cases {
        for isa in Isa::available() {
            let start = Arrays { w: vec![1.0; 2], g: g.to_vec(), state: vec![vec![0.0; 2]; 2] };
            let mut ours = start.clone();
            let call = Call { rule: adam, isa, lengths: &[1, 1], t: 1, extras };
            let report = call.run(&mut ours, Threads::Caller);
            call.check(&start, &call.expected(&start), &ours, &report);
            assert_eq!((report.skipped, report.nonfinite), (skipped, None), "{call:?}");
            if skipped {
                assert!(is_untouched(&ours, &start) && report.applied_scale == 0.0, "{call:?}");
            }
        }
    }
}

/// However many of them follow, and however many threads find one.
#[test]
fn the_first_of_several_is_reported() {
    let rule = &*optimizer(Sgd::default());
    let lengths = [5, 300_000, 0, 300_001];
    let who = Who::Pool(Pool::new(3));
    for place in places(&lengths) {
        let mut start = Arrays::new(rule, lengths.iter().sum(), uniform());
        let index = lengths[..place.0].iter().sum::<usize>() + place.1;
        start.g[index..].fill(f32::NAN);
        start.g[index] = f32::INFINITY;
        let mut ours = start.clone();
        let call = Call { rule, isa: Isa::current().unwrap(), lengths: &lengths, t: 1, extras: ALL };
        check_skipped(&call, &who, &mut ours, &start, place);
    }
}

/// No square overflows: the largest gradients there are have a norm, and are stepped.
#[test]
fn the_largest_gradients_are_finite() {
    let rule = &*optimizer(Lion::default());
    for (lengths, who) in [([40, 5000], Who::Caller), ([300_000, 7], Who::Pool(Pool::new(2)))] {
        let mut start = Arrays::new(rule, lengths.iter().sum(), uniform());
        start.g.fill(f32::MAX);
        start.g[1] = f32::MIN;
        let mut ours = start.clone();
        let call = Call { rule, isa: Isa::current().unwrap(), lengths: &lengths, t: 1, extras: ALL };
        let report = who.with(|threads| call.run(&mut ours, threads));
        call.check(&start, &call.expected(&start), &ours, &report);
        assert!(!report.skipped && report.grad_norm.unwrap() > f32::MAX.into());
        assert_ne!(ours.w, start.w);
    }
}

/// Many steps of one list, each with other gradients, that end as the reference's do.
fn walk(caller: usize, steps: u64, threads: Threads<'_>) {
    let rule = &*rules().into_iter().nth(caller % 4).unwrap();
    // Every third caller's list is too small for threads.
    let lengths = match caller % 3 {
        0 => [caller, 1000, 0, 7],
        _ => [caller, 290_000, 0, 5000],
    };
    let extras = Extras { zero_grad: false, ..ALL };
    let mut ours = Arrays::new(rule, lengths.iter().sum(), uniform_from(caller as u64));
    let mut expected = ours.clone();
    for t in 1..=steps {
        let call = Call { rule, isa: Isa::current().unwrap(), lengths: &lengths, t, extras };
        let report = call.run(&mut ours, threads);
        let (after, expected_report) = call.expected(&expected);
        assert!(same_report(&report, &expected_report), "{call:?}");
        expected = after;
        ours.g.rotate_left(1);
        expected.g.rotate_left(1);
    }
    assert_eq!(ours.difference(&expected), None, "caller {caller}");
}

#[test]
fn eight_callers_of_one_pool() {
    let pool = Pool::new(3);
    thread::scope(|scope| {
        for caller in 0..8 {
            let pool = &pool;
            scope.spawn(move || walk(caller, 20, Threads::Pool(pool)));
        }
    });
}

/// Workers that step while other workers of the same pool do.
#[test]
fn callers_that_are_workers_themselves() {
    let pool = Pool::new(2);
    rayon(3).install(|| {
        (0..12_usize).into_par_iter().for_each(|caller| {
            walk(caller, 5, if caller % 2 == 0 { Threads::Rayon } else { Threads::Pool(&pool) });
        });
    });
}

/// Small steps begin and end, one after another, while one large step has the workers.
#[test]
fn a_small_step_does_not_wait_for_a_large_one() {
    let rule = &*optimizer(Adam::default());
    let pool = &Pool::new(2);
    let (enough, finished) = (&AtomicBool::new(false), &AtomicBool::new(false));
    // Odd during a large step.
    let phase = &AtomicUsize::new(0);
    let call = |n: usize, isa: Isa| {
        let mut arrays = Arrays::new(rule, n, || 0.5);
        move || {
            let extras = Extras::default();
            arrays.step_many(rule, isa, &[n], 1, &extras, Threads::Pool(pool)).unwrap();
        }
    };
    // Of the narrowest instruction set, to be slow.
    let mut large = call(4 << 20, Isa::available()[0]);
    let mut small = call(160_000, Isa::current().unwrap());
    let many_large = move || {
        for _ in 0..400 {
            if enough.load(Ordering::SeqCst) {
                break;
            }
            phase.fetch_add(1, Ordering::SeqCst);
            large();
            phase.fetch_add(1, Ordering::SeqCst);
        }
        finished.store(true, Ordering::SeqCst);
    };
    let mut in_a_row = 0;
    thread::scope(|scope| {
        scope.spawn(many_large);
        while in_a_row < 3 && !finished.load(Ordering::SeqCst) {
            // The large step, if it was late, has the workers now.
            thread::sleep(Duration::from_millis(1));
            let before = phase.load(Ordering::SeqCst);
            small();
            let during = before % 2 == 1 && phase.load(Ordering::SeqCst) == before;
            in_a_row = if during { in_a_row + 1 } else { 0 };
        }
        enough.store(true, Ordering::SeqCst);
    });
    assert_eq!(in_a_row, 3);
}
