//! Rows of a table: the reference's bits for any list of rows, and those of a step of the whole table.

mod common;

use common::{
    any_rule, any_value, config, every_option, mixed_from,
    owned::{
        COPIES, FLOATS, Owned, OwnedGroup, OwnedRows, STATES, StateType, Types, WEIGHTS, check, one,
        stepped,
    },
    runner::is_brief,
    uniform_from,
};
use downhill::{
    Adagrad, Adam, Decay, Error, Extras, Group, Isa, Numbering, Optimizer, Pool, Rounding, Rows,
    RowwiseAdagrad, Sgd, States, Tensor, Threads, reference, state_bytes, step,
};
use proptest::prelude::*;

/// A list in an order without a pattern, `count` rows of `0..of`, each at most once.
fn some_rows(count: usize, of: usize, seed: u64) -> Vec<i64> {
    let mut next = uniform_from(seed);
    let mut all: Vec<i64> = (0..of as i64).collect();
    for k in 0..count {
        let other = k + ((next() + 1.0) / 2.0 * (of - k) as f32) as usize;
        all.swap(k, other.min(of - 1));
    }
    all.truncate(count);
    all
}

/// Of many cases one in this many is tried. Odd, so that lists in order and not are among them.
fn stride() -> usize {
    if is_brief() { 19 } else { 1 }
}

/// Types that rows of this length can have.
fn types_of(rule: &dyn Optimizer, row_length: usize) -> Vec<Types> {
    let mut all = Types::all(rule);
    all.retain(|types| types.state != StateType::Bits8 || row_length.is_multiple_of(64));
    all
}

/// The lists of rows that a table of `count` is stepped with, and whether they are merged.
fn lists(count: usize) -> Vec<(Vec<i64>, bool)> {
    let last = count as i64 - 1;
    let some = some_rows(count / 2 + 1, count, 3);
    let mut sorted = some.clone();
    sorted.sort_unstable();
    let repeated = [&some[..], &[0, last, 0], &some, &[last]].concat();
    let mut repeated_in_order = repeated.clone();
    repeated_in_order.sort_unstable();
    vec![
        (vec![], false),
        (vec![0], false),
        (vec![last], true),
        (some, false),
        (sorted, true),
        (repeated, true),
        (repeated_in_order, true),
    ]
}

#[test]
fn every_rule_and_type_has_the_references_bits() {
    let mut number = 0;
    for rule in every_option() {
        for row_length in [1, 3, 16, 64, 100, 192] {
            for types in types_of(&*rule, row_length).into_iter().step_by(stride()) {
                let count = 5;
                // Each list, rounding and ISA meets each rule, length and type sooner or later.
                number += 1;
                let all = lists(count);
                let (rows, merge) = all[number % all.len()].clone();
                let row_t = (number % 3 == 0).then(|| (0..count as u64).map(|t| t % 3).collect());
                let rows = OwnedRows { row_length, rows, merge, row_t };
                let table = Owned::table(&*rule, count, rows, types, mixed_from(number as u64));
                let dense = Owned::new(&*rule, 10, types, mixed_from(number as u64));
                let mut group = one(rule.clone(), 3, vec![table.clone(), dense, table]);
                if number % 4 == 0 {
                    group.rounding = Rounding::Nearest;
                }
                let zero_grad = number % 2 == 0;
                let extras = Extras { grad_scale: 0.5, zero_grad, ..Extras::default() };
                check(&[group], &extras, Threads::Caller);
            }
        }
    }
}

#[test]
fn every_row_length_has_the_references_bits() {
    for row_length in 1..=300 {
        let rows = OwnedRows::new(row_length, vec![2, 0, 3]);
        for types in [Types::F32, Types { w: WEIGHTS[1], g: FLOATS[1], state: STATES[1], copy: None }] {
            let mut tables = Vec::new();
            for merge in [false, true] {
                let mut rows = OwnedRows { merge, ..rows.clone() };
                rows.rows.extend(if merge { &[2, 2, 1][..] } else { &[] });
                let value = mixed_from(row_length as u64);
                tables.push(Owned::table(&Adam::default(), 4, rows, types, value));
            }
            check(&[one(Adam::default().into(), 3, tables)], &Extras::default(), Threads::Caller);
        }
    }
}

/// Row-wise Adagrad with each decay.
fn rowwise() -> Vec<Box<dyn Optimizer>> {
    let plain = RowwiseAdagrad::default();
    let decayed = |decay| RowwiseAdagrad { weight_decay: 0.125, decay, ..plain };
    vec![plain.into(), decayed(Decay::L2).into(), decayed(Decay::Decoupled).into()]
}

/// Types that a state for each row can be beside.
fn rowwise_types() -> Vec<Types> {
    let mut all = Types::all(&RowwiseAdagrad::default());
    all.retain(|types| types.state == StateType::F32);
    all
}

#[test]
fn a_state_for_each_row_has_the_references_bits() {
    let mut number = 0;
    for rule in rowwise() {
        for row_length in [1, 31, 32, 33, 64, 300, 512, 513, 1100] {
            for types in rowwise_types() {
                number += 1;
                let all = lists(4);
                let (rows, merge) = all[number % all.len()].clone();
                let rows = OwnedRows { merge, ..OwnedRows::new(row_length, rows) };
                let table = Owned::table(&*rule, 4, rows, types, mixed_from(number as u64));
                let mut group = one(rule.clone(), 1, vec![table]);
                if number % 3 == 0 {
                    group.clamp = [-0.25, 0.25];
                }
                let extras = Extras {
                    grad_scale: if number % 4 == 0 { 1.0 } else { 0.3 },
                    zero_grad: number % 2 == 0,
                    ..Extras::default()
                };
                check(&[group], &extras, Threads::Caller);
            }
        }
    }
}

#[test]
fn a_state_for_each_row_does_not_depend_on_threads() {
    let pool = Pool::new(3);
    for rule in rowwise() {
        let mut rows = some_rows(5000, 6000, 9);
        rows.extend(vec![17; 3000]);
        let rows = OwnedRows { merge: true, ..OwnedRows::new(65, rows) };
        let table = Owned::table(&*rule, 6000, rows, Types::F32, uniform_from(4));
        check(&[one(rule, 1, vec![table])], &Extras::default(), Threads::Pool(&pool));
    }
}

/// The function steps one row, with the bits that the row has in a table.
#[test]
fn the_function_of_row_wise_adagrad_steps_one_row() {
    for rule in rowwise() {
        for n in [1, 31, 64, 300, 1000] {
            let rows = OwnedRows::new(n, vec![0]);
            let table = Owned::table(&*rule, 1, rows, Types::F32, mixed_from(n as u64));
            let (w, s) = (table.w.wide(), table.state[0].wide());
            let g = table.g.as_ref().unwrap().wide();
            for isa in Isa::available() {
                let (mut w, mut s) = (w.clone(), s.clone());
                rule.step_on(isa, &mut w, &g, &mut [&mut s], 1).unwrap();
                let group = one(rule.clone(), 1, vec![table.clone()]);
                let (after, _) = stepped(&[group], Some(isa), &Extras::default(), Threads::Caller);
                let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| common::same(*a, *b));
                assert!(
                    same(&w, &after[0][0].w.wide()) && same(&s, &after[0][0].state[0].wide()),
                    "{isa} {n}"
                );
            }
        }
        let (mut w, mut s) = ([1.0, 2.0], [0.5]);
        rule.step(&mut [], &[], &mut [&mut s], 1).unwrap();
        assert_eq!(s, [0.5], "no elements, no mean");
        let error = rule.step(&mut w, &[1.0; 2], &mut [&mut [0.0; 2]], 1).unwrap_err().to_string();
        assert_eq!(error, "`s` has 2 elements; with these rows it must have 1");
    }
}

/// FBGEMM's and TorchRec's formula, in `f64`.
#[test]
fn row_wise_adagrad_is_that_of_embeddings() {
    let config = RowwiseAdagrad { lr: 0.1, weight_decay: 0.01, ..RowwiseAdagrad::default() };
    let mut value = uniform_from(6);
    let mut row: Vec<f32> = (0..48).map(|_| value()).collect();
    let (mut s, mut wide_s) = (0.0, 0.0);
    let mut wide: Vec<f64> = row.iter().map(|&w| w.into()).collect();
    for _ in 0..100 {
        let g: Vec<f32> = (0..48).map(|_| value()).collect();
        downhill::rowwise_adagrad_step(&mut row, &g, &mut s, &config).unwrap();
        let g: Vec<f64> = g.iter().zip(&wide).map(|(&g, w)| f64::from(g) + 0.01 * w).collect();
        wide_s += g.iter().map(|g| g * g).sum::<f64>() / 48.0;
        let multiplier = 0.1 / (wide_s.sqrt() + 1e-10);
        wide.iter_mut().zip(&g).for_each(|(w, g)| *w -= multiplier * g);
    }
    let error = row.iter().zip(&wide).map(|(&w, wide)| (f64::from(w) - wide).abs()).fold(0.0, f64::max);
    assert!(error < 1e-6, "{error}");
}

#[test]
fn a_state_for_each_row_needs_rows_and_f32() {
    let config = RowwiseAdagrad::default();
    let told = |tensor: Tensor<'_>| {
        let mut list = [tensor];
        let mut groups = [Group::new(&config, 1, &mut list)];
        let error = step(&mut groups, &Extras::default(), Threads::Caller).unwrap_err().to_string();
        error.strip_prefix("group 0: tensor 0: ").unwrap().to_owned()
    };
    let (mut w, g) = ([0.0; 4], [1.0; 2]);
    let (mut halves, mut too_many) = ([half::bf16::ZERO; 2], [0.0; 4]);
    let needs = "`rows` is missing; rowwise_adagrad has a state for each row, and steps rows only";
    assert_eq!(told(Tensor::new(&mut w, &[1.0; 4], [&mut [0.0; 4]])), needs);
    let mut tensor = Tensor::new(&mut w, &g, [&mut halves]);
    tensor.rows = Some(Rows::new(2, &[0]));
    let needs = "`s` of rowwise_adagrad must be f32: it has one number for each row";
    assert_eq!(told(tensor), needs);
    let mut tensor = Tensor::new(&mut w, &g, [&mut too_many]);
    tensor.rows = Some(Rows::new(2, &[0]));
    assert_eq!(told(tensor), "`s` has 4 elements; with these rows it must have 2");
    assert!(matches!(state_bytes(&config, 64), Err(Error::NotInBits8 { argument: "s", .. })));
}

/// All rows of a table, in any order: what is rounded at random too.
#[test]
fn all_rows_have_the_bits_of_the_whole_table() {
    for rule in every_option() {
        for row_length in [7, 64] {
            for types in types_of(&*rule, row_length) {
                let dense = Owned::new(&*rule, 9 * row_length, types, mixed_from(5));
                let mut table = dense.clone();
                let rows = some_rows(9, 9, 8);
                let g = dense.g.as_ref().unwrap();
                let listed: Vec<f32> = rows
                    .iter()
                    .flat_map(|&row| g.wide()[row as usize * row_length..][..row_length].to_vec())
                    .collect();
                table.g = Some(common::owned::Floats::new(types.g, listed.into_iter()));
                table.rows = Some(OwnedRows::new(row_length, rows));
                let after = |tensor: &Owned| {
                    let group = one(rule.clone(), 4, vec![tensor.clone()]);
                    let (mut tensors, _) = stepped(
                        &[group],
                        Some(Isa::current().unwrap()),
                        &Extras::default(),
                        Threads::Caller,
                    );
                    let mut stepped = tensors.remove(0).remove(0);
                    (stepped.g, stepped.rows) = (None, None);
                    stepped
                };
                let difference = after(&table).difference(&after(&dense));
                assert!(difference.is_none(), "{rule:?} {types:?}: {}", difference.unwrap());
            }
        }
    }
}

fn any_table() -> impl Strategy<Value = OwnedGroup> {
    let types = (
        prop::sample::select(&WEIGHTS[..]),
        prop::sample::select(&FLOATS[..]),
        prop::sample::select(&STATES[..]),
        prop::sample::select(&COPIES[..]),
    );
    let types = types.prop_map(|(w, g, state, copy)| Types { w, g, state, copy });
    let shape = (1_usize..150, 1_usize..12, prop::collection::vec(any::<prop::sample::Index>(), 0..20));
    let values = prop::collection::vec(any_value(), 1..200);
    let numbers = (1_u64..1000, any::<u64>(), any::<[bool; 5]>());
    (any_rule(), types, shape, values, numbers).prop_map(|(rule, mut types, shape, values, numbers)| {
        let (mut row_length, count, rows) = shape;
        let (t, seed, [is_random, is_given, merge, has_row_t, is_clamped]) = numbers;
        if types.state == StateType::Bits8 {
            if state_bytes(&*rule, 0).is_err() {
                types.state = StateType::Bf16;
            } else {
                row_length = row_length.next_multiple_of(64);
            }
        }
        let mut rows: Vec<i64> = rows.into_iter().map(|row| row.index(count) as i64).collect();
        if !merge {
            let mut seen = std::collections::HashSet::new();
            rows.retain(|&row| seen.insert(row));
        }
        let row_t = has_row_t.then(|| (0..count as u64).map(|row| seed % (row + 7)).collect());
        let mut values = values.into_iter().cycle();
        let rows = OwnedRows { row_length, rows, merge, row_t };
        let mut table = Owned::table(&*rule, count, rows, types, || values.next().unwrap());
        let mut group = one(rule, t, Vec::new());
        if !is_random {
            group.rounding = Rounding::Nearest;
        } else {
            group.rounding = Rounding::Stochastic { seed };
        }
        if is_given {
            group.numbering = Numbering::Given;
            table.first_element = seed / 128 * 64;
        }
        if is_clamped {
            group.clamp = [-0.5, 0.75];
        }
        group.tensors.push(table);
        group
    })
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn any_table_has_the_references_bits(
        groups in prop::collection::vec(any_table(), 1..3),
        scale in -2.0..2.0,
        max_norm in 0.0..3.0,
        flags in any::<[bool; 3]>(),
    ) {
        let [zero_grad, skip_nonfinite, grad_norm] = flags;
        let extras =
            Extras { grad_scale: scale, max_norm, zero_grad, skip_nonfinite, grad_norm, norm_squared: None };
        check(&groups, &extras, Threads::Caller);
    }
}

/// Large enough for several threads: cut anywhere, in order and not, with rows of their own step.
#[test]
fn bits_do_not_depend_on_threads() {
    let (count, row_length) = (6000, 65);
    let pool = Pool::new(3);
    for (number, rule) in every_option().into_iter().enumerate().step_by(stride()) {
        for types in
            [Types::F32, Types { w: WEIGHTS[1], g: FLOATS[1], state: STATES[1], copy: COPIES[2] }]
        {
            let mut rows = some_rows(5000, count, number as u64);
            // A row that is listed so often that it is larger than a thread's part.
            rows.extend(vec![17; 3000]);
            if number % 2 == 0 {
                rows.sort_unstable();
            }
            let row_t = (number % 3 == 0).then(|| (0..count as u64).map(|row| row % 5).collect());
            let rows = OwnedRows { row_length, rows, merge: true, row_t };
            let value = uniform_from(number as u64);
            let table = Owned::table(&*rule, count, rows, types, value);
            let groups = [one(rule.clone(), 2, vec![table])];
            let extras = Extras { max_norm: 1.0, zero_grad: number % 4 < 2, ..Extras::default() };
            check(&groups, &extras, Threads::Pool(&pool));
        }
    }
}

/// Each row once and in no order: threads have parts of the list, if the weights are the only array. Of most
/// rows of a table, and of some that are nearly all in one place.
#[test]
fn rows_as_they_are_listed_do_not_depend_on_threads() {
    let pool = Pool::new(3);
    let spread = some_rows(9000, 10_000, 5);
    let near = some_rows(8900, 9000, 6)
        .into_iter()
        .chain(some_rows(100, 5000, 7).into_iter().map(|k| 15_000 + k));
    let near: Vec<_> = near.collect();
    let rules = every_option().into_iter().filter(|rule| rule.states().is_empty());
    for (number, rule) in rules.chain(rowwise()).enumerate().step_by(stride()) {
        for (count, rows) in [(10_000, &spread), (20_000, &near)] {
            for types in [Types::F32, Types { w: WEIGHTS[1], g: FLOATS[1], ..Types::F32 }] {
                let row_t = (number % 2 == 0).then(|| (0..count as u64).map(|row| row % 5).collect());
                let rows = OwnedRows { row_t, ..OwnedRows::new(65, rows.clone()) };
                let table = Owned::table(&*rule, count, rows, types, uniform_from(number as u64));
                // Others before and after it.
                let tables = vec![table.clone(), table.clone(), table];
                let extras = Extras { zero_grad: number % 3 == 0, ..Extras::default() };
                check(&[one(rule.clone(), 2, tables)], &extras, Threads::Pool(&pool));
            }
        }
    }
}

/// Two tables of which each thread has one; and such that the part of one ends in a row that is listed
/// up to the end.
#[test]
fn tables_are_cut_where_they_end() {
    let (count, row_length) = (4096, 64);
    let pool = Pool::new(2);
    let last = count as i64 - 1;
    for rows in [(0..=last).collect(), [(0..last).collect(), vec![last; 9000]].concat()] {
        let merge = rows.len() > count;
        let rows = OwnedRows { merge, ..OwnedRows::new(row_length, rows) };
        let table = |seed| {
            let rows = rows.clone();
            Owned::table(&Adagrad::default(), count, rows, Types::F32, uniform_from(seed))
        };
        let groups = [one(Adagrad::default().into(), 2, vec![table(1), table(2)])];
        check(&groups, &Extras::default(), Threads::Pool(&pool));
    }
}

#[test]
fn each_row_has_a_step_of_its_own() {
    let config = Adam::default();
    let rows = OwnedRows { row_t: Some(vec![0, 4, 9, u64::MAX]), ..OwnedRows::new(2, vec![3, 1, 0]) };
    let table = Owned::table(&config, 4, rows, Types::F32, uniform_from(1)).fresh();
    let isa = Some(Isa::current().unwrap());
    let (tables, _) =
        stepped(&[one(config.into(), 1, vec![table.clone()])], isa, &Extras::default(), Threads::Caller);
    let after = &tables[0][0];
    assert_eq!(after.rows.as_ref().unwrap().row_t, Some(vec![1, 5, 9, u64::MAX]));
    for (position, row, t) in [(0, 3, u64::MAX), (1, 1, 5), (2, 0, 1)] {
        let mut w = table.w.wide()[2 * row..][..2].to_vec();
        let g = table.g.as_ref().unwrap().wide()[2 * position..][..2].to_vec();
        let (mut m, mut v) = ([0.0; 2], [0.0; 2]);
        downhill::adam_step(&mut w, &g, &mut m, &mut v, t, &config).unwrap();
        assert_eq!(w, after.w.wide()[2 * row..][..2]);
    }
    assert_eq!(table.w.wide()[4..6], after.w.wide()[4..6], "row 2 is not listed");
}

/// 1 + 2⁻²⁴ + 2⁻²⁴ is 1 in this order, and more in another.
#[test]
fn merged_gradients_are_added_in_the_order_of_the_list() {
    let small = 2.0_f32.powi(-24);
    let sgd = Sgd { lr: 1.0, ..Sgd::default() };
    let stepped = |g: [f32; 3]| {
        let mut w = [0.0; 3];
        let mut tensor = Tensor::new(&mut w, &g, States::default());
        let mut rows = Rows::new(1, &[2, 2, 2]);
        rows.merge = true;
        tensor.rows = Some(rows);
        step(&mut [Group::new(&sgd, 1, &mut [tensor])], &Extras::default(), Threads::Caller).unwrap();
        w
    };
    assert_eq!(stepped([1.0, small, small]), [0.0, 0.0, -1.0]);
    assert_eq!(stepped([small, small, 1.0]), [0.0, 0.0, -1.0 - 2.0 * small]);
}

/// The norm is that of all that is listed; and a step that is skipped counts no row.
#[test]
fn rows_are_clipped_and_skipped_like_all_else() {
    let sgd = Sgd { lr: 1.0, ..Sgd::default() };
    let (mut w, mut row_t) = ([0.0; 4], [0; 2]);
    let mut stepped = |g: &mut [f32; 4], extras: Extras| {
        let mut tensor = Tensor::new(&mut w, g, States::default());
        let mut rows = Rows::new(2, &[1, 1]);
        (rows.merge, rows.row_t) = (true, Some(&mut row_t[..]));
        tensor.rows = Some(rows);
        let report = step(&mut [Group::new(&sgd, 1, &mut [tensor])], &extras, Threads::Caller).unwrap();
        (report, w, row_t)
    };
    let extras = Extras { max_norm: 2.5, zero_grad: true, skip_nonfinite: true, ..Extras::default() };
    let mut g = [0.0, f32::NAN, 1.0, 1.0];
    let (report, w, row_t) = stepped(&mut g, extras);
    assert!(report.skipped && g[2] == 1.0);
    assert_eq!((report.nonfinite.unwrap().element, w, row_t), (1, [0.0; 4], [0; 2]));
    let mut g = [3.0, 0.0, 0.0, 4.0];
    let (report, w, row_t) = stepped(&mut g, extras);
    assert_eq!((report.grad_norm, g, row_t), (Some(5.0), [0.0; 4], [0, 1]));
    let scale = report.applied_scale as f32;
    assert_eq!(w, [0.0, 0.0, -(3.0 * scale), -(4.0 * scale)]);
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_written() {
    let table = |rows: OwnedRows| {
        let list = OwnedRows { rows: vec![0; rows.rows.len()], ..OwnedRows::new(4, Vec::new()) };
        let mut table = Owned::table(&Adagrad::default(), 6, list, Types::F32, uniform_from(2));
        table.rows = Some(rows);
        table
    };
    let list = |rows: &[i64]| OwnedRows::new(4, rows.to_vec());
    let row_t = |len| OwnedRows { row_t: Some(vec![0; len]), ..list(&[1]) };
    let many = |length| OwnedRows::new(length, vec![0]);
    let cases = [
        (list(&[0, 6]), "`rows[1]` is 6; it must be at least 0 and below 6, the table's rows"),
        (list(&[3, -1]), "`rows[1]` is -1; it must be at least 0 and below 6, the table's rows"),
        (list(&[i64::MIN]), "`rows[0]` is -9223372036854775808; it must be"),
        (
            list(&[5, 2, 1, 2]),
            "`rows[3]` is 2, as `rows[1]` is; a row may be listed once, unless rows are",
        ),
        (list(&[1, 2, 2]), "`rows[2]` is 2, as `rows[1]` is"),
        (row_t(5), "`row_t` has 5 elements; with these rows it must have 6"),
        (many(0), "`row_length` is 0; it must be at least 1 and divide the 24 elements of `w`"),
        (many(5), "`row_length` is 5; it must be at least 1 and divide the 24 elements of `w`"),
        (many(8), "`g` has 4 elements; with these rows it must have 8"),
    ];
    for (rows, expected) in cases {
        let before = table(rows);
        for by_reference in [false, true] {
            let mut after = before.clone();
            let mut list = [after.tensor(false)];
            let config = Adagrad::default();
            let mut groups = [Group::new(&config, 1, &mut list)];
            let error = match by_reference {
                true => reference::step(&mut groups, &Extras::default()),
                false => step(&mut groups, &Extras::default(), Threads::Caller),
            };
            let told = error.unwrap_err().to_string();
            let told = told.strip_prefix("group 0: tensor 0: ").unwrap();
            assert!(told.starts_with(expected), "{told}");
            assert!(after.difference(&before).is_none());
        }
    }
}

#[test]
fn rows_with_states_in_eight_bits_are_whole_blocks() {
    let (config, mut w) = (Adam::default(), [0.0; 96]);
    let mut bytes = vec![0; state_bytes(&config, 96).unwrap()];
    let mut tensor = Tensor::new(&mut w, &[1.0; 32], &mut bytes);
    tensor.rows = Some(Rows::new(32, &[1]));
    let mut list = [tensor];
    let mut groups = [Group::new(&config, 1, &mut list)];
    let error = step(&mut groups, &Extras::default(), Threads::Caller).unwrap_err();
    let Error::Group { error, .. } = error else { panic!("{error}") };
    assert_eq!(
        *error,
        Error::Tensor { index: 0, error: Box::new(Error::RowInBits8 { row_length: 32 }) }
    );
}

/// A table without elements may have rows of any length, of which the bytes are no `usize`; also where
/// threads share the work.
#[test]
fn a_table_without_rows_may_say_any_length_of_them() {
    let (config, pool) = (Adam::default(), Pool::new(2));
    for row_length in [1, 1 << (usize::BITS - 3), 1 << (usize::BITS - 2), usize::MAX] {
        for (n, threads) in [(0, Threads::Caller), (1 << 20, Threads::Pool(&pool))] {
            let (mut w, mut m, mut v): ([f32; 0], [f32; 0], [f32; 0]) = ([], [], []);
            let mut table = Tensor::new(&mut w, &[0.0; 0], [&mut m[..], &mut v[..]]);
            table.rows = Some(Rows::new(row_length, &[]));
            let g = vec![0.0; n];
            let (mut w, mut m, mut v) = (g.clone(), g.clone(), g.clone());
            let tensor = Tensor::new(&mut w[..], &g[..], [&mut m[..], &mut v[..]]);
            let mut list = [table, tensor];
            let mut groups = [Group::new(&config, 1, &mut list)];
            let report = step(&mut groups, &Extras::default(), threads).unwrap();
            assert_eq!(report.tensors_updated, 2);
        }
    }
}

/// A step of a row that its configuration does not allow, whose number the group does not have.
#[test]
fn the_step_of_each_row_is_checked() {
    let config = Adam { lr: 3e38, ..Adam::default() };
    let rows = OwnedRows { row_t: Some(vec![0, 1 << 30]), ..OwnedRows::new(1, vec![0, 1]) };
    let mut table = Owned::table(&config, 2, rows, Types::F32, uniform_from(3));
    let mut list = [table.tensor(false)];
    let mut groups = [Group::new(&config, 1 << 30, &mut list)];
    let error = step(&mut groups, &Extras::default(), Threads::Caller).unwrap_err().to_string();
    assert!(error.contains("`lr` is 3e38"), "{error}");
}
