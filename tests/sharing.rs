//! Threads change no bit of a whole step: whoever works on it, however large the tensors are, and
//! whatever else goes on.

mod common;

use std::{iter, thread};

use common::{
    Arrays, Rule, any_rule, any_value, config, every_option,
    owned::{Owned, OwnedGroup, Types, assert_same, check, one, stepped},
    runner::is_brief,
    sharing::{ALL, Call, check_call, rayon, some_rules},
    uniform, uniform_from,
};
use downhill::{
    Adam, Amsgrad, Extras, Group, Isa, Optimizer, ParallelFor, Pool, Threads, grad_squares, reference,
    rules, step,
};
use proptest::{prelude::*, sample::Index};
use rayon::ThreadPool;

/// Every cut that threads make in `f32` is at a multiple of it.
const BLOCK: usize = 4096;

/// What threads take at a time.
const CHUNK: usize = 4 * BLOCK;

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
    Own(Calls),
}

impl Who {
    fn with<T: Send>(&self, f: impl FnOnce(Threads<'_>) -> T + Send) -> T {
        match self {
            Self::Caller => f(Threads::Caller),
            Self::Pool(pool) => f(Threads::Pool(pool)),
            Self::Rayon => f(Threads::Rayon),
            Self::InRayon(rayon) => rayon.install(|| f(Threads::Rayon)),
            Self::PoolInRayon(pool, rayon) => rayon.install(|| f(Threads::Pool(pool))),
            Self::Own(calls) => f(Threads::Own(calls)),
        }
    }
}

/// Calls the body on threads of its own, and one time after another on the caller's.
#[derive(Debug)]
struct Calls {
    threads: usize,
    at_once: usize,
    in_order: usize,
}

impl ParallelFor for Calls {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, parts: usize, body: &(dyn Fn() + Sync)) {
        assert!((1..=self.threads).contains(&parts));
        thread::scope(|scope| {
            for _ in 0..self.at_once {
                scope.spawn(body);
            }
        });
        (0..self.in_order).for_each(|_| body());
    }

    /// Some say the same number of each thread, and one that none can have.
    fn current(&self) -> Option<usize> {
        (self.in_order == 0).then_some(usize::MAX)
    }
}

fn everyone() -> Vec<Who> {
    let pools = (1..=4).map(|threads| Who::Pool(Pool::new(threads)));
    let own = [(1, 0, 0), (3, 3, 0), (3, 0, 3), (4, 2, 0), (2, 0, 0), (2, 5, 2)];
    let own = own.map(|(threads, at_once, in_order)| Who::Own(Calls { threads, at_once, in_order }));
    let others =
        [Who::Caller, Who::Rayon, Who::InRayon(rayon(3)), Who::PoolInRayon(Pool::new(3), rayon(2))];
    pools.chain(own).chain(others).collect()
}

/// How many of the cases are tried that differ by little.
fn cases() -> usize {
    if is_brief() { 1 } else { usize::MAX }
}

/// Lists that four threads work on, cut in odd ways.
fn large_lists() -> Vec<Vec<usize>> {
    let edges = [4095, 4096, 4097, 8191, 16_383, 16_384, 16_385];
    let mut lists = vec![
        vec![800_007],
        (0..1400).map(|k| 512 + k % 7 * 13 + 1).collect(),
        vec![0, 1, 300_001, 0, 0, 5, 16_384, 70_000, 4095, 4097, 0, 350_000, 2, 0],
        iter::repeat_n(edges, 11).flatten().collect(),
        iter::repeat_n([0, 0, 10_007], 75).flatten().collect(),
        iter::repeat_n(1, 5000).chain([750_000]).chain(iter::repeat_n(1, 5000)).collect(),
        vec![2 * CHUNK; 24],
    ];
    lists.truncate(cases());
    lists
}

#[test]
fn threads_change_nothing() {
    let everyone = everyone();
    let lists = large_lists();
    for (lengths, rule) in
        lists.iter().flat_map(|list| some_rules().into_iter().map(move |rule| (list, rule)))
    {
        let start = Arrays::new(&*rule, lengths.iter().sum(), uniform());
        let mut ours = start.clone();
        for extras in [Extras::default(), ALL] {
            let call = Call { rule: &*rule, isa: Isa::current().ok(), lengths, t: 3, extras };
            let expected = call.expected(&start);
            for who in &everyone {
                restore(&mut ours, &start);
                let report = who.with(|threads| call.run(&mut ours, threads));
                check_call(&call, &expected, &ours, &report);
            }
        }
    }
}

/// Groups of all rules together, each with other types, a tensor with its own step count and one without
/// a gradient.
#[test]
fn threads_change_nothing_for_any_types() {
    let everyone = everyone();
    for round in 0..if is_brief() { 1 } else { 4 } {
        let group = |(k, rule): (usize, Rule)| {
            let all = Types::all(&*rule);
            let types = all[(k * 29 + round * 53) % all.len()];
            let lengths = [0, 65, 50_000 + 64 * k + round, 4096, 1];
            let tensors = lengths.map(|n| Owned::new(&*rule, n, types, uniform_from(k as u64)));
            let mut group = one(rule, 2, tensors.to_vec());
            group.tensors[2].t = 9;
            group.tensors[0].g = None;
            group
        };
        let groups: Vec<OwnedGroup> = rules().into_iter().enumerate().map(group).collect();
        let (expected, expected_report) = stepped(&groups, None, &ALL, Threads::Caller);
        for (who, isa) in everyone.iter().zip(Isa::available().into_iter().cycle()) {
            let (ours, report) = who.with(|threads| stepped(&groups, Some(isa), &ALL, threads));
            assert_same(&groups, &ours, &expected, &format!("{who:?}"));
            assert_eq!(report, expected_report);
        }
    }
}

/// AMSGrad's hyper-parameters are those of an Adam, which has the same address and one state less.
#[test]
fn two_rules_at_one_address() {
    let amsgrad = Amsgrad(Adam::default());
    let configs: [&dyn Optimizer; 2] = [&amsgrad, &amsgrad.0];
    let config = |i: usize| configs[i % 2];
    // So small that a thread takes several at a time, and so many that they are shared.
    let start: Vec<Owned> =
        (0..400).map(|i| Owned::new(config(i), 1000, Types::F32, uniform_from(i as u64))).collect();
    let after = |threads: Threads<'_>| {
        let mut all = start.clone();
        let mut lists: Vec<_> = all.iter_mut().map(|one| [one.tensor(false)]).collect();
        let lists = lists.iter_mut().enumerate();
        let mut groups: Vec<_> = lists.map(|(i, list)| Group::new(config(i), 1, list)).collect();
        step(&mut groups, &Extras::default(), threads).unwrap();
        all
    };
    let (shared, alone) = (after(Threads::Pool(&Pool::new(2))), after(Threads::Caller));
    for (ours, theirs) in shared.iter().zip(&alone) {
        assert_eq!(ours.difference(theirs), None);
    }
}

#[test]
fn every_option_with_threads() {
    let pool = Pool::new(3);
    for (seed, rule) in every_option().into_iter().enumerate().step_by(if is_brief() { 20 } else { 3 }) {
        let all = Types::all(&*rule);
        let types = all[seed * 31 % all.len()];
        let lengths = [5, 200_001, 0, 64, 100_000];
        let tensors = lengths.map(|n| Owned::new(&*rule, n, types, uniform_from(seed as u64)));
        check(&[one(rule, 2, tensors.into())], &ALL, Threads::Pool(&pool));
    }
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
    (prop_oneof![Just(1.0), -2.0..2.0], prop_oneof![Just(0.0), 0.0..10.0], any::<[bool; 3]>()).prop_map(
        |(grad_scale, max_norm, [zero_grad, skip_nonfinite, grad_norm])| Extras {
            grad_scale,
            max_norm,
            zero_grad,
            skip_nonfinite,
            grad_norm,
            norm_squared: None,
        },
    )
}

proptest! {
    #![proptest_config(config(30))]

    #[test]
    fn any_large_list_with_threads(
        rule in any_rule(),
        list in any_list(large_lengths()),
        extras in any_extras(),
        t in prop_oneof![1_u64..100, Just(u64::MAX)],
    ) {
        let start = list.arrays(&*rule);
        let mut ours = start.clone();
        let call = Call { rule: &*rule, isa: None, lengths: &list.lengths, t, extras };
        let expected = call.expected(&start);
        let own = Calls { threads: 3, at_once: 2, in_order: 1 };
        let [two, four] = [2, 4].map(|threads| Who::Pool(Pool::new(threads)));
        let others = [two, four, Who::InRayon(rayon(3)), Who::Own(own)];
        for (who, isa) in others.iter().zip(Isa::available().into_iter().cycle()) {
            restore(&mut ours, &start);
            let call = Call { isa: Some(isa), ..call };
            let report = who.with(|threads| call.run(&mut ours, threads));
            check_call(&call, &expected, &ours, &report);
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
        let call = Call { rule: &*rule, isa: None, lengths: &[n], t: 7, extras };
        let (expected, _) = call.expected(&start);
        let lengths = random_lengths(n, &cuts);
        for who in [Who::Caller, Who::Pool(Pool::new(3))] {
            let mut ours = start.clone();
            let keys = cuts.iter().map(|&(_, key)| key).chain(iter::repeat(u32::MAX / 2));
            let mut keyed: Vec<_> = keys.zip(ours.tensors(&lengths)).collect();
            keyed.sort_by_key(|&(key, _)| key);
            let mut list: Vec<_> = keyed.into_iter().map(|(_, tensor)| tensor).collect();
            let whole = |threads: Threads<'_>| {
                step(&mut [Group::new(&*rule, 7, &mut list)], &extras, threads)
            };
            who.with(whole).unwrap();
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

/// Numbers of elements around those from which there are two, three and four threads.
#[test]
fn the_sizes_from_which_there_are_more_threads() {
    let bytes = 2 << 20;
    let pool = Pool::new(4);
    for rule in some_rules().into_iter().take(cases()) {
        let per_element = 4 * (3 + 2 * rule.states().len());
        for (threads, bytes_per_element) in
            [2, 3, 4].into_iter().flat_map(|k| [(k, per_element), (k, 16)])
        {
            let least = (threads * bytes as usize).div_ceil(bytes_per_element);
            for n in [least - 1, least, least + 1] {
                let start = Arrays::new(&*rule, n, uniform());
                let mut ours = start.clone();
                let lengths = &[n / 3, n - n / 3];
                let call = Call { rule: &*rule, isa: Isa::current().ok(), lengths, t: 3, extras: ALL };
                let report = call.run(&mut ours, Threads::Pool(&pool));
                check_call(&call, &call.expected(&start), &ours, &report);
            }
        }
    }
}

#[test]
fn sums_of_squares_do_not_depend_on_threads() {
    let (everyone, rule) = (everyone(), &rules()[0]);
    for lengths in large_lists() {
        let mut value = uniform();
        // Of very different sizes, so that another order would round otherwise.
        let n = lengths.iter().sum();
        let g: Vec<f32> = (0..n).map(|k| value() * 10_f32.powi(k as i32 % 9 - 4)).collect();
        let mut arrays = Arrays { w: vec![0.0; n], g, state: vec![vec![0.0; n]; rule.states().len()] };
        let mut rest = &arrays.g[..];
        let expected: Vec<u64> = lengths
            .iter()
            .map(|&len| reference::squares(rest.split_off(..len).unwrap()).to_bits())
            .collect();
        for who in &everyone {
            let mut list = arrays.tensors(&lengths);
            let sums =
                |threads: Threads<'_>| grad_squares(&mut [Group::new(&**rule, 1, &mut list)], threads);
            let sums = who.with(sums).unwrap();
            assert!(sums.iter().map(|sum| sum.to_bits()).eq(expected.iter().copied()), "{who:?}");
        }
    }
}

/// Lists that no cache holds, which the kernels treat in a way of their own, down to the shortest
/// tensor.
#[test]
fn lists_of_64_mebibytes() {
    let rule = some_rules().remove(3);
    let rule = &*rule;
    let lengths: Vec<usize> = (0..800).map(|k| k * k % 9001 + k % 3).collect();
    let n = lengths.iter().sum::<usize>();
    assert!(n * 5 * 4 > 64 << 20);
    let mut value = uniform();
    let start = Arrays::new(rule, n, || value().abs());
    let mut ours = start.clone();
    let call = Call { rule, isa: None, lengths: &lengths, t: 3, extras: ALL };
    let expected = call.expected(&start);
    for isa in Isa::available().into_iter().rev().take(cases()) {
        for who in [Who::Caller, Who::Pool(Pool::new(2))] {
            restore(&mut ours, &start);
            let call = Call { isa: Some(isa), ..call };
            let report = who.with(|threads| call.run(&mut ours, threads));
            check_call(&call, &expected, &ours, &report);
        }
    }
}

/// The same for tensors that are widened and narrowed.
#[test]
fn mixed_lists_of_64_mebibytes() {
    let rule = &rules().into_iter().rfind(|rule| downhill::state_bytes(&**rule, 1).is_ok()).unwrap();
    let all = Types::all(&**rule);
    let lengths = [3_000_001, 64, 5, 1_000_000];
    for types in all.iter().skip(all.len() / 3).step_by(19).take(if is_brief() { 1 } else { 5 }) {
        let tensors = lengths.map(|n| Owned::new(&**rule, n, *types, uniform_from(1)));
        let groups: Vec<_> = (0..3).map(|_| one(rule.clone(), 2, tensors.to_vec())).collect();
        let (expected, _) = stepped(&groups, None, &ALL, Threads::Caller);
        let (ours, _) = stepped(&groups, Isa::current().ok(), &ALL, Threads::Pool(&Pool::new(2)));
        assert_same(&groups, &ours, &expected, &format!("{types:?}"));
    }
}
