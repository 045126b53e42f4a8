//! The C programs in `c/`, as C99, C++11 and C++17, on every instruction set of this CPU.

use std::{fmt::Write, path::PathBuf, thread};

use downhill::{Adam, Isa, Momentum, Sgd};
use ffi_tests::{
    Linking::{self, *},
    Standard::{self, *},
    compile, root, run, start, text,
};

const EVERY_WAY: [(Standard, Linking); 4] =
    [(C99, Static), (C99, Shared), (Cxx11, Static), (Cxx17, Static)];

fn source(name: &str) -> PathBuf {
    root().join("ffi-tests/c").join(name)
}

/// Compiles the program in every way and runs it on every instruction set.
fn run_everywhere(name: &str) {
    let run_all = |(standard, linking)| {
        let program = compile(&source(name), standard, linking);
        for isa in Isa::available() {
            let printed = run(&program, &[("DOWNHILL_ISA", isa.name())]);
            println!("{name} {standard:?} {linking:?} {isa}: {}", printed.trim());
        }
    };
    thread::scope(|scope| {
        let runs = EVERY_WAY.map(|way| scope.spawn(move || run_all(way)));
        for run in runs {
            run.join().expect("the program failed; see above");
        }
    });
}

#[test]
fn steps_are_a_plain_c_loop_bit_by_bit() {
    run_everywhere("steps.c");
}

#[test]
fn errors_name_the_argument_and_write_nothing() {
    run_everywhere("errors.c");
}

#[test]
fn the_callers_floating_point_environment_changes_nothing() {
    run_everywhere("environment.c");
}

#[test]
fn a_step_allocates_nothing() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return eprintln!("SKIPPED: allocation.c counts through glibc's malloc");
    }
    for linking in [Static, Shared] {
        println!("{}", run(&compile(&source("allocation.c"), C99, linking), &[]).trim());
    }
}

#[test]
fn defaults_and_layout_are_as_documented() {
    let sgd = Sgd::default();
    let momentum = Momentum::default();
    let adam = Adam::default();
    let expected = [
        layout(
            "sgd",
            &[("decay", sgd.decay as u32)],
            &[("lr", sgd.lr), ("weight_decay", sgd.weight_decay)],
        ),
        layout(
            "momentum",
            &[("form", momentum.form as u32), ("decay", momentum.decay as u32)],
            &[
                ("lr", momentum.lr),
                ("momentum", momentum.momentum),
                ("dampening", momentum.dampening),
                ("weight_decay", momentum.weight_decay),
            ],
        ),
        layout(
            "adam",
            &[("bias_correction", adam.bias_correction as u32), ("decay", adam.decay as u32)],
            &[
                ("lr", adam.lr),
                ("beta1", adam.beta1),
                ("beta2", adam.beta2),
                ("eps", adam.eps),
                ("weight_decay", adam.weight_decay),
            ],
        ),
    ]
    .concat();
    for (standard, linking) in EVERY_WAY {
        assert_eq!(run(&compile(&source("defaults.c"), standard, linking), &[]), expected);
    }
}

/// `struct_size`, the enumerations, then the doubles, aligned to 8 bytes: what `defaults.c` prints.
fn layout(name: &str, enumerations: &[(&str, u32)], doubles: &[(&str, f64)]) -> String {
    let first_double = (4 * (1 + enumerations.len())).next_multiple_of(8);
    let size = first_double + 8 * doubles.len();
    let mut text = format!("{name}.sizeof {size}\n");
    let mut field = |field: &str, value: f64, offset: usize| {
        writeln!(text, "{name}.{field} {:016x} at {offset}", value.to_bits()).unwrap();
    };
    field("struct_size", size as f64, 0);
    for (&(name, value), offset) in enumerations.iter().zip((4..).step_by(4)) {
        field(name, value.into(), offset);
    }
    for (&(name, value), offset) in doubles.iter().zip((first_double..).step_by(8)) {
        field(name, value, offset);
    }
    text
}

#[test]
fn a_wrong_downhill_isa_is_a_status() {
    let program = compile(&source("isa.c"), C99, Static);
    for name in ["", "sse2", "AVX2", "avx512 ", "mmx"] {
        let output = start(&program, &[("DOWNHILL_ISA", name)]);
        assert_eq!(
            text(&output.stdout),
            format!(
                "invalid 6 `DOWNHILL_ISA` is \"{name}\"; on this CPU it must be one of {}\n",
                all_isas()
            )
        );
    }
    for isa in Isa::available() {
        assert_eq!(run(&program, &[("DOWNHILL_ISA", isa.name())]), format!("{isa} 0 \n"));
    }
}

fn all_isas() -> String {
    Isa::available().iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}
