//! The kernels are what they should be as machine code. A helper that is not inlined gives the same
//! bits, many times slower, and nothing else would tell.

use downhill::rules;
use ffi_tests::{library, skip, tool};

/// A function's name, and its instructions with their addresses.
type Function<'a> = (&'a str, Vec<(u64, &'a str)>);

#[test]
fn loops_of_kernels_use_whole_vectors_and_call_nothing() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return skip("it reads the machine code of x86-64");
    }
    let arguments = ["--disassemble", "--demangle", "--no-show-raw-insn"];
    let disassembly = tool("OBJDUMP", "objdump", &arguments, &library("libdownhill.so"));
    let functions = functions(&disassembly);
    for (isa, registers) in [("V3", "%ymm"), ("V4", "%zmm")] {
        let name = format!("::{isa}::vectorize::");
        let kernels: Vec<_> =
            functions.iter().filter(|(function, _)| function.contains(&name)).collect();
        // A formula for each rule, but that RMSprop has four and Adam two, and AdamW has Adam's.
        let formulas = rules().len() + 3 + 1 - 1;
        // Two of each formula; the norm of gradients of three types, and the squares of a row; what widens
        // blocks of other types, what narrows them, and what encodes them; four formulas fused with other
        // types; and what keeps weights within bounds. With more, something is compiled twice.
        assert_eq!(kernels.len(), 2 * formulas + 3 + 3 + 3 + 4 + 1, "kernels for {isa}");
        let mut counts = Vec::new();
        for (function, code) in &kernels {
            let mut loops = loops(code);
            loops.retain(|body| body.iter().any(|(_, text)| text.contains(registers)));
            counts.push(loops.len());
            if loops.is_empty() {
                // The compiler has written a short loop out, or closes it by an unconditional jump.
                // Panics come after the last return; a helper that is not inlined is called before it.
                let end = code.iter().rposition(|(_, text)| text.starts_with("ret"));
                loops.push(&code[..end.expect("a kernel returns")]);
            }
            let uses = loops.concat().iter().any(|(_, text)| text.contains(registers));
            assert!(uses, "{function} at {:x}: no loop uses {registers}", code[0].0);
            let call = loops.concat().into_iter().find(|(_, text)| text.starts_with("call"));
            assert!(call.is_none(), "{function}: {call:x?} in a loop");
        }
        // Each conversion is a loop of whole vectors. To f32: weights, gradients and states of bfloat16;
        // weights and gradients of half precision; split weights; codes with and without a sign. From
        // it: states of bfloat16 and weights of both, to nearest and at random, and the weights back;
        // copies of both where weights are f32 and where not; split weights; codes.
        counts.sort_unstable();
        let [.., others, widens, narrows] = counts[..] else { panic!("{counts:?}") };
        assert!(others < 8 && widens >= 8 && narrows >= 14, "{isa}: {counts:?}");
        println!("{isa}: {} kernels", kernels.len());
    }
}

/// What stands between `address <name>:` and the next empty line.
fn functions(disassembly: &str) -> Vec<Function<'_>> {
    let function = |block| -> Option<Function<'_>> {
        let (head, code) = str::split_once(block, ">:\n")?;
        let (_, name) = head.split_once(" <")?;
        Some((name, code.lines().filter_map(instruction).collect()))
    };
    disassembly.split("\n\n").filter_map(function).collect()
}

/// Its address, a colon and a tab come before an instruction.
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (address, text) = line.split_once(":\t")?;
    Some((u64::from_str_radix(address.trim(), 16).ok()?, text))
}

/// The innermost loops: what stands between the target of a conditional jump back and the jump. (Without
/// a condition the ends of panics jump, after the function's own.)
fn loops<'a>(code: &'a [(u64, &'a str)]) -> Vec<&'a [(u64, &'a str)]> {
    let start = |end: usize| -> Option<usize> {
        let condition = code[end].1.strip_prefix('j').filter(|rest| !rest.starts_with("mp"))?;
        let target = u64::from_str_radix(condition.split_whitespace().nth(1)?, 16).ok()?;
        code[..=end].iter().position(|&(address, _)| address == target)
    };
    let all: Vec<_> = (0..code.len()).filter_map(|end| Some((start(end)?, end))).collect();
    let is_innermost = |&&(from, to): &&(usize, usize)| {
        all.iter().all(|&(a, b)| (a, b) == (from, to) || a < from || to < b)
    };
    all.iter().filter(is_innermost).map(|&(from, to)| &code[from..=to]).collect()
}
