//! The examples do what the README says of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Output,
};

use downhill::rules;

#[path = "common/runner.rs"]
mod runner;
use runner::command;

/// Runs an example, which cargo has built for this test, with a picture of its own.
fn run(name: &str, arguments: &[&str]) -> (Output, PathBuf) {
    run_with(name, arguments, &[])
}

/// The same with variables in its environment.
fn run_with(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Output, PathBuf) {
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let program = target.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{program:?} is missing: run plain `cargo test`, which builds it");
    let picture =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.svg", arguments.concat()));
    let mut command = command(&program);
    command.arg("--svg").arg(&picture).args(arguments).envs(variables.iter().copied());
    (command.output().unwrap(), picture)
}

/// Of all rules.
fn names() -> Vec<&'static str> {
    rules().iter().map(|rule| rule.name()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Of a row of a table.
fn cells(line: &str) -> Vec<&str> {
    line.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn train_reaches_90_percent_with_every_rule_and_the_same_bits() {
    let (output, picture) = run("train", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let rows: Vec<Vec<&str>> = printed.lines().filter(|line| line.contains('%')).map(cells).collect();
    let trained: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert!(trained.starts_with(&names()) && trained.len() > names().len(), "{printed}");
    for row in &rows {
        let accuracy = row.iter().find_map(|cell| cell.strip_suffix(" %")).unwrap();
        assert!(accuracy.parse::<f64>().unwrap() >= 90.0, "{row:?}");
        assert_eq!(*row.last().unwrap(), "yes", "{row:?}");
    }
    let svg = fs::read_to_string(picture).unwrap();
    assert!(trained.iter().all(|rule| svg.contains(&format!("\n{rule}\n"))));
}

#[test]
fn valley_draws_every_rule() {
    let (output, picture) = run("valley", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let svg = fs::read_to_string(picture).unwrap();
    for rule in names() {
        assert!(svg.contains(&format!("\n{rule}\n")), "{rule}");
    }
}

#[test]
fn packed_draws_every_kind_of_run() {
    let (output, picture) = run("packed", &["--seeds", "2", "--epochs", "2"]);
    // So little training is no measure of quality, which `packed_quality.rs` tests.
    let is_drawn = output.status.success() || text(&output.stderr).contains("trained worse");
    assert!(is_drawn, "{}{}", text(&output.stdout), text(&output.stderr));
    let svg = fs::read_to_string(picture).unwrap();
    let kinds = [
        "bf16 states",
        "bf16 states, nearest",
        "8-bit states",
        "8-bit states, nearest",
        "split weights",
        "bf16 weights",
        "bf16 weights, nearest",
        "bf16 weights, 8-bit states",
    ];
    for kind in kinds {
        assert!(svg.contains(&format!("\n{kind}\n")), "{kind}");
    }
}

#[test]
fn offload_ends_with_the_same_bits_in_one_call_and_in_passes() {
    let (output, picture) = run("offload", &["--layers", "1", "--width", "16", "--rounds", "2"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    assert!(printed.contains("16 tensors, 823808 parameters"), "{printed}");
    assert!(printed.contains("of weights, states and copy: yes"), "{printed}");
    let svg = fs::read_to_string(picture).unwrap();
    for bar in ["1 thread, passes", "1 thread, one call"] {
        assert!(svg.contains(&format!("\n{bar}\n")), "{bar}");
    }
}

/// A pair of words costs 6·ln 2 = 4.16 before the first step.
#[test]
fn embeddings_learn_numbers_and_the_same_bits_with_all_threads_and_instruction_sets() {
    let short = ["--epochs", "2", "--dimension", "24", "--threads"];
    let (output, picture) = run("embeddings", &[&short[..], &["2"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let after = |start: &str| {
        let rest = printed.lines().find_map(|line| line.strip_prefix(start));
        rest.unwrap_or_else(|| panic!("{start}: {printed}")).split([' ', ',']).collect::<Vec<_>>()
    };
    let held_out = |epoch: &str| after(epoch).last().unwrap().parse::<f64>().unwrap();
    let (first, second) = (held_out("Epoch 1"), held_out("Epoch 2"));
    assert!(second < first && first < 2.8, "{printed}");
    let nearest = after("Near five: ");
    let numbers = ["two", "three", "four", "six", "seven", "eight", "nine", "ten", "twenty", "thirty"];
    assert!(numbers.iter().filter(|word| nearest.contains(word)).count() >= 4, "{nearest:?}");
    assert!(printed.contains("The same bits: yes"), "{printed}");
    let svg = fs::read_to_string(picture).unwrap();
    assert!(["elizabeth", "fortnight", "Pride and Prejudice"].iter().all(|name| svg.contains(name)));

    let scalar = [("DOWNHILL_ISA", "scalar")];
    let (other, _) = run_with("embeddings", &[&short[..], &["1"]].concat(), &scalar);
    let other = text(&other.stdout);
    assert!(other.starts_with("scalar, threads: 1."), "{other}");
    let hash = |printed: &str| printed.lines().find(|line| line.starts_with("Hash")).map(str::to_owned);
    assert!(hash(&printed).is_some() && hash(&printed) == hash(&other), "{printed}{other}");
}

#[test]
fn a_wrong_value_gets_a_clear_error() {
    let wrong = [
        ("train", ["--rule", "adma"], "adma"),
        ("train", ["--epochs", "0"], "--epochs"),
        ("train", ["--batch-size", "1438"], "--batch-size"),
        ("train", ["--lr", "-1"], "--lr"),
        ("train", ["--lr", "nan"], "--lr"),
        ("train", ["--seed", "-1"], "--seed"),
        ("train", ["--mode", "sometimes"], "--mode"),
        ("train", ["--order", "backwards"], "--order"),
        ("valley", ["--steps", "0"], "--steps"),
        ("packed", ["--seeds", "1"], "--seeds"),
        ("packed", ["--epochs", "0"], "--epochs"),
        ("embeddings", ["--dimension", "0"], "--dimension"),
        ("embeddings", ["--epochs", "0"], "--epochs"),
        ("embeddings", ["--threads", "1025"], "--threads"),
        ("offload", ["--layers", "49"], "--layers"),
        ("offload", ["--width", "0"], "--width"),
        ("offload", ["--rounds", "0"], "--rounds"),
    ];
    for (example, arguments, text_of) in wrong {
        let (output, _) = run(example, &arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(text_of) && error.contains(arguments[1]), "{arguments:?}: {error}");
    }
}
