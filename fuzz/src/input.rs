//! Inputs: mostly good ones, so that steps are made, with everything else among them.

use arbitrary::{Arbitrary, Result, Unstructured};
use downhill::Range;

/// Where an array is to stand.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// In memory of its own, so many bytes from its start, up to its very end.
    Own(u8),
    /// In memory that it may share with others, so many bytes from its start.
    Shared(u16),
    Null,
    /// At an address where nothing is, so that it must not be touched.
    Nowhere(usize),
}

impl<'a> Arbitrary<'a> for Place {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(u)? {
            choice @ 0..=223 => Self::Own(choice % 16 * 4),
            224..=239 => Self::Shared(u16::arbitrary(u)? & !3),
            240..=243 => Self::Shared(u16::arbitrary(u)?),
            244..=247 => Self::Own(u8::arbitrary(u)?),
            248..=251 => Self::Null,
            252.. => Self::Nowhere(usize::arbitrary(u)?),
        })
    }
}

/// A pointer to a structure.
#[derive(Clone, Copy, Debug)]
pub enum Pointer {
    Good,
    Null,
    /// So many bytes, not 0, past an aligned address.
    Misaligned(u8),
}

impl<'a> Arbitrary<'a> for Pointer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(u)? {
            0..=247 => Self::Good,
            248..=251 => Self::Null,
            choice => Self::Misaligned(choice - 251),
        })
    }
}

/// What `struct_size` says, and what follows the members that are known.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    Own,
    /// More bytes, all zero.
    Later(u16),
    /// More bytes, one of which is not zero.
    LaterInUse(u16, u16),
    Any(u32),
}

impl<'a> Arbitrary<'a> for Size {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(u)? {
            0..=231 => Self::Own,
            232..=239 => Self::Later(u16::arbitrary(u)? % 600),
            240..=247 => Self::LaterInUse(1 + u16::arbitrary(u)? % 600, u16::arbitrary(u)?),
            248.. => Self::Any(u32::arbitrary(u)?),
        })
    }
}

/// The value of an enumeration with two or three of them.
#[derive(Clone, Copy, Debug)]
pub struct Choice(pub u32);

impl<'a> Arbitrary<'a> for Choice {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            251.. => u32::arbitrary(u)?,
            choice => u32::from(choice) % 2 + u32::from(choice > 240),
        }))
    }
}

/// A number, mostly in its range.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Number {
    kind: u8,
    bits: u16,
}

impl Number {
    pub fn of(self, range: Range) -> f64 {
        const SIZES: [f64; 8] = [0.0, 1.0, 1e-3, 0.01, 1e-8, 1e-45, 1e30, -0.0];
        const PARTS: [f64; 8] = [0.0, 0.9, 0.99, 0.999, 0.5, 1.0 - f64::EPSILON / 2.0, 0.0, 1e-300];
        let bits = f64::from(self.bits);
        match (self.kind, range) {
            (252.., _) => {
                f64::from_bits(u64::from(self.bits) << 48 | u64::from(self.bits) * 0x9e37_79b9)
            }
            (251, _) => 1.0,
            (some @ 0..=99, Range::NonNegative) => SIZES[usize::from(some) % SIZES.len()],
            (_, Range::NonNegative) => bits / 1024.0,
            (some @ 0..=99, _) => PARTS[usize::from(some) % PARTS.len()],
            _ => bits / 65536.0,
        }
    }
}

/// The number of a step.
#[derive(Clone, Copy, Debug)]
pub struct Step(pub u64);

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            few @ 0..=199 => few.into(),
            200..=239 => u16::arbitrary(u)?.into(),
            240.. => u64::arbitrary(u)?,
        }))
    }
}

/// How long an array is.
#[derive(Clone, Copy, Debug)]
pub struct Length(pub usize);

impl<'a> Arbitrary<'a> for Length {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            few @ 0..=247 => usize::from(few) % 80,
            // Across the blocks of the norm.
            248..=251 => usize::from(u16::arbitrary(u)?) % 9000,
            252.. => usize::arbitrary(u)?,
        }))
    }
}

/// A value for every field that a configuration may have, and how the structure is passed.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    pub size: Size,
    pub pointer: Pointer,
    /// Another tag than the rule's.
    pub rule: Option<u32>,
    pub words: [Choice; 2],
    pub numbers: [Number; 6],
}

impl<'a> Arbitrary<'a> for Fields {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            size: u.arbitrary()?,
            pointer: u.arbitrary()?,
            rule: rarely(u)?.then(|| u8::arbitrary(u)).transpose()?.map(u32::from),
            words: u.arbitrary()?,
            numbers: u.arbitrary()?,
        })
    }
}

/// Once in sixty-four times.
pub fn rarely(u: &mut Unstructured<'_>) -> Result<bool> {
    Ok(u8::arbitrary(u)? > 251)
}

/// Endless elements, from what is left of the input: any bits, or ordinary numbers.
pub struct Values {
    table: Vec<u8>,
    at: usize,
}

impl Values {
    /// After so many they come again. A prime, so that no vector or block sees the same.
    const PERIOD: usize = 251;

    pub fn new(u: Unstructured<'_>) -> Self {
        let mut bytes = u.take_rest().iter().copied().cycle();
        let mut byte = || bytes.next().unwrap_or(0);
        let mut noise = 1_u32;
        let mut value = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (kind, high) = (byte(), u32::from(u16::from_ne_bytes([byte(), byte()])));
            match kind % 8 {
                7 => f32::from_bits(high << 16 | noise >> 16),
                _ => (high ^ noise >> 16) as f32 / 16384.0 - 2.0,
            }
        };
        Self { table: (0..Self::PERIOD).flat_map(|_| value().to_ne_bytes()).collect(), at: 0 }
    }

    /// The elements that are next, up to the end of their sequence and no more than `bytes` bytes.
    pub fn next(&mut self, bytes: usize) -> &[u8] {
        let part = &self.table[self.at..];
        let part = &part[..part.len().min(bytes)];
        self.at = (self.at + part.len().next_multiple_of(4)) % self.table.len();
        part
    }
}
