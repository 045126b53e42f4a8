//! The C programs in `c/`: as C99 on every instruction set of this CPU, and in other ways.

use std::path::PathBuf;

use downhill::Isa;
use ffi_tests::{
    Linking::{self, *},
    Standard::{self, *},
    command, compile, compile_with, has_flag, is_brief, library, root, run, skip, skipped_in_emulator,
    start, text, try_all,
};

const EVERY_WAY: [(Standard, Linking); 4] =
    [(C99, Static), (C99, Shared), (Cxx11, Static), (Cxx17, Static)];

/// All in the first way, and in the others the widest: kernels do not depend on how a program is compiled.
fn isas((standard, linking): (Standard, Linking)) -> impl Iterator<Item = Isa> {
    let all = Isa::available();
    let skipped = if let (C99, Static) = (standard, linking) { 0 } else { all.len() - 1 };
    all.into_iter().skip(skipped)
}

fn source(name: &str) -> PathBuf {
    root().join("ffi-tests/c").join(name)
}

/// Compiles the program in every way and runs it.
fn run_everywhere(name: &str) {
    let ways = if is_brief() { &EVERY_WAY[..1] } else { &EVERY_WAY[..] };
    try_all(ways, |(standard, linking)| {
        let program = compile(&source(name), standard, linking);
        for isa in isas((standard, linking)) {
            let printed = run(&program, &[("DOWNHILL_ISA", isa.name())]);
            println!("{name} {standard:?} {linking:?} {isa}: {}", printed.trim());
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
fn nothing_is_touched_beyond_an_arrays_memory() {
    if !cfg!(unix) {
        return skip("exact.c closes pages with mprotect");
    }
    run_everywhere("exact.c");
}

#[test]
fn the_callers_floating_point_environment_changes_nothing() {
    run_everywhere("environment.c");
}

#[test]
fn whole_steps_are_the_plain_step_on_each_tensor_bit_by_bit() {
    run_everywhere("step.c");
}

#[test]
fn whole_steps_of_any_types_are_widen_plain_step_round() {
    run_everywhere("types.c");
}

#[test]
fn rows_of_a_table_are_the_plain_step_on_each_row_bit_by_bit() {
    run_everywhere("rows.c");
}

#[test]
fn random_rounding_is_right_on_average_and_depends_on_the_element_alone() {
    run_everywhere("random.c");
}

#[test]
fn errors_of_whole_steps_name_group_tensor_and_argument_and_write_nothing() {
    run_everywhere("step_errors.c");
}

#[test]
fn what_is_written_overlaps_nothing() {
    run_everywhere("overlap.c");
}

#[test]
fn errors_of_conversions_name_the_argument_and_write_nothing() {
    run_everywhere("conversion_errors.c");
}

#[test]
fn pools_are_good_guests() {
    run_everywhere("pool.c");
}

#[test]
fn page_faults_are_served_whoever_meets_them() {
    if !cfg!(unix) {
        return skip("page_faults.c closes pages with mprotect");
    }
    if skipped_in_emulator("page_faults.c waits for faults in threads") {
        return;
    }
    run_everywhere("page_faults.c");
}

#[test]
fn errors_have_their_text_until_the_program_ends() {
    run_everywhere("at_exit.c");
}

#[test]
fn cancellation_waits_for_the_end_of_a_call() {
    if !cfg!(target_os = "linux") {
        return skip("cancel.c is for Linux's pthread_cancel");
    }
    if skipped_in_emulator("cancel.c cancels threads, which takes signals of the C library's") {
        return;
    }
    for linking in [Static, Shared] {
        println!("{}", run(&compile(&source("cancel.c"), C99, linking), &[]).trim());
    }
}

#[test]
fn a_child_forked_during_the_first_pool_steps() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return skip("first_calls.c slows a function of glibc's");
    }
    if skipped_in_emulator("first_calls.c forks a process with threads") {
        return;
    }
    for linking in [Static, Shared] {
        println!("{}", run(&compile(&source("first_calls.c"), C99, linking), &[]).trim());
    }
}

#[test]
fn workers_run_where_they_are_told_to() {
    if !cfg!(target_os = "linux") {
        return skip("affinity.c looks at masks as Linux has them");
    }
    if skipped_in_emulator("affinity.c looks at the masks of threads") {
        return;
    }
    let program = compile(&source("affinity.c"), C99, Static);
    for migrate in ["", "0", "1"] {
        println!("{}", run(&program, &[("DOWNHILL_MIGRATE", migrate)]).trim());
    }
}

/// As a user would look for leaks and races in a program of theirs: with the library as it ships.
#[test]
fn a_users_program_is_clean_under_leak_and_race_checkers() {
    if is_brief() {
        return skip("this library is itself under a sanitizer, or in an emulator");
    }
    println!("{}", run(&compile(&source("leaks.c"), C99, Static), &[]).trim());
    for (sanitizer, wrong, said) in
        [("address", "leak", "detected memory leaks"), ("thread", "race", "data race")]
    {
        let flag = format!("-fsanitize={sanitizer}");
        if !has_flag(&flag) {
            skip(&format!("this compiler has no {flag}"));
            continue;
        }
        let program = compile_with(&["-g", &flag], &source("leaks.c"), C99, Shared);
        let checked = |arguments: &[&str]| {
            command(&program).args(arguments).output().expect("it was just compiled")
        };
        let clean = checked(&[]);
        let both = format!("{}{}", text(&clean.stdout), text(&clean.stderr));
        assert!(
            clean.status.success() && both == "nothing is left\n",
            "{sanitizer}: {}\n{both}",
            clean.status
        );
        let found = checked(&[wrong]);
        assert!(
            !found.status.success() && text(&found.stderr).contains(said),
            "{sanitizer} sees nothing"
        );
    }
}

#[test]
fn where_threads_or_memory_cannot_be_had_there_are_fewer_or_a_status() {
    if !cfg!(target_os = "linux") {
        return skip("limits.c limits the address space as Linux does");
    }
    if skipped_in_emulator("limits.c would limit its memory, too") {
        return;
    }
    for linking in [Static, Shared] {
        println!("{}", run(&compile(&source("limits.c"), C99, linking), &[]).trim());
    }
}

#[test]
fn the_library_can_be_opened_used_and_closed() {
    if !cfg!(unix) {
        return skip("dlopen.c needs dlopen");
    }
    let output = command(&compile(&source("dlopen.c"), C99, Opened))
        .arg(library("libdownhill.so"))
        .output()
        .expect("the program was just compiled");
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
    println!("{}", text(&output.stdout).trim());
}

#[test]
fn whole_steps_in_an_openmp_team_are_right() {
    if !has_flag("-fopenmp") {
        return skip("openmp.c needs a compiler that has -fopenmp");
    }
    for linking in [Static, Shared] {
        println!("{}", run(&compile_with(&["-fopenmp"], &source("openmp.c"), C99, linking), &[]).trim());
    }
}

#[test]
fn a_plain_step_allocates_nothing() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return skip("allocation.c counts through glibc's malloc");
    }
    for linking in [Static, Shared] {
        println!("{}", run(&compile(&source("allocation.c"), C99, linking), &[]).trim());
    }
}

#[test]
fn a_wrong_downhill_isa_is_a_status() {
    let program = compile(&source("isa.c"), C99, Static);
    for name in ["sse2", "AVX2", "avx512 ", "mmx"] {
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
    // `DOWNHILL_ISA= program` is how a shell unsets it for one command.
    let widest = Isa::available().last().expect("scalar is always there").name();
    assert_eq!(run(&program, &[("DOWNHILL_ISA", "")]), format!("{widest} 0 \n"));
}

fn all_isas() -> String {
    Isa::available().iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}
