//! Every step function of the C interface: any length, placement, overlap, configuration and bits. What it does
//! is what the reference does, or nothing at all and a status that is true.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use downhill_fuzz::{
    abi::DOWNHILL_STATUS_OK,
    check::{self, Errors},
    input::{Fields, Length, Place, Step, Values},
    memory::{self, Array, Memory},
    rules::Rule,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Call {
    rule: Rule,
    n: Length,
    t: Step,
    config: Fields,
    /// Of w, g and the states.
    places: [Place; 5],
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    if let Ok(call) = Call::arbitrary(&mut input) {
        run(&call, &mut Values::new(input));
    }
});

fn run(call: &Call, values: &mut Values) {
    let Call { rule, n: Length(n), t: Step(t), ref config, places } = *call;
    let mut memory = Memory::new(values);
    let [w, g, a, b, c] = places.map(|place| memory.place(place, n, values));
    let state = [a, b, c];
    // Without elements no pointer says anything.
    let slots = rule.used(state.map(|array| n > 0 && array.pointer.is_null()));
    let used: Vec<Array> = [w, g].into_iter().chain(slots.iter().map(|&slot| state[slot])).collect();

    let mut errors = Errors::new();
    check::arrays(n, &used, &mut errors);
    check::overlaps(used.iter().map(|array| (n, array)), &mut errors);
    let (_block, pointer) =
        check::structure(&rule.config(config), config.size, config.pointer, &mut errors);
    let optimizer = check::configuration(rule, config, t, &slots, &mut errors);
    if errors.is_empty() && n > 0 && !used.iter().all(Array::is_backed) {
        return; // The caller promises memory.
    }

    let mut expected = memory.contents();
    // SAFETY: all arrays are there, or the call is to fail before it looks at any; the structure is as long as
    // it says; nobody else is here.
    let status = unsafe {
        rule.step(n, w.pointer, g.pointer, state.map(|array| array.pointer), t, pointer.cast())
    };
    check::status(status, &errors);
    let mut written = Vec::new();
    if status == DOWNHILL_STATUS_OK && n > 0 {
        expected.step(&*optimizer.expect("accepted"), &used, n, t);
        written.extend(memory::written(&used, n));
    }
    memory.check(&expected, &written);
}
