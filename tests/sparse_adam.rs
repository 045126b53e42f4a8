//! PyTorch's SparseAdam, whose answers `golden/make_sparse_adam.py` wrote: rows of a table, merged where
//! they are listed twice, with ε beside the root of `v` before its bias is corrected.

use std::fs;

use downhill::{Adam, Extras, Group, Rows, Tensor, Threads, step};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}

/// The largest difference from numbers in `f64`.
fn distance(of: &[f64], truth: &[f64]) -> f64 {
    assert_eq!(of.len(), truth.len());
    of.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn rows_with_adam_are_sparse_adam() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/sparse_adam.json");
    let answer: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let number = |name: &str| answer[name].as_f64().unwrap();
    let row_length = number("row_length") as usize;
    let mut w = floats(&answer["w0"]);
    let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    for (t, listed) in (1..).zip(answer["steps"].as_array().unwrap()) {
        let rows: Vec<i64> = numbers(&listed["rows"]).into_iter().map(|row| row as i64).collect();
        let g = floats(&listed["g"]);
        let config = Adam {
            lr: number("lr"),
            beta1: number("beta1"),
            beta2: number("beta2"),
            eps: number("eps") / (1.0 - number("beta2").powi(t as i32)).sqrt(),
            ..Adam::default()
        };
        let mut tensor = Tensor::new(&mut w, &g, [&mut m, &mut v]);
        let mut rows = Rows::new(row_length, &rows);
        rows.merge = true;
        tensor.rows = Some(rows);
        step(&mut [Group::new(&config, t, &mut [tensor])], &Extras::default(), Threads::Caller).unwrap();
    }
    for (name, ours) in [("w", w), ("m", m), ("v", v)] {
        let ours: Vec<f64> = ours.into_iter().map(f64::from).collect();
        let truth = numbers(&answer["truth"][name]);
        let theirs = distance(&numbers(&answer["torch"][name]), &truth);
        let distance = distance(&ours, &truth);
        assert!(distance <= 2.0 * theirs + 2e-7, "{name}: {distance:e}, PyTorch's {theirs:e}");
    }
}
