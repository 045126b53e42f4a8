//! Inputs: mostly good ones, so that steps are made, with everything else among them.

use arbitrary::{Arbitrary, Result, Unstructured};

/// A number by which something is chosen, seldom things by the largest. 0 and 255, which a fuzzer likes
/// best, are none of them.
fn dice(u: &mut Unstructured<'_>) -> Result<u8> {
    Ok(u8::arbitrary(u)? ^ 0x5a)
}

/// Where an array is to be.
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
        Ok(match dice(u)? {
            choice @ 0..=231 => Self::Own(choice % 16 * 4),
            232..=243 => Self::Shared(u16::arbitrary(u)? & !3),
            244 => Self::Shared(u16::arbitrary(u)?),
            245..=249 => Self::Own(u8::arbitrary(u)?),
            250..=252 => Self::Null,
            253.. => Self::Nowhere(usize::arbitrary(u)?),
        })
    }
}

impl Place {
    /// The same for elements of eight bytes and not of four.
    pub fn of_words(self) -> Self {
        match self {
            Self::Own(shift) => Self::Own(shift.wrapping_mul(2)),
            Self::Shared(offset) => Self::Shared(offset.wrapping_mul(2)),
            other => other,
        }
    }
}

/// A pointer to a structure.
#[derive(Clone, Copy, Debug)]
pub enum Pointer {
    Good,
    /// Into the memory that arrays share.
    Shared,
    Null,
    /// So many bytes, not 0, past an aligned address.
    Misaligned(u8),
}

impl<'a> Arbitrary<'a> for Pointer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match dice(u)? {
            0..=223 => Self::Good,
            224..=251 => Self::Shared,
            252 => Self::Null,
            choice => Self::Misaligned(choice - 252),
        })
    }
}

/// How long a structure is said to be, and what follows the fields that are known.
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
        Ok(match dice(u)? {
            0..=237 => Self::Own,
            238..=247 => Self::Later(u16::arbitrary(u)? % 64 * 8),
            248..=250 => Self::Later(u16::arbitrary(u)? % 512),
            251..=253 => Self::LaterInUse(8 + u16::arbitrary(u)? % 40 * 8, u16::arbitrary(u)?),
            254.. => Self::Any(u32::arbitrary(u)?),
        })
    }
}

impl Size {
    /// For a structure that is so long in this release.
    pub fn of(self, own: usize) -> u32 {
        match self {
            Self::Own => own as u32,
            Self::Later(more) | Self::LaterInUse(more, _) => own as u32 + u32::from(more),
            Self::Any(size) => size,
        }
    }
}

/// One of the values of an enumeration, or any number.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    One(u8),
    Any(u32),
}

impl<'a> Arbitrary<'a> for Choice {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match dice(u)? {
            253.. => Self::Any(u32::arbitrary(u)?),
            choice => Self::One(choice),
        })
    }
}

impl Choice {
    pub fn of(self, all: &[u32]) -> u32 {
        match self {
            Self::One(choice) => all[usize::from(choice) % all.len()],
            Self::Any(value) => value,
        }
    }

    pub fn below(self, count: usize) -> u32 {
        match self {
            Self::One(choice) => u32::from(choice) % count as u32,
            Self::Any(value) => value,
        }
    }
}

/// A number that is to be at least 0.
#[derive(Clone, Copy, Debug)]
pub struct Magnitude(pub f64);

impl<'a> Arbitrary<'a> for Magnitude {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        const SOME: [f64; 8] = [0.0, 1.0, 1e-3, 0.01, 1e-8, 1e-45, 1e30, -0.0];
        Ok(Self(match dice(u)? {
            choice @ 0..=99 => SOME[usize::from(choice) % SOME.len()],
            100..=252 => f64::from(u16::arbitrary(u)?) / 1024.0,
            253.. => f64::from_bits(u64::arbitrary(u)?),
        }))
    }
}

/// From where to where weights are to be kept; both 0: no bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds(pub [f64; 2]);

impl<'a> Arbitrary<'a> for Bounds {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let bound = |u: &mut Unstructured<'a>| Ok(f64::from(i16::arbitrary(u)?) / 1024.0);
        Ok(Self(match dice(u)? {
            0..=149 => [0.0; 2],
            150..=179 => [f64::NEG_INFINITY, bound(u)?],
            180..=209 => [bound(u)?, f64::INFINITY],
            210..=250 => {
                let (a, b) = (bound(u)?, bound(u)?);
                [a.min(b), a.max(b)]
            }
            251.. => [u64::arbitrary(u)?, u64::arbitrary(u)?].map(f64::from_bits),
        }))
    }
}

/// A number that is to be from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Fraction(pub f64);

impl<'a> Arbitrary<'a> for Fraction {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        const SOME: [f64; 8] = [0.0, 0.9, 0.99, 0.999, 0.5, 1.0 - f64::EPSILON / 2.0, 0.0, 1e-300];
        Ok(Self(match dice(u)? {
            choice @ 0..=99 => SOME[usize::from(choice) % SOME.len()],
            100..=251 => f64::from(u16::arbitrary(u)?) / 65536.0,
            252 => 1.0,
            253.. => f64::from_bits(u64::arbitrary(u)?),
        }))
    }
}

/// The number of a step.
#[derive(Clone, Copy, Debug)]
pub struct Step(pub u64);

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match dice(u)? {
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
        Ok(Self(match dice(u)? {
            few @ 0..=249 => few.into(),
            // Across the blocks of the norm.
            250..=253 => usize::from(u16::arbitrary(u)?) % 9000,
            254.. => usize::arbitrary(u)?,
        }))
    }
}

/// So many elements, now and then so many that threads share them.
pub fn elements(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match dice(u)? {
        0..=254 => Length::arbitrary(u)?.0,
        255 => 100_000 + 4 * usize::from(u16::arbitrary(u)?),
    })
}

/// So many elements of a row.
pub fn row_length(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match dice(u)? {
        few @ 0..=119 => 1 + usize::from(few) % 16,
        choice @ 120..=249 => usize::from(choice) - 119,
        // Across the blocks in which repeated rows are added up.
        250..=252 => usize::from(u16::arbitrary(u)?) % 2000,
        253..=254 => 0,
        255 => usize::arbitrary(u)?,
    })
}

/// True once in eight times.
pub fn seldom(u: &mut Unstructured<'_>) -> Result<bool> {
    Ok(dice(u)? % 8 == 7)
}

/// Something once in four times.
pub fn at_times<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>) -> Result<Option<T>> {
    if dice(u)? % 4 == 3 { T::arbitrary(u).map(Some) } else { Ok(None) }
}

/// Now and then something.
pub fn rarely<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>) -> Result<Option<T>> {
    if dice(u)? < 252 { Ok(None) } else { T::arbitrary(u).map(Some) }
}

/// Endless elements, from what is left of the input: any bits, or ordinary numbers.
#[derive(Debug)]
pub struct Values {
    table: Vec<f32>,
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
        Self { table: (0..Self::PERIOD).map(|_| value()).collect(), at: 0 }
    }
}

impl Iterator for Values {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        self.at = (self.at + 1) % self.table.len();
        Some(self.table[self.at])
    }
}
