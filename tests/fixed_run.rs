//! One large fixed run of every rule with every option. The hash of its bits is kept here, so that all CPUs,
//! instruction sets, compilers and releases can be held against each other.

mod common;

use common::{Arrays, OFFSET_BASIS, every_option, fnv1a, mixed_from, uniform_from};
use downhill::{Extras, Isa, Optimizer, Pool, Threads};

const N: usize = 10_007;
const STEPS: u64 = 10;

/// Tensors of the whole steps.
const LENGTHS: [usize; 5] = [2 * 4096 + 5, 1, 0, 17, N - 2 * 4096 - 23];

/// Of the bits of all weights, gradients and states, of all options of a rule together.
const HASHES: [(&str, u64); 12] = [
    ("sgd", 0xc91a_2b33_51da_5384),
    ("momentum", 0xffbc_44db_be55_e869),
    ("nesterov", 0x5a57_9e9e_6295_56a0),
    ("adagrad", 0x3eb7_6623_1dac_54bc),
    ("adadelta", 0xe5e5_6126_22dc_4510),
    ("rmsprop", 0x69f6_b81c_6056_c504),
    ("adam", 0xcf3c_029b_cdea_cad0),
    ("adamw", 0xcf3c_029b_cdea_cad0),
    ("amsgrad", 0xc9e4_b56c_5f8e_70f2),
    ("adamax", 0x6632_57ab_1895_e9c4),
    ("nadam", 0xa39e_f672_e0d0_ecc6),
    ("lion", 0xbf58_b4f2_182b_f664),
];

#[test]
fn every_instruction_set_has_these_bits() {
    for isa in Isa::available() {
        check(Some(isa), isa.name());
    }
}

#[test]
fn the_reference_has_these_bits() {
    check(None, "reference");
}

fn check(isa: Option<Isa>, name: &str) {
    let hashes = hashes(isa);
    let text: Vec<_> = hashes.iter().map(|(rule, hash)| format!("{rule} {hash:#018x}")).collect();
    assert!(hashes == HASHES, "{name} has other bits:\n{}", text.join("\n"));
    println!("{name}: the bits of the fixed run");
}

/// By the kernels of an instruction set, or by the reference.
fn hashes(isa: Option<Isa>) -> Vec<(&'static str, u64)> {
    let pool = Pool::new(2);
    let mut hashes: Vec<(&str, u64)> = HASHES.iter().map(|&(name, _)| (name, OFFSET_BASIS)).collect();
    let mut before = "";
    for rule in every_option() {
        // AdamW follows Adam, and is Adam where its decay would not be decoupled.
        let name = if before == "adam" { "adamw" } else { rule.name() };
        before = name;
        let (_, hash) = hashes.iter_mut().find(|(found, _)| *found == name).expect("every rule");
        for arrays in [steps(&*rule, isa), whole_steps(&*rule, isa, &pool)] {
            for x in [&arrays.w, &arrays.g].into_iter().chain(&arrays.state).flatten() {
                // A NaN's payload is not promised.
                let bits = if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() };
                *hash = fnv1a(*hash, &bits.to_le_bytes());
            }
        }
    }
    hashes
}

/// Weights from a fixed sequence, and states of zeros.
fn start(rule: &dyn Optimizer, seed: u64) -> Arrays {
    let mut arrays = Arrays::new(rule, N, uniform_from(seed));
    arrays.state.iter_mut().for_each(|state| state.fill(0.0));
    arrays
}

/// Ordinary gradients for one half of the elements, any for the other.
fn steps(rule: &dyn Optimizer, isa: Option<Isa>) -> Arrays {
    let mut arrays = start(rule, 1);
    for t in 1..=STEPS {
        let (mut ordinary, mut any) = (uniform_from(t), mixed_from(t));
        for (i, g) in arrays.g.iter_mut().enumerate() {
            *g = if i < N / 2 { ordinary() } else { any() };
        }
        arrays.try_step(rule, isa, t, 0, N).unwrap();
    }
    arrays
}

/// Whole steps that scale, clip and zero.
fn whole_steps(rule: &dyn Optimizer, isa: Option<Isa>, pool: &Pool) -> Arrays {
    let extras = Extras { grad_scale: 0.5, max_norm: 3.0, zero_grad: true, ..Extras::default() };
    let mut arrays = start(rule, 2);
    for t in 1..=STEPS {
        arrays.g.fill_with(uniform_from(STEPS + t));
        if t == STEPS {
            arrays.g[N - 1] = 1e30;
        }
        match isa {
            Some(isa) => {
                arrays.step_many(rule, isa, &LENGTHS, t, &extras, Threads::Pool(pool)).unwrap();
            }
            None => {
                arrays.reference_step_many(rule, &LENGTHS, t, &extras);
            }
        }
    }
    arrays
}
