//! Every whole step of the C interface, and the norm: any list of tensors, however it is cut and placed, any
//! extras, any number of threads. What it does is what the reference does, or nothing at all and a status that
//! is true.
#![no_main]

use std::{ptr, sync::OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use downhill::reference;
use downhill_fuzz::{
    abi::*,
    check::{self, Errors},
    input::{Fields, Length, Magnitude, Place, Pointer, Size, Step, Values},
    memory::{self, Array, Block, Contents, Memory},
    rules::{Besides, List, Rule, structure},
};
use libfuzzer_sys::fuzz_target;

/// More elements than this take too long.
const MOST: usize = 600_000;

#[derive(Arbitrary, Debug)]
struct Call {
    rule: Rule,
    t: Step,
    config: Fields,
    extras: Option<Extras>,
    /// Nobody but the caller, or a pool of 1 to 4.
    threads: u8,
    report: Option<Pointer>,
    norm: Pointer,
    list: Pointer,
    count: Count,
    tensors: Vec<Tensor>,
}

#[derive(Arbitrary, Debug)]
struct Extras {
    size: Size,
    pointer: Pointer,
    flags: Flags,
    scale: Magnitude,
    is_negative: bool,
    max_norm: Magnitude,
}

#[derive(Debug)]
struct Flags(u32);

impl<'a> Arbitrary<'a> for Flags {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            flags @ 0..=247 => (flags % 4).into(),
            248.. => u32::arbitrary(u)?,
        }))
    }
}

/// How many tensors there are said to be: as many as there are, or more than memory has room for.
#[derive(Debug)]
struct Count(Option<usize>);

impl<'a> Arbitrary<'a> for Count {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let most = isize::MAX as usize / size_of::<downhill_tensor>();
        Ok(Self(match u8::arbitrary(u)? {
            0..=251 => None,
            252.. => Some(usize::arbitrary(u)?.max(most + 1)),
        }))
    }
}

#[derive(Arbitrary, Debug)]
struct Tensor {
    n: Elements,
    /// Of w, g and the states.
    places: [Place; 5],
}

/// Now and then so many that threads share them.
#[derive(Debug)]
struct Elements(usize);

impl<'a> Arbitrary<'a> for Elements {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            0..=253 => Length::arbitrary(u)?.0,
            254.. => 60_000 + 8 * usize::from(u16::arbitrary(u)?),
        }))
    }
}

impl Call {
    /// What is to be done besides. Nothing for a NULL.
    fn extras(&self) -> Option<&Extras> {
        self.extras.as_ref().filter(|extras| !matches!(extras.pointer, Pointer::Null))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    if let Ok(call) = Call::arbitrary(&mut input) {
        run(&call, &mut Values::new(input));
    }
});

/// A tensor whose arrays have their places.
struct Placed {
    n: usize,
    arrays: [Array; 5],
}

impl Placed {
    fn g(&self) -> (Array, usize) {
        (self.arrays[1], self.n)
    }

    /// Its weights, gradient, and the states of these slots.
    fn used(&self, slots: &[usize]) -> Vec<Array> {
        let states = slots.iter().map(|&slot| self.arrays[2 + slot]);
        self.arrays[..2].iter().copied().chain(states).collect()
    }
}

fn run(call: &Call, values: &mut Values) {
    let elements = call.tensors.iter().map(|tensor| tensor.n.0).filter(|&n| n <= MOST).sum::<usize>();
    if elements > MOST {
        return;
    }
    let mut memory = Memory::new(values);
    let tensors: Vec<Placed> = call
        .tensors
        .iter()
        .map(|&Tensor { n: Elements(n), places }| Placed {
            n,
            arrays: places.map(|place| memory.place(place, n, values)),
        })
        .collect();

    let mut errors = Errors::new();
    let (_list, list) = list(&tensors, call, &mut errors);
    let case = Case { call, tensors: &tensors, list, errors, pool: pool(call.threads), memory: &memory };
    case.norm();
    case.step();
}

/// Everything in its place for a call.
struct Case<'a> {
    call: &'a Call,
    tensors: &'a [Placed],
    list: List,
    /// What is wrong with the list itself.
    errors: Errors,
    pool: *mut downhill_pool,
    memory: &'a Memory,
}

/// The list as C passes it.
fn list(tensors: &[Placed], call: &Call, errors: &mut Errors) -> (Block, List) {
    let words = |placed: &Placed| {
        let pointers = placed.arrays.map(|array| array.pointer.expose_provenance());
        [placed.n].into_iter().chain(pointers).flat_map(usize::to_ne_bytes).collect::<Vec<u8>>()
    };
    let bytes: Vec<u8> = tensors.iter().flat_map(words).collect();
    assert_eq!(bytes.len(), size_of::<downhill_tensor>() * tensors.len());
    let count = call.count.0.unwrap_or(tensors.len());
    if call.count.0.is_some() {
        errors.insert(DOWNHILL_STATUS_INVALID_LENGTH);
    }
    let mut wrong = Errors::new();
    let (block, tensors) = check::pointer(&bytes, call.list, &mut wrong);
    if count > 0 {
        errors.append(&mut wrong);
    }
    (block, List { count, tensors: tensors.cast() })
}

/// Nobody but the caller, or a pool that stays.
fn pool(threads: u8) -> *mut downhill_pool {
    static POOLS: OnceLock<[usize; 4]> = OnceLock::new();
    let pools = POOLS.get_or_init(|| {
        // SAFETY: it takes any number.
        [1, 2, 3, 4].map(|threads| unsafe { downhill_pool_new(threads) }.expose_provenance())
    });
    match threads % 8 {
        0..4 => ptr::null_mut(),
        choice => ptr::with_exposed_provenance_mut(pools[usize::from(choice) - 4]),
    }
}

impl Case<'_> {
    fn norm(&self) {
        const BEFORE: [u8; 8] = [1; 8];
        let Self { call, tensors, list, pool, memory, .. } = *self;
        let mut errors = self.errors.clone();
        let (block, norm) = check::pointer(&BEFORE, call.norm, &mut errors);
        tensors.iter().for_each(|placed| check::arrays(placed.n, &[placed.g().0], &mut errors));
        if errors.is_empty() && !tensors.iter().all(|placed| placed.n == 0 || placed.g().0.is_backed()) {
            return; // The caller promises memory.
        }
        let start = memory.contents();
        // SAFETY: all gradients are there, or the call is to fail; the list and the number have their pointers.
        let status = unsafe { downhill_grad_norm(list.count, list.tensors, pool, norm.cast()) };
        check::status(status, &errors);
        if errors.is_empty() {
            let expected = reference_norm(&start, tensors);
            let got = f64::from_ne_bytes(block.bytes().try_into().expect("eight bytes"));
            assert!(same(got, expected), "norm {got:e}, not {expected:e}");
        } else {
            assert!(block.bytes().ends_with(&BEFORE) || norm.is_null());
        }
        memory.check(&start, &[]);
    }

    fn step(&self) {
        const BEFORE: [u8; size_of::<downhill_report>()] = [1; size_of::<downhill_report>()];
        let Self { call, tensors, list, pool, memory, .. } = *self;
        let Call { rule, t: Step(t), ref config, .. } = *call;
        let mut errors = self.errors.clone();
        let slots = slots(rule, tensors, &mut errors);
        let used: Vec<(usize, Vec<Array>)> =
            tensors.iter().map(|placed| (placed.n, placed.used(&slots))).collect();
        let all = || used.iter().flat_map(|(n, arrays)| arrays.iter().map(|array| (*n, array)));
        used.iter().for_each(|(n, arrays)| check::arrays(*n, arrays, &mut errors));
        check::overlaps(all(), &mut errors);
        let (_config, pointer) =
            check::structure(&rule.config(config), config.size, config.pointer, &mut errors);
        let optimizer = check::configuration(rule, config, t, &slots, &mut errors);
        let (_extras, extras) = extras(call, &mut errors);
        let (report, report_pointer) = match call.report {
            Some(pointer @ (Pointer::Good | Pointer::Misaligned(_))) => {
                check::pointer(&BEFORE, pointer, &mut errors)
            }
            Some(Pointer::Null) | None => (Block::new(&BEFORE), ptr::null_mut()),
        };
        if errors.is_empty() && !all().all(|(n, array)| n == 0 || array.is_backed()) {
            return; // The caller promises memory.
        }

        let mut expected = memory.contents();
        let mut written = Vec::new();
        let outcome = errors.is_empty().then(|| {
            let optimizer = optimizer.expect("accepted");
            reference_step(call, &*optimizer, tensors, &slots, &mut expected)
        });
        match &outcome {
            Some(outcome) if outcome.is_skipped => {
                errors.insert(DOWNHILL_STATUS_SKIPPED);
            }
            Some(_) => {
                let with_elements = used.iter().filter(|(n, _)| *n > 0);
                written.extend(with_elements.flat_map(|(n, arrays)| memory::written(arrays, *n)));
            }
            None => {}
        }
        let besides = Besides { extras: extras.cast(), pool, report: report_pointer.cast() };
        // SAFETY: all arrays are there, or the call is to fail before it looks at any; every structure is as
        // long as it says; nobody else is here.
        let status = unsafe { rule.step_many(&list, t, pointer.cast(), &besides) };
        check::status(status, &errors);
        memory.check(&expected, &written);
        match outcome {
            Some(outcome) if !report_pointer.is_null() => outcome.check(report.bytes()),
            _ => assert!(report.bytes().ends_with(&BEFORE), "a report that was not to be written"),
        }
    }
}

/// Which states the rule has: RMSprop's optional ones, if they are passed for all tensors that have elements.
fn slots(rule: Rule, tensors: &[Placed], errors: &mut Errors) -> Vec<usize> {
    let mut missing = [false; 3];
    for slot in [1, 2] {
        let with_elements = || tensors.iter().filter(|placed| placed.n > 0);
        let nulls = with_elements().filter(|placed| placed.arrays[2 + slot].pointer.is_null()).count();
        missing[slot] = nulls > 0;
        if rule == Rule::Rmsprop && nulls > 0 && nulls < with_elements().count() {
            errors.insert(DOWNHILL_STATUS_NULL_POINTER);
        }
    }
    rule.used(missing)
}

fn extras(call: &Call, errors: &mut Errors) -> (Block, *mut u8) {
    let Some(extras) = call.extras() else { return (Block::new(&[]), ptr::null_mut()) };
    let (scale, max_norm) = (extras.grad_scale(), extras.max_norm.0);
    if extras.flags.0 > 3
        || !(scale as f32).is_finite()
        || !(max_norm >= 0.0 && (max_norm as f32).is_finite())
    {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    let bytes = structure::<downhill_extras>(&[extras.flags.0], &[scale, max_norm]);
    check::structure(&bytes, extras.size, extras.pointer, errors)
}

impl Extras {
    fn grad_scale(&self) -> f64 {
        if self.is_negative { -self.scale.0 } else { self.scale.0 }
    }
}

/// What a whole step is to report.
struct Outcome {
    grad_norm: f64,
    applied_scale: f64,
    is_skipped: bool,
}

impl Outcome {
    fn check(&self, report: &[u8]) {
        let number = |at: usize| f64::from_ne_bytes(report[at..at + 8].try_into().expect("eight bytes"));
        assert!(same(number(0), self.grad_norm), "norm {:e}, not {:e}", number(0), self.grad_norm);
        assert!(
            same(number(8), self.applied_scale),
            "scale {:e}, not {:e}",
            number(8),
            self.applied_scale
        );
        assert_eq!(report[16..20], u32::from(self.is_skipped).to_ne_bytes());
    }
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn gradients(contents: &Contents, tensors: &[Placed]) -> Vec<Vec<f32>> {
    let with_elements = tensors.iter().filter(|placed| placed.n > 0);
    with_elements.map(|placed| contents.read(placed.g().0, placed.n)).collect()
}

fn reference_norm(contents: &Contents, tensors: &[Placed]) -> f64 {
    let gradients = gradients(contents, tensors);
    reference::grad_norm(&gradients.iter().map(|g| &g[..]).collect::<Vec<_>>())
}

/// One tensor after another.
fn reference_step(
    call: &Call,
    rule: &dyn downhill::Optimizer,
    tensors: &[Placed],
    slots: &[usize],
    contents: &mut Contents,
) -> Outcome {
    let (scale, max_norm, flags) = call
        .extras()
        .map_or((1.0, 0.0, 0), |extras| (extras.grad_scale(), extras.max_norm.0, extras.flags.0));
    let grad_norm = reference_norm(contents, tensors) * scale.abs();
    let gradients = gradients(contents, tensors);
    let slices: Vec<&[f32]> = gradients.iter().map(|g| &g[..]).collect();
    let scale = reference::applied_scale(&slices, scale, max_norm);
    let all_finite = gradients.iter().flatten().all(|g| g.is_finite());
    let may_overflow = reference::grad_norm(&slices) * f64::from(scale).abs() > f64::from(f32::MAX);
    if flags & DOWNHILL_SKIP_NONFINITE != 0 && (!all_finite || may_overflow) {
        return Outcome { grad_norm, applied_scale: 0.0, is_skipped: true };
    }
    for placed in tensors.iter().filter(|placed| placed.n > 0) {
        let (g, n) = placed.g();
        let before = contents.read(g, n);
        if scale != 1.0 {
            contents.write(g, &before.iter().map(|x| x * scale).collect::<Vec<_>>());
        }
        contents.step(rule, &placed.used(slots), n, call.t.0);
        let after = if flags & DOWNHILL_ZERO_GRAD != 0 { vec![0.0; n] } else { before };
        contents.write(g, &after);
    }
    Outcome { grad_norm, applied_scale: scale.into(), is_skipped: false }
}
