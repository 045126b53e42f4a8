//! Which instruction sets this CPU has, which one steps use, and how to force a lower one.

use std::{env, fmt, iter, str::FromStr, sync::OnceLock};

use pulp::{Arch, NullaryFnOnce};

use crate::{Error, lane::Lanes, sys};

/// The environment variable that forces an instruction set for the whole process.
const VARIABLE: &str = "DOWNHILL_ISA";

/// An instruction set that this CPU has. A value of this type proves that the CPU has it.
///
/// All of them give the same bits; they differ in speed only.
///
/// ```
/// use downhill::Isa;
///
/// let scalar: Isa = "scalar".parse()?;
/// assert!(Isa::available().contains(&scalar));
/// println!("steps use {}", Isa::current()?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Isa(Arch);

impl Isa {
    /// Every instruction set that this CPU has, the narrowest (`scalar`) first.
    pub fn available() -> Vec<Self> {
        Self::all().collect()
    }

    /// The same, and no list is allocated.
    fn all() -> impl Iterator<Item = Self> {
        let wider: [Option<Arch>; _] = [
            #[cfg(target_arch = "x86_64")]
            pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(target_arch = "x86_64")]
            pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "aarch64")]
            pulp::aarch64::Neon::try_new().map(Arch::Neon),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            pulp::wasm::Simd128::try_new().map(Arch::Simd128),
        ];
        iter::once(Arch::Scalar).chain(wider.into_iter().flatten()).map(Self)
    }

    /// The instruction set that steps use: the widest available one, or the one that `DOWNHILL_ISA` in
    /// the environment names, if it is set and not empty. The environment is read once, on the first
    /// call.
    ///
    /// # Errors
    /// [`Error::Isa`], on every call, if `DOWNHILL_ISA` names none of [`Isa::available`].
    #[inline]
    pub fn current() -> Result<Self, Error> {
        static CURRENT: OnceLock<Result<Isa, Error>> = OnceLock::new();
        match CURRENT.get() {
            Some(Ok(isa)) => Ok(*isa),
            _ => CURRENT.get_or_init(|| sys::without_cancellation(choose)).clone(),
        }
    }

    /// `scalar`, `avx2`, `avx512`, `neon` or `simd128`: the name that [`FromStr`] and `DOWNHILL_ISA` take.
    pub fn name(self) -> &'static str {
        match self.0 {
            Arch::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Arch::Neon(_) => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Arch::Simd128(_) => "simd128",
            _ => unreachable!("`available` makes no other"),
        }
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline(always)]
    pub(crate) fn run<K: Kernel>(self, mut kernel: K) -> K::Output {
        let kernel = &mut kernel;
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Arch::V3(v3) => v3.vectorize(On(kernel, v3)),
            #[cfg(target_arch = "x86_64")]
            Arch::V4(v4) => v4.vectorize(On(kernel, v4)),
            #[cfg(target_arch = "aarch64")]
            Arch::Neon(neon) => neon.vectorize(On(kernel, neon)),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Arch::Simd128(simd128) => simd128.vectorize(On(kernel, simd128)),
            _ => scalar(kernel),
        }
    }
}

/// What is compiled once for each instruction set. `run` and all that it calls must be
/// `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;

    /// Called once.
    fn run<S: Lanes>(&mut self, s: S) -> Self::Output;
}

/// A kernel on an instruction set, for `pulp`, whose own type of that says too little.
///
/// A reference, because `pulp` hands a value over word by word: two constants in one word have just been
/// stored one by one, and a CPU waits 5 ns for both before it can load the word. That is as long as a
/// whole call takes.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_feature = "simd128")),
    expect(dead_code)
)]
struct On<'a, K, S>(&'a mut K, S);

impl<K: Kernel, S: Lanes> NullaryFnOnce for On<'_, K, S> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.0.run(self.1)
    }
}

/// A function of its own, or the kernel would be compiled again in every caller.
#[inline(never)]
fn scalar<K: Kernel>(kernel: &mut K) -> K::Output {
    kernel.run(pulp::Scalar)
}

fn choose() -> Result<Isa, Error> {
    // `downhill_isa()` is what a program calls before it forks.
    sys::initialize();
    match env::var_os(VARIABLE) {
        // An empty one is the usual way to unset a variable for one command of a shell.
        Some(name) if !name.is_empty() => find(VARIABLE, &name.to_string_lossy()),
        _ => Ok(Isa::all().last().expect("scalar is always available")),
    }
}

fn find(argument: &'static str, name: &str) -> Result<Isa, Error> {
    Isa::all().find(|isa| isa.name() == name).ok_or_else(|| Error::Isa {
        argument,
        name: name.to_owned(),
        available: Isa::all().map(Isa::name).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        find("isa", name)
    }
}

impl PartialEq for Isa {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Isa {}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The widest instruction set is the one in use, unless the environment says otherwise.
    #[test]
    fn the_widest_instruction_set_is_used() {
        let current = Isa::current().unwrap();
        match std::env::var("DOWNHILL_ISA") {
            Ok(name) if !name.is_empty() => assert_eq!(current.name(), name),
            _ => assert_eq!(current, *Isa::available().last().unwrap()),
        }
    }

    /// CI says what a machine must have, so that a lost instruction set is not a silent pass. A unit test,
    /// because these are run everywhere.
    #[test]
    fn what_is_expected_is_there() {
        if let Some(expected) = std::env::var_os("DOWNHILL_EXPECT_ISAS") {
            let names: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
            assert_eq!(names.join(","), expected.to_string_lossy());
        }
    }
}
