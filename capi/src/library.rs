//! What library this is, and what it uses.

use std::ffi::{CStr, c_char};

use downhill::Isa;

/// Major version of this header.
pub const DOWNHILL_VERSION_MAJOR: u32 = 0;
/// Minor version of this header.
pub const DOWNHILL_VERSION_MINOR: u32 = 1;
/// Patch version of this header.
pub const DOWNHILL_VERSION_PATCH: u32 = 0;
/// Version of this header as one number that grows: 10000*major + 100*minor + patch.
pub const DOWNHILL_VERSION_NUMBER: u32 =
    DOWNHILL_VERSION_MAJOR * 10000 + DOWNHILL_VERSION_MINOR * 100 + DOWNHILL_VERSION_PATCH;

/// Version of the library that is linked, which can differ from the header's.
///
/// @return "major.minor.patch", a string that lives as long as the program
#[unsafe(no_mangle)]
pub extern "C" fn downhill_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Version of the library that is linked as one number, to compare with DOWNHILL_VERSION_NUMBER.
///
/// @return 10000*major + 100*minor + patch
#[unsafe(no_mangle)]
pub extern "C" fn downhill_version_number() -> u32 {
    DOWNHILL_VERSION_NUMBER
}

/// The instruction set that steps use in this process: the widest that this CPU has, or a lower one that
/// DOWNHILL_ISA in the environment names ("avx512", "avx2", "neon", "simd128" or "scalar"; empty is as
/// unset). All give the same bits. The environment is read once, by the first call that needs it. That call looks at
/// everything else that a process looks at once, too: make it before you fork, if another thread could
/// be in its first call of this library just then, or the child may wait for that thread for ever.
///
/// @return "avx512", "avx2", "neon", "simd128" or "scalar"; "invalid" if DOWNHILL_ISA names none that
///         this CPU has, and every step then returns DOWNHILL_STATUS_INVALID_CONFIG. The string lives as long as
///         the program
#[unsafe(no_mangle)]
pub extern "C" fn downhill_isa() -> *const c_char {
    const NAMES: [&CStr; 5] = [c"scalar", c"avx2", c"avx512", c"neon", c"simd128"];
    let current = Isa::current().map_or("invalid", Isa::name);
    NAMES.iter().find(|name| name.to_bytes() == current.as_bytes()).unwrap_or(&c"invalid").as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_crates_version() {
        let parts = [DOWNHILL_VERSION_MAJOR, DOWNHILL_VERSION_MINOR, DOWNHILL_VERSION_PATCH];
        assert_eq!(parts.map(|part| part.to_string()).join("."), env!("CARGO_PKG_VERSION"));
        assert!(parts[1] < 100 && parts[2] < 100);
        assert_eq!(DOWNHILL_VERSION_NUMBER, parts[0] * 10000 + parts[1] * 100 + parts[2]);
    }
}
