//! The loops of `loops.c`, built by the machine's own C compiler while the benchmark runs, because no
//! other flag than `-march=native` makes them the best loops of this machine.
#![allow(unsafe_code, reason = "C functions can only be loaded and called with it")]

use std::{env, fs, marker::PhantomData, path::PathBuf, process::Command};

use downhill::{Adamw, Isa, Optimizer};
use half::{bf16, f16};
use libloading::Library;

use crate::common::T;

/// `-fno-math-errno` lets `sqrtf` become a vector instruction. `-ffp-contract=off` gives the bits of the
/// reference. What contraction, GCC's default, would give (measured on an AVX-512 Xeon): SGD and
/// momentum 1.1 times as fast in L1, nothing for Adam, 0 to 2 % in L2, nothing beyond.
const FLAGS: [&str; 5] = ["-O3", "-fno-math-errno", "-ffp-contract=off", "-shared", "-fPIC"];

/// What is added to [`FLAGS`] for this machine: GCC prefers 256 bits for some CPUs with AVX-512, and
/// which is faster depends on the CPU and on the loop. So there are two builds, and the faster one
/// counts.
const NATIVE: &[&[&str]] = if cfg!(target_arch = "x86_64") {
    &[&["-march=native"], &["-march=native", "-mprefer-vector-width=512"]]
} else {
    &[&["-march=native"]]
};

/// And for a machine that has no more than AVX2.
const AVX2: &[&[&str]] = &[&["-mavx2", "-mfma", "-mf16c"]];

/// The type of every rule's function in `loops.c`.
type Loop = unsafe extern "C" fn(usize, *mut f32, *const f32, *mut f32, *mut f32, *mut f32, *const f32);

/// That of what computes a rule's constants.
type Constants = unsafe extern "C" fn(*const f64, f64, *mut f32);

/// The most constants that a loop has.
const MOST_CONSTANTS: usize = 8;

/// A function of `loops.c`.
struct Function<F> {
    function: F,
    /// Keeps it in memory.
    _library: Library,
}

/// A loop of `loops.c`, its constants with it.
pub struct CLoop {
    function: Function<Loop>,
    constants: Vec<f32>,
    states: usize,
}

impl CLoop {
    /// One step, or one pass over its bytes.
    pub fn call(&self, w: &mut [f32], g: &[f32], state: &mut [&mut [f32]]) {
        assert!(g.len() == w.len() && state.len() == self.states);
        assert!(state.iter().all(|array| array.len() == w.len()));
        let mut pointers = [std::ptr::null_mut(); 3];
        for (pointer, array) in pointers.iter_mut().zip(state) {
            *pointer = array.as_mut_ptr();
        }
        let [s0, s1, s2] = pointers;
        let constants = self.constants.as_ptr();
        // SAFETY: `w`, `g` and the states that this loop has are distinct and all have `w.len()`
        // elements; the loop touches no others, and reads no more constants than there are.
        unsafe { (self.function.function)(w.len(), w.as_mut_ptr(), g.as_ptr(), s0, s1, s2, constants) }
    }
}

/// `loops.c`, built once for each list of flags.
pub struct Loops {
    /// What the compiler calls itself.
    pub compiler: String,
    pub builds: Vec<Build>,
}

/// One of them.
pub struct Build(PathBuf);

impl Loops {
    /// Builds with `$CC`, or `cc`, for an instruction set that this machine has: for AVX2 as if it had no
    /// more, and else for all that it has.
    ///
    /// # Errors
    /// What the compiler, or the attempt to run it, said.
    pub fn build_for(isa: Isa) -> Result<Self, String> {
        Self::with(if isa.name() == "avx2" { AVX2 } else { NATIVE })
    }

    fn with(flags: &[&[&str]]) -> Result<Self, String> {
        let cc = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let version = run(Command::new(&cc).arg("--version"))?;
        let compiler = version.lines().next().unwrap_or(&cc).to_owned();
        let mut loops = Self { compiler, builds: Vec::new() };
        for flags in flags {
            let name =
                format!("loops-{}{}{}", std::process::id(), flags.concat(), env::consts::DLL_SUFFIX);
            let build = Build([env!("CARGO_TARGET_TMPDIR"), &name].iter().collect());
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/c/loops.c");
            run(Command::new(&cc)
                .args(FLAGS)
                .args(*flags)
                .arg(source)
                .arg("-o")
                .arg(&build.0)
                .arg("-lm"))?;
            loops.builds.push(build);
        }
        Ok(loops)
    }

    /// The plain C loop of a rule in every build. Empty if `loops.c` has none of this name.
    pub fn plain(&self, name: &str, rule: &dyn Optimizer) -> Vec<CLoop> {
        self.builds.iter().filter_map(|build| build.plain(name, rule)).collect()
    }

    /// The loop that only moves the bytes of a rule with this many states.
    pub fn stream(&self, states: usize) -> Vec<CLoop> {
        self.builds.iter().map(|build| build.step(&format!("stream_{states}"), &[0.0], states)).collect()
    }
}

impl Build {
    /// The plain C loop of a rule, if there is one of this name, for step [`T`].
    pub fn plain(&self, name: &str, rule: &dyn Optimizer) -> Option<CLoop> {
        // SAFETY: every function that `CONSTANTS` makes in `loops.c` has this type.
        let function = unsafe { self.find::<Constants>(&format!("constants_{name}")) }?;
        let values: Vec<f64> = rule.hyperparameters().iter().map(|one| one.value).collect();
        let mut constants = [0.0; MOST_CONSTANTS];
        // SAFETY: the function reads hyper-parameters that the rule has, and writes no more constants.
        unsafe { (function.get())(values.as_ptr(), T as f64, constants.as_mut_ptr()) };
        Some(self.step(&format!("plain_{name}"), &constants, rule.states().len()))
    }

    /// That of AdamW with this weight decay.
    pub fn adamw(&self, weight_decay: f64) -> CLoop {
        self.plain("adamw", &Adamw { weight_decay, ..Adamw::default() }).expect("in loops.c")
    }

    /// A pass over gradients alone.
    pub fn pass(&self, name: &str, constant: f32) -> CLoop {
        self.step(&format!("pass_{name}"), &[constant], 0)
    }

    fn step(&self, symbol: &str, constants: &[f32], states: usize) -> CLoop {
        // SAFETY: every function of a rule, and every `stream_` with a number, has this type, and so
        // have the passes over gradients.
        let function = unsafe { self.function(symbol) };
        CLoop { function, constants: constants.to_vec(), states }
    }

    /// The sum of squares of a gradient.
    pub fn sum_of_squares(&self) -> impl Fn(&[f32]) -> f64 + Sync + use<> {
        type Sum = unsafe extern "C" fn(usize, *const f32) -> f64;
        // SAFETY: the function in `loops.c` has this type.
        let sum = unsafe { self.function::<Sum>("sum_of_squares") };
        // SAFETY: the function reads as many elements as it is told.
        move |g| unsafe { (sum.get())(g.len(), g.as_ptr()) }
    }

    /// The same of one in bfloat16.
    pub fn sum_of_squares_bf16(&self) -> impl Fn(&[bf16]) -> f64 + Sync + use<> {
        type Sum = unsafe extern "C" fn(usize, *const bf16) -> f64;
        // SAFETY: the function in `loops.c` has this type.
        let sum = unsafe { self.function::<Sum>("sum_of_squares_bf16") };
        // SAFETY: the function reads as many elements as it is told.
        move |g| unsafe { (sum.get())(g.len(), g.as_ptr()) }
    }

    /// Widens a gradient and multiplies it.
    pub fn unscale(&self) -> impl Fn(&mut [f32], &[bf16], f32) + Sync + use<> {
        type Pass = unsafe extern "C" fn(usize, *mut f32, *const bf16, f32);
        // SAFETY: the function in `loops.c` has this type.
        let pass = unsafe { self.function::<Pass>("pass_unscale") };
        move |wide, g, scale| {
            assert_eq!(wide.len(), g.len());
            // SAFETY: both have as many elements as the function is told.
            unsafe { (pass.get())(g.len(), wide.as_mut_ptr(), g.as_ptr(), scale) }
        }
    }

    /// Rounds weights to bfloat16.
    pub fn cast(&self) -> impl Fn(&mut [bf16], &[f32]) + Sync + use<> {
        type Pass = unsafe extern "C" fn(usize, *mut bf16, *const f32);
        // SAFETY: the function in `loops.c` has this type.
        let pass = unsafe { self.function::<Pass>("pass_cast") };
        move |copy, w| {
            assert_eq!(copy.len(), w.len());
            // SAFETY: both have as many elements as the function is told.
            unsafe { (pass.get())(w.len(), copy.as_mut_ptr(), w.as_ptr()) }
        }
    }

    /// Moves the bytes of `w`, `g`, `m`, `v` and the copy.
    #[allow(clippy::type_complexity, reason = "the arguments of one function")]
    pub fn stream_offload(
        &self,
    ) -> impl Fn(&mut [f32], &[bf16], [&mut [f32]; 2], &mut [bf16]) + Sync + use<> {
        type Stream =
            unsafe extern "C" fn(usize, *mut f32, *const bf16, *mut f32, *mut f32, *mut bf16, f32);
        // SAFETY: the function in `loops.c` has this type.
        let stream = unsafe { self.function::<Stream>("stream_offload") };
        move |w, g, [m, v], copy| {
            let n = w.len();
            assert!([g.len(), m.len(), v.len(), copy.len()] == [n; 4]);
            let (w, m, v, copy) = (w.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr(), copy.as_mut_ptr());
            // SAFETY: all have as many elements as the function is told.
            unsafe { (stream.get())(n, w, g.as_ptr(), m, v, copy, 0.0) }
        }
    }

    /// Moves the bytes of arrays that belong to `n` elements, a piece of all of them after the other.
    pub fn stream_bytes(&self) -> impl Fn(usize, &mut [Moved]) + Sync + use<> {
        type Stream = unsafe extern "C" fn(usize, usize, *const RawMoved, u32) -> u32;
        // SAFETY: the function in `loops.c` has this type.
        let stream = unsafe { self.function::<Stream>("stream_bytes") };
        move |n, arrays| {
            let raw: Vec<_> = arrays.iter().map(|array| array.raw(n)).collect();
            // SAFETY: each array has as many bytes as `raw` says, and belongs to this call.
            std::hint::black_box(unsafe {
                (stream.get())(n.div_ceil(PIECE), raw.len(), raw.as_ptr(), 0)
            });
        }
    }

    /// Steps rows of tables by the plain loop of a rule, if there is one.
    pub fn rows_stepped(
        &self,
        rule: &dyn Optimizer,
    ) -> Option<impl Fn(&Tables<'_>, &[i64], &[f32]) + Sync + use<>> {
        type Rows = unsafe extern "C" fn(
            Loop,
            usize,
            *const i64,
            usize,
            usize,
            *const *mut f32,
            *const f32,
            *const f32,
        );
        let (step, states) = (self.plain(rule.name(), rule)?, rule.states().len());
        // SAFETY: the function in `loops.c` has this type.
        let rows_stepped = unsafe { self.function::<Rows>("rows_stepped") };
        Some(move |tables: &Tables<'_>, rows: &[i64], g: &[f32]| {
            let (length, constants) = (tables.check(rows, g), step.constants.as_ptr());
            let (arrays, function) = (tables.arrays.as_ptr(), step.function.get());
            // SAFETY: the rows are in the tables, `g` has that many, and the states are those of the loop.
            unsafe {
                let count = rows.len();
                let rows = rows.as_ptr();
                (rows_stepped.get())(
                    function,
                    count,
                    rows,
                    length,
                    states,
                    arrays,
                    g.as_ptr(),
                    constants,
                );
            }
        })
    }

    /// Moves the bytes of rows, and asks for those that come `ahead`.
    pub fn rows_moved(&self, ahead: usize) -> impl Fn(&Tables<'_>, &[i64], &[f32]) + Sync + use<> {
        type Rows = unsafe extern "C" fn(
            usize,
            *const i64,
            usize,
            usize,
            *const *mut f32,
            *const f32,
            usize,
            f32,
        );
        // SAFETY: the function in `loops.c` has this type.
        let rows_moved = unsafe { self.function::<Rows>("rows_moved") };
        move |tables, rows, g| {
            let (length, states) = (tables.check(rows, g), tables.arrays.len() - 1);
            let (count, arrays) = (rows.len(), tables.arrays.as_ptr());
            // SAFETY: the rows are in the tables, and `g` has that many.
            unsafe {
                (rows_moved.get())(count, rows.as_ptr(), length, states, arrays, g.as_ptr(), ahead, 0.0);
            }
        }
    }

    /// # Safety
    /// `F` must be the type of the function.
    unsafe fn function<F: Copy>(&self, symbol: &str) -> Function<F> {
        // SAFETY: the caller's.
        unsafe { self.find(symbol) }.expect("defined in loops.c")
    }

    /// # Safety
    /// `F` must be the type of the function, if there is one.
    unsafe fn find<F: Copy>(&self, symbol: &str) -> Option<Function<F>> {
        // SAFETY: the library is `loops.c`, which runs nothing when it is loaded.
        let library = unsafe { Library::new(&self.0) }.expect("built by this process");
        // SAFETY: the caller's.
        let function = unsafe { *library.get::<F>(symbol).ok()? };
        Some(Function { function, _library: library })
    }
}

impl<F: Copy> Function<F> {
    /// Through a method, so that a closure keeps the library, too.
    fn get(&self) -> F {
        self.function
    }
}

/// Weights and states, each a table of as many rows.
pub struct Tables<'a> {
    arrays: Vec<*mut f32>,
    row_length: usize,
    count: usize,
    _arrays: PhantomData<&'a mut [f32]>,
}

// SAFETY: the benches give each thread rows of its own.
unsafe impl Sync for Tables<'_> {}

impl<'a> Tables<'a> {
    pub fn new(row_length: usize, arrays: Vec<&'a mut [f32]>) -> Self {
        let count = arrays[0].len() / row_length;
        assert!(arrays.iter().all(|array| array.len() == count * row_length));
        let arrays = arrays.into_iter().map(|array| array.as_mut_ptr()).collect();
        Self { arrays, row_length, count, _arrays: PhantomData }
    }

    /// Elements of a row.
    fn check(&self, rows: &[i64], g: &[f32]) -> usize {
        assert_eq!(g.len(), rows.len() * self.row_length);
        assert!(rows.iter().all(|&row| usize::try_from(row).is_ok_and(|row| row < self.count)));
        self.row_length
    }
}

/// The bytes of an array, and what is done to them.
pub struct Moved<'a> {
    data: *mut u8,
    bytes: usize,
    how: How,
    _array: PhantomData<&'a mut [u8]>,
}

/// What `loops.c` calls the same.
#[derive(Clone, Copy)]
#[repr(C)]
enum How {
    Read,
    Updated,
    Written,
}

/// What `loops.c` calls `struct moved`.
#[repr(C)]
struct RawMoved {
    data: *mut u8,
    bytes: usize,
    step: usize,
    how: How,
}

/// How many elements a piece has.
const PIECE: usize = 512;

/// Numbers of which every bit pattern is one.
pub trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for bf16 {}
impl Plain for f16 {}
impl Plain for i16 {}
impl Plain for u8 {}

impl<'a> Moved<'a> {
    pub fn read<E: Plain>(array: &'a [E]) -> Self {
        Self::new(array.as_ptr().cast_mut().cast(), size_of_val(array), How::Read)
    }

    pub fn updated<E: Plain>(array: &'a mut [E]) -> Self {
        Self::new(array.as_mut_ptr().cast(), size_of_val(array), How::Updated)
    }

    pub fn written<E: Plain>(array: &'a mut [E]) -> Self {
        Self::new(array.as_mut_ptr().cast(), size_of_val(array), How::Written)
    }

    fn new(data: *mut u8, bytes: usize, how: How) -> Self {
        Self { data, bytes, how, _array: PhantomData }
    }

    fn raw(&self, n: usize) -> RawMoved {
        let Self { data, bytes, how, .. } = *self;
        RawMoved { data, bytes, step: (bytes * PIECE).div_ceil(n).next_multiple_of(4), how }
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        for Build(file) in &self.builds {
            // A file left in the target directory does no harm.
            let _ = fs::remove_file(file);
        }
    }
}

/// What a command prints, or what it complained about.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
