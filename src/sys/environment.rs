//! The default floating-point environment (round to nearest, no flush to zero) during a call,
//! whatever the caller has set. Elsewhere Rust itself assumes it, and the bits promised depend on it.

/// Runs `f` in the default environment and puts the caller's back. After a panic of `f` the default one
/// stays.
pub fn in_default_environment<T>(f: impl FnOnce() -> T) -> T {
    let callers = control::read();
    if control::is_default(callers) {
        return f();
    }
    control::write(control::DEFAULT);
    let result = outlined(f);
    control::write(callers);
    result
}

/// Keeps the compiler from moving arithmetic out of the default environment: it knows nothing of the
/// control register.
#[inline(never)]
fn outlined<T>(f: impl FnOnce() -> T) -> T {
    f()
}

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!(
    "x87 code rounds twice, and has other bits: build for i686, or with `-C target-feature=+sse2`"
);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod control {
    use std::arch::asm;

    /// All exceptions masked, round to nearest, neither flush-to-zero nor denormals-are-zero.
    pub const DEFAULT: u32 = 0x1f80;
    /// Exceptions that have been raised: a record, not a setting.
    const RAISED: u32 = 0x3f;

    pub fn is_default(mxcsr: u32) -> bool {
        mxcsr & !RAISED == DEFAULT
    }

    pub fn read() -> u32 {
        let mut mxcsr = 0_u32;
        // SAFETY: stores four bytes to a local variable of four bytes; the target has SSE (above).
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
        mxcsr
    }

    pub fn write(mxcsr: u32) {
        // SAFETY: `mxcsr` is `DEFAULT`, which Rust assumes, or what the C caller had, which is put
        // back when no Rust code but this module's is left to run.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    /// Round to nearest, no flush-to-zero, no traps.
    pub const DEFAULT: u64 = 0;

    pub fn is_default(fpcr: u64) -> bool {
        fpcr == DEFAULT
    }

    pub fn read() -> u64 {
        let fpcr: u64;
        // SAFETY: reads a register that every aarch64 has.
        unsafe { asm!("mrs {}, fpcr", out(reg) fpcr, options(nostack, preserves_flags)) };
        fpcr
    }

    pub fn write(fpcr: u64) {
        // SAFETY: `fpcr` is `DEFAULT`, which Rust assumes, or what the C caller had, which is put
        // back when no Rust code but this module's is left to run.
        unsafe { asm!("msr fpcr, {}", in(reg) fpcr, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "s390x")]
mod control {
    use std::arch::asm;

    /// Round to nearest, no traps.
    pub const DEFAULT: u32 = 0;
    /// Traps and rounding modes; the rest is a record of what happened.
    const SETTINGS: u32 = 0xf800_0077;

    pub fn is_default(fpc: u32) -> bool {
        fpc & SETTINGS == DEFAULT
    }

    pub fn read() -> u32 {
        let fpc: u32;
        // SAFETY: reads a register that every s390x has.
        unsafe { asm!("efpc {}", out(reg) fpc, options(nostack, preserves_flags)) };
        fpc
    }

    pub fn write(fpc: u32) {
        // SAFETY: `fpc` is `DEFAULT`, which Rust assumes, or what the C caller had, which is put
        // back when no Rust code but this module's is left to run.
        unsafe { asm!("sfpc {}", in(reg) fpc, options(nostack, preserves_flags)) };
    }
}

/// Other targets compute in the environment they are called in.
#[cfg(not(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "s390x"
)))]
mod control {
    pub const DEFAULT: () = ();

    pub fn is_default(_: ()) -> bool {
        true
    }

    pub fn read() {}

    pub fn write(_: ()) {}
}
