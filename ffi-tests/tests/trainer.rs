//! A trainer written in C and the one in Rust end with the same bits.

use downhill::{Isa, Optimizer, rules};
use ffi_tests::{Linking, Standard, command, compile, root, text};
use trainer::{Mode, Options, Order, Trainer, data::Data, models::SoftmaxRegression};

const SAMPLES: usize = 1437;
const EPOCHS: usize = 5;
const BATCH_SIZE: usize = 32;

/// What is not as by default, where a rule has it, in one language as in the other.
const FIELDS: [(&str, f64); 2] = [("centered", 1.0), ("momentum", 0.9)];

/// Learning rates, of which each rule learns with one.
const RATES: [f64; 4] = [0.003, 0.01, 0.05, 1.0];

/// What a run ends with: the bits, and the share of digits that are read.
type End = (Vec<u32>, f64);

/// The run with the first learning rate with which the rule learns, and the fields that it takes.
fn learned(mut rule: Box<dyn Optimizer>) -> (Vec<(&'static str, f64)>, End) {
    let fields = FIELDS.into_iter().filter(|(name, value)| rule.set(name, *value).is_ok());
    let mut fields: Vec<_> = fields.collect();
    for lr in RATES {
        rule.set("lr", lr).unwrap();
        let end = train(&*rule);
        if end.1 > 0.9 {
            fields.push(("lr", lr));
            return (fields, end);
        }
    }
    panic!("{rule:?} learns nothing");
}

#[test]
fn softmax_regression_in_c_and_in_rust() {
    let program = compile(&root().join("ffi-tests/c/trainer.c"), Standard::C99, Linking::Shared);
    let digits = root().join("data/digits.csv");
    for rule in rules() {
        let (fields, (expected, _)) = learned(rule.clone());
        let fields = fields.iter().flat_map(|(name, value)| [name.to_string(), value.to_string()]);
        for isa in Isa::available() {
            let output = command(&program)
                .env("DOWNHILL_ISA", isa.name())
                .arg(&digits)
                .args([&EPOCHS.to_string(), &BATCH_SIZE.to_string(), rule.name()])
                .args(fields.clone())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let printed = String::from_utf8(output.stdout).unwrap();
            let bits: Vec<_> =
                printed.lines().map(|line| u32::from_str_radix(line, 16).unwrap()).collect();
            assert!(bits == expected, "{} ends with other bits in C on {isa}", rule.name());
        }
    }
}

/// The bits of the weights and of three states (zeros where the rule has none), and the accuracy on the
/// training set.
fn train(rule: &dyn Optimizer) -> End {
    let file = std::fs::read_to_string(root().join("data/digits.csv")).unwrap();
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for line in file.lines().take(SAMPLES) {
        let (pixels, label) = line.rsplit_once(',').unwrap();
        inputs.extend(pixels.split(',').map(|pixel| pixel.parse::<f32>().unwrap() / 16.0));
        labels.push(label.parse::<usize>().unwrap());
    }
    let data = Data { inputs: &inputs, targets: &labels };
    let model = SoftmaxRegression::new(64, 10).unwrap();
    let options = Options {
        mode: Mode::MiniBatch { batch_size: BATCH_SIZE },
        order: Order::InOrder,
        ..Options::default()
    };
    let states = rule.states().len();
    let mut trainer = Trainer::new(model, data, vec![0.0; 650], states, options).unwrap();
    for _ in 0..EPOCHS {
        trainer.epoch(|w, g, state, t| rule.step_on(Isa::current()?, w, g, state, t)).unwrap();
    }
    let mut end = vec![trainer.weights().to_vec()];
    end.extend(trainer.states().iter().cloned());
    end.resize(4, vec![0.0; 650]);
    (end.concat().iter().map(|x| x.to_bits()).collect(), trainer.accuracy(data).unwrap())
}

#[test]
fn a_network_in_c_and_in_cpp_reads_digits() {
    let digits = root().join("data/digits.csv");
    let printed = [("mlp.c", Standard::C99), ("mlp.cpp", Standard::Cxx17), ("mlp.cpp", Standard::Cxx20)]
        .map(|(source, standard)| {
            let source = root().join("ffi-tests/consumers").join(source);
            let output =
                command(&compile(&source, standard, Linking::Static)).arg(&digits).output().unwrap();
            // Below 95 % of the digits that are held out it fails.
            assert!(
                output.status.success(),
                "{source:?}: {}{}",
                text(&output.stdout),
                text(&output.stderr)
            );
            text(&output.stdout)
        });
    assert!(printed[0].lines().count() == 21, "20 epochs and the end: {}", printed[0]);
    assert!(
        printed.iter().all(|other| *other == printed[0]),
        "not the same in C and in C++: {printed:?}"
    );
}
