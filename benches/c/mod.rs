//! The loops of `loops.c`, built by the machine's own C compiler while the benchmark runs, because no
//! other flag than `-march=native` makes them the best loops of this machine.
#![allow(unsafe_code, reason = "C functions can only be loaded and called with it")]

use std::{env, fs, path::PathBuf, process::Command};

use downhill::{Adadelta, Adagrad, Adam, Adamax, Adamw, Lion, Momentum, Nadam, Nesterov, Rmsprop, Sgd};
use libloading::Library;

use crate::common::{RMSPROP_MOMENTUM, T};

/// `-fno-math-errno` lets `sqrtf` become a vector instruction. `-ffp-contract=off` gives the bits of the
/// reference. What contraction, GCC's default, would give (measured on an AVX-512 Xeon): SGD and momentum
/// 1.1 times as fast in L1, nothing for Adam, 0 to 2 % in L2, nothing beyond.
const FLAGS: [&str; 6] =
    ["-O3", "-march=native", "-fno-math-errno", "-ffp-contract=off", "-shared", "-fPIC"];

/// What is added to [`FLAGS`]: GCC prefers 256 bits for some CPUs with AVX-512, and which is faster
/// depends on the CPU and on the loop. So there are two builds, and the faster one counts.
const WIDTHS: &[&str] =
    if cfg!(target_arch = "x86_64") { &["", "-mprefer-vector-width=512"] } else { &[""] };

/// The type of every function in `loops.c`.
type Loop = unsafe extern "C" fn(usize, *mut f32, *const f32, *mut f32, *mut f32, *mut f32, *const f32);

/// A loop of `loops.c`, its constants with it.
pub struct CLoop {
    function: Loop,
    constants: Vec<f32>,
    states: usize,
    /// Keeps `function` in memory.
    _library: Library,
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
        unsafe { (self.function)(w.len(), w.as_mut_ptr(), g.as_ptr(), s0, s1, s2, constants) }
    }
}

/// `loops.c`, built once for each of [`WIDTHS`].
pub struct Loops {
    /// What the compiler calls itself.
    pub compiler: String,
    files: Vec<PathBuf>,
}

impl Loops {
    /// Builds with `$CC`, or `cc`.
    ///
    /// # Errors
    /// What the compiler, or the attempt to run it, said.
    pub fn build() -> Result<Self, String> {
        let cc = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let version = run(Command::new(&cc).arg("--version"))?;
        let compiler = version.lines().next().unwrap_or(&cc).to_owned();
        let mut loops = Self { compiler, files: Vec::new() };
        for (i, width) in WIDTHS.iter().enumerate() {
            let name = format!("loops-{}-{i}{}", std::process::id(), env::consts::DLL_SUFFIX);
            loops.files.push([env!("CARGO_TARGET_TMPDIR"), &name].iter().collect());
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/c/loops.c");
            run(Command::new(&cc)
                .args(FLAGS)
                .args((!width.is_empty()).then_some(width))
                .arg(source)
                .arg("-o")
                .arg(&loops.files[i])
                .arg("-lm"))?;
        }
        Ok(loops)
    }

    /// The plain C loop of a rule in every width. Empty if `loops.c` has none for it.
    pub fn plain(&self, rule: &str, states: usize) -> Vec<CLoop> {
        match constants(rule) {
            Some(constants) => self.load(&format!("plain_{rule}"), &constants, states),
            None => Vec::new(),
        }
    }

    /// The loop that only moves the bytes of a rule with so many states.
    pub fn stream(&self, states: usize) -> Vec<CLoop> {
        self.load(&format!("stream_{states}"), &[0.0], states)
    }

    /// A pass over gradients alone.
    pub fn pass(&self, name: &str, constant: f32) -> CLoop {
        self.load(&format!("pass_{name}"), &[constant], 0).swap_remove(0)
    }

    /// The sum of squares of a gradient.
    pub fn sum_of_squares(&self) -> impl Fn(&[f32]) -> f64 {
        type Sum = unsafe extern "C" fn(usize, *const f32) -> f64;
        // SAFETY: the library is `loops.c`, which runs nothing when it is loaded.
        let library = unsafe { Library::new(&self.files[0]) }.expect("built by this process");
        // SAFETY: the function in `loops.c` has this type.
        let sum = unsafe { *library.get::<Sum>("sum_of_squares").expect("defined in loops.c") };
        move |g| {
            // It keeps `sum` in memory.
            let _library = &library;
            // SAFETY: the function reads as many elements as it is told.
            unsafe { sum(g.len(), g.as_ptr()) }
        }
    }

    fn load(&self, symbol: &str, constants: &[f32], states: usize) -> Vec<CLoop> {
        let load = |file| {
            // SAFETY: the library is `loops.c`, which runs nothing when it is loaded.
            let library = unsafe { Library::new(file) }.expect("built by this process");
            // SAFETY: every function in `loops.c` has this type.
            let function = unsafe { *library.get::<Loop>(symbol).expect("defined in loops.c") };
            CLoop { function, constants: constants.to_vec(), states, _library: library }
        };
        self.files.iter().map(load).collect()
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        for file in &self.files {
            // A file left behind in the target directory does no harm.
            let _ = fs::remove_file(file);
        }
    }
}

/// What a plain loop reads from its last argument, for the configuration of `rules()` at step [`T`].
fn constants(rule: &str) -> Option<Vec<f32>> {
    let constants = match rule {
        "sgd" => vec![Sgd::default().lr],
        "momentum" => vec![Momentum::default().lr, Momentum::default().momentum],
        "nesterov" => vec![Nesterov::default().lr, Nesterov::default().momentum],
        "adagrad" => vec![Adagrad::default().lr, Adagrad::default().eps],
        "adadelta" => {
            let Adadelta { lr, rho, eps, .. } = Adadelta::default();
            vec![lr, rho, 1.0 - rho, eps]
        }
        "rmsprop" | "rmsprop_centered_momentum" => {
            let Rmsprop { lr, alpha, eps, .. } = Rmsprop::default();
            vec![lr, alpha, 1.0 - alpha, eps, RMSPROP_MOMENTUM]
        }
        "adam" | "amsgrad" => adam(Adam::default()),
        "adamw" => {
            let Adamw { lr, weight_decay, .. } = Adamw::default();
            [adam(Adam::default()), vec![1.0 - lr * weight_decay]].concat()
        }
        "adamax" => {
            let Adamax { lr, beta1, beta2, eps, .. } = Adamax::default();
            vec![beta1, 1.0 - beta1, beta2, lr / (1.0 - beta1.powi(T as i32)), eps]
        }
        "nadam" => nadam(Nadam::default()),
        "lion" => {
            let Lion { lr, beta1, beta2, .. } = Lion::default();
            vec![lr, beta1, 1.0 - beta1, beta2, 1.0 - beta2]
        }
        _ => return None,
    };
    Some(constants.into_iter().map(|x| x as f32).collect())
}

fn adam(Adam { lr, beta1, beta2, eps, .. }: Adam) -> Vec<f64> {
    let c1 = 1.0 - beta1.powi(T as i32);
    let c2 = 1.0 - beta2.powi(T as i32);
    vec![beta1, 1.0 - beta1, beta2, 1.0 - beta2, lr / c1, 1.0 / c2.sqrt(), eps]
}

fn nadam(Nadam { lr, beta1, beta2, eps, momentum_decay, .. }: Nadam) -> Vec<f64> {
    let mu = |t: u64| beta1 * (1.0 - 0.5 * 0.96_f64.powf(t as f64 * momentum_decay));
    let product: f64 = (1..=T).map(mu).product();
    let a = lr * (1.0 - mu(T)) / (1.0 - product);
    let b = lr * mu(T + 1) / (1.0 - product * mu(T + 1));
    let c2 = 1.0 - beta2.powi(T as i32);
    vec![beta1, 1.0 - beta1, beta2, 1.0 - beta2, a, b, 1.0 / c2, eps]
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
