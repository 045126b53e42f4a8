//! Every plain step of the C interface: any length, placement, overlap, configuration and bits. What it does is what the
//! reference does, or nothing at all and a status that is true.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use downhill_fuzz::{
    abi::{DOWNHILL_STATUS_INVALID_CONFIG, DOWNHILL_STATUS_INVALID_STEP, DOWNHILL_STATUS_OK},
    check::{self, Errors},
    input::{Fields, Length, Place, Step, Values, rarely},
    memory::{Array, Element, Memory},
    rules::{Configured, SLOTS},
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Call {
    rule: u8,
    n: Length,
    t: Step,
    config: Fields,
    w: Place,
    g: Place,
    states: [State; SLOTS],
}

#[derive(Debug)]
struct State {
    place: Place,
    /// Is it passed where there is no such state?
    always: bool,
}

impl<'a> Arbitrary<'a> for State {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self { place: u.arbitrary()?, always: rarely(u)? })
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    if let Ok(call) = Call::arbitrary(&mut input) {
        run(&call, &mut Values::new(input));
    }
});

fn run(call: &Call, values: &mut Values) {
    let Call { rule, n: Length(n), t: Step(t), ref config, w, g, ref states } = *call;
    let configured = Configured::new(rule, config);
    let mut memory = Memory::new(values);
    let mut errors = Errors::new();
    let (_block, pointer) = check::configuration(&configured, config, t, &mut errors);
    if configured.rule.counts_steps && t == 0 {
        errors.insert(DOWNHILL_STATUS_INVALID_STEP);
    }
    let mut place = |at| memory.place(at, Element::F32, n, values);
    let mut used = vec![place(w), place(g)];
    let mut state = [std::ptr::null_mut(); SLOTS];
    for (k, is_there) in configured.slots().into_iter().enumerate() {
        if is_there {
            used.push(place(states[k].place));
            state[k] = used[used.len() - 1].pointer.cast();
        } else if states[k].always && k < configured.rule.states.len() {
            let extra = place(states[k].place);
            state[k] = extra.pointer.cast();
            if n > 0 && !extra.pointer.is_null() {
                errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
            }
        }
    }
    check::length(n, &mut errors);
    used.iter().for_each(|array| check::array(array, &mut errors));
    // Two arrays that are only read there are not.
    check::overlaps(&used.iter().map(|&array| (array, true)).collect::<Vec<_>>(), &mut errors);
    if errors.is_empty() && !used.iter().all(Array::is_backed) {
        return; // The caller promises memory.
    }

    let mut expected = memory.contents();
    // SAFETY: all arrays are there, or the call is to fail before it looks at any; the structure is as long as it says; nobody
    // else is here.
    let status = unsafe {
        (configured.rule.step)(
            n,
            used[0].pointer.cast(),
            used[1].pointer.cast(),
            state,
            t,
            pointer.cast(),
        )
    };
    check::status(status, &errors);
    let mut written = Vec::new();
    if status == DOWNHILL_STATUS_OK && n > 0 {
        let mut elements: Vec<Vec<f32>> = used.iter().map(|array| expected.floats(array)).collect();
        let [w, g, states @ ..] = &mut elements[..] else { unreachable!("two at least") };
        let mut states: Vec<&mut [f32]> = states.iter_mut().map(|array| &mut array[..]).collect();
        let optimizer = configured.optimizer.expect("accepted");
        optimizer.reference_step(w, g, &mut states, t).expect("a configuration that was accepted");
        for (array, elements) in used.iter().zip(&elements) {
            expected.write(array, elements.iter().flat_map(|x| x.to_ne_bytes()));
        }
        written.push(used[0]);
        written.extend(&used[2..]);
    }
    memory.check(&expected, &written);
}
