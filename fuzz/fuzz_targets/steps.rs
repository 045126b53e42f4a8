//! Every step function of the C interface: any length, placement, overlap, configuration and bits. What
//! it does is what the reference does, or nothing at all and a status that is true.
#![no_main]

use std::array;

use arbitrary::{Arbitrary, Unstructured};
use downhill_fuzz::{
    abi::*,
    check::{self, Errors},
    input::{Length, Place, Step, Values},
    memory::{Array, Kind, Memory},
    rules::{Config, SLOTS, is_by_row},
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Call {
    config: Config,
    n: Length,
    t: Step,
    w: Place,
    g: Place,
    states: [Place; SLOTS],
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    if let Ok(call) = Call::arbitrary(&mut input) {
        run(&call, &mut Values::new(input));
    }
});

fn run(call: &Call, values: &mut Values) {
    let Call { ref config, n: Length(n), t: Step(t), .. } = *call;
    let mut errors = Errors::new();
    let optimizer = config.optimizer(&mut errors);
    let slots = config.slots(optimizer.as_deref());
    let mut memory = Memory::new(values);
    let mut place =
        |place, is_there: bool, n| memory.place(place, is_there.then_some(Kind::F32), n, values);
    let (w, g) = (place(call.w, true, n), place(call.g, true, n));
    let of_state = if optimizer.as_deref().is_some_and(is_by_row) { n.min(1) } else { n };
    let states: [Array; SLOTS] = array::from_fn(|k| place(call.states[k], slots[k], of_state));

    let used: Vec<Array> = [w, g].into_iter().chain(states).filter(|array| array.n > 0).collect();
    used.iter().for_each(|array| check::array(array, &mut errors));
    check::overlaps(&used, &[], &mut errors);
    let is_unexpected = |k: usize| !slots[k] && !states[k].pointer.is_null();
    let refused = optimizer.as_ref().is_some_and(|rule| check::refuses(&**rule, t.max(1)));
    if refused || (n > 0 && (0..config.rule.states.len()).any(is_unexpected)) {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    if config.rule.counts_steps && t == 0 {
        errors.insert(DOWNHILL_STATUS_INVALID_STEP);
    }
    let config = config.put(false, &mut memory, &mut errors).pointer;
    if errors.is_empty() && !used.iter().all(Array::is_there) {
        return; // The caller promises memory.
    }

    let expected = memory.clone();
    let pointers = states.map(|array| array.pointer.cast());
    // SAFETY: all arrays are there, or the call is to fail before it looks at any; the structure is as
    // long as it says; nobody else is here.
    let status = unsafe {
        (call.config.rule.step)(n, w.pointer.cast(), g.pointer.cast(), pointers, t, config.cast())
    };
    check::status(status, &errors);
    if status == DOWNHILL_STATUS_OK && n > 0 {
        let of_rule = states.iter().zip(slots).filter(|(_, is_there)| *is_there);
        // SAFETY: all arrays are there, aligned and apart.
        let (w, g, mut states) = unsafe {
            let state = |(&array, _): (&Array, bool)| &mut *expected.elements::<f32>(array);
            (&mut *expected.elements(w), &*expected.elements(g), of_rule.map(state).collect::<Vec<_>>())
        };
        let rule = optimizer.expect("accepted");
        rule.reference_step(w, g, &mut states, t).expect("accepted");
    }
    memory.check(&expected, &[&[w], &states[..]].concat());
}
