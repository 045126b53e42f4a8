//! The rules, each with its configuration and its plain step in a file of its own, and what they share.

pub(super) mod adadelta;
pub(super) mod adagrad;
pub(super) mod adam;
pub(super) mod adamax;
pub(super) mod ftrl;
pub(super) mod lion;
pub(super) mod momentum;
pub(super) mod nadam;
pub(super) mod nesterov;
pub(super) mod radam;
pub(super) mod rmsprop;
pub(super) mod rowwise_adagrad;
pub(super) mod sgd;
pub(super) mod signum;

use std::{array, ffi::c_void, fmt::Debug};

use super::{
    arrays::slices,
    boundary,
    group::SLOTS,
    read::{Choices, MOST, check_structure, choice, invalid, read_structure},
    status::*,
};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Form, Ftrl, Isa, Lion, Momentum, Nadam,
    Nesterov, Optimizer, Radam, Rmsprop, RowwiseAdagrad, Sgd, Signum, abi::Configuration,
    rowwise_adagrad_step,
};

/// downhill_sgd, for downhill_sgd_step().
pub const DOWNHILL_RULE_SGD: u32 = 1;
/// downhill_momentum, for downhill_momentum_step().
pub const DOWNHILL_RULE_MOMENTUM: u32 = 2;
/// downhill_nesterov, for downhill_nesterov_step().
pub const DOWNHILL_RULE_NESTEROV: u32 = 3;
/// downhill_adagrad, for downhill_adagrad_step().
pub const DOWNHILL_RULE_ADAGRAD: u32 = 4;
/// downhill_adadelta, for downhill_adadelta_step().
pub const DOWNHILL_RULE_ADADELTA: u32 = 5;
/// downhill_rmsprop, for downhill_rmsprop_step().
pub const DOWNHILL_RULE_RMSPROP: u32 = 6;
/// downhill_adam, for downhill_adam_step().
pub const DOWNHILL_RULE_ADAM: u32 = 7;
/// downhill_adam, for downhill_adamw_step(): its decay must be DOWNHILL_DECAY_DECOUPLED.
pub const DOWNHILL_RULE_ADAMW: u32 = 8;
/// downhill_adam, for downhill_amsgrad_step().
pub const DOWNHILL_RULE_AMSGRAD: u32 = 9;
/// downhill_adamax, for downhill_adamax_step().
pub const DOWNHILL_RULE_ADAMAX: u32 = 10;
/// downhill_nadam, for downhill_nadam_step().
pub const DOWNHILL_RULE_NADAM: u32 = 11;
/// downhill_lion, for downhill_lion_step().
pub const DOWNHILL_RULE_LION: u32 = 12;
/// downhill_signum, for downhill_signum_step().
pub const DOWNHILL_RULE_SIGNUM: u32 = 13;
/// downhill_radam, for downhill_radam_step().
pub const DOWNHILL_RULE_RADAM: u32 = 14;
/// downhill_ftrl, for downhill_ftrl_step().
pub const DOWNHILL_RULE_FTRL: u32 = 15;
/// downhill_rowwise_adagrad, for tensors with rows, and for downhill_rowwise_adagrad_step().
pub const DOWNHILL_RULE_ROWWISE_ADAGRAD: u32 = 16;

/// Every rule, in the order of the tags.
pub(super) const RULES: [Rule; 16] = [
    Rule::of::<Sgd>(),
    Rule::of::<Momentum>(),
    Rule::of::<Nesterov>(),
    Rule::of::<Adagrad>(),
    Rule::of::<Adadelta>(),
    Rule::of::<Rmsprop>(),
    Rule::of::<Adam>(),
    Rule::of::<Adamw>(),
    Rule::of::<Amsgrad>(),
    Rule::of::<Adamax>(),
    Rule::of::<Nadam>(),
    Rule::of::<Lion>(),
    Rule::of::<Signum>(),
    Rule::of::<Radam>(),
    Rule::of::<Ftrl>(),
    Rule::of::<RowwiseAdagrad>(),
];

/// What a configuration of any rule says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decoded {
    Sgd(Sgd),
    Momentum(Momentum),
    Nesterov(Nesterov),
    Adagrad(Adagrad),
    Adadelta(Adadelta),
    Rmsprop(Rmsprop),
    Adam(Adam),
    Adamw(Adamw),
    Amsgrad(Amsgrad),
    Adamax(Adamax),
    Nadam(Nadam),
    Lion(Lion),
    Signum(Signum),
    Radam(Radam),
    Ftrl(Ftrl),
    RowwiseAdagrad(RowwiseAdagrad),
}

impl Decoded {
    fn optimizer(&self) -> &dyn Optimizer {
        match self {
            Self::Sgd(config) => config,
            Self::Momentum(config) => config,
            Self::Nesterov(config) => config,
            Self::Adagrad(config) => config,
            Self::Adadelta(config) => config,
            Self::Rmsprop(config) => config,
            Self::Adam(config) => config,
            Self::Adamw(config) => config,
            Self::Amsgrad(config) => config,
            Self::Adamax(config) => config,
            Self::Nadam(config) => config,
            Self::Lion(config) => config,
            Self::Signum(config) => config,
            Self::Radam(config) => config,
            Self::Ftrl(config) => config,
            Self::RowwiseAdagrad(config) => config,
        }
    }
}

// ---- what configurations share

/// How weight_decay enters a step. With weight_decay = 0 neither does any arithmetic.
pub type downhill_decay = u32;

/// g += weight_decay*w before the rule.
pub const DOWNHILL_DECAY_L2: downhill_decay = 0;
/// w *= 1 - lr*weight_decay before the update (Loshchilov & Hutter, "Decoupled Weight Decay
/// Regularization", 2019). That factor is rounded to float, whose numbers below 1 are 6e-8 apart, in
/// PyTorch as here. With lr*weight_decay below 3e-8 (both 1e-4, say) nothing decays at all, and with
/// 1e-7 (lr 1e-5, weight_decay 0.01) 19 % too much. Where that matters, decay in every k-th step with
/// k*weight_decay, and with 0 in the others.
pub const DOWNHILL_DECAY_DECOUPLED: downhill_decay = 1;

const DECAYS: Choices<Decay, 2> =
    [(DOWNHILL_DECAY_L2, Decay::L2), (DOWNHILL_DECAY_DECOUPLED, Decay::Decoupled)];

/// Whether lr is in the state of a rule with momentum. At a constant lr, and without dampening, both
/// walk the same path.
pub type downhill_form = u32;

/// lr is in the state: u is the last step.
pub const DOWNHILL_FORM_CLASSIC: downhill_form = 0;
/// lr is outside of the state: u sums gradients. As PyTorch has it.
pub const DOWNHILL_FORM_TORCH: downhill_form = 1;

const FORMS: Choices<Form, 2> =
    [(DOWNHILL_FORM_CLASSIC, Form::Classic), (DOWNHILL_FORM_TORCH, Form::Torch)];

#[inline(always)]
fn decay(value: downhill_decay) -> Result<Decay, Failure> {
    choice("decay", value, DECAYS)
}

#[inline(always)]
fn form(value: downhill_form) -> Result<Form, Failure> {
    choice("form", value, FORMS)
}

/// A field that is kept for later releases.
#[inline(always)]
fn check_reserved(reserved: u32) -> Result<(), Failure> {
    if reserved == 0 { Ok(()) } else { Err(invalid(format!("`reserved` is {reserved}; it must be 0"))) }
}

/// The value of C for a choice, which is one of all.
fn value_of<T: PartialEq, const K: usize>(choice: T, all: Choices<T, K>) -> u32 {
    all.into_iter().find(|(_, known)| *known == choice).expect("every choice has a value").0
}

/// The `struct_size` of a structure of this release.
const fn size<S>() -> u32 {
    size_of::<S>() as u32
}

// ---- a rule

/// What every configuration starts with, in all releases.
#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    struct_size: u32,
    rule: u32,
}

/// A rule as C has it. Implemented for its configuration in Rust.
pub(super) trait CRule: Copy + Debug + Default {
    const TAG: u32;

    /// What its functions are called by: `adam` for `downhill_adam_step()`.
    const NAME: &'static str;

    /// The names of its states, in the order of the plain step.
    const STATES: &'static [&'static str];

    /// The structure in C: a [`Head`], `u32` fields up to byte 16, then `f64` fields.
    type Config: Copy;

    /// What the structure says. The ranges of numbers are checked by the rule itself. To be inlined
    /// always.
    fn decode(config: Self::Config) -> Result<Self, Failure>;

    /// The structure that says this.
    fn encode(self) -> Self::Config;

    fn decoded(self) -> Decoded;
}

/// The configuration for a plain step of the rule.
///
/// # Safety
/// `config` is NULL, or `struct_size` initialized bytes start there, of which there are 8 at least.
#[inline(always)]
pub(super) unsafe fn read<R: CRule>(config: *const R::Config) -> Result<R, Failure> {
    check_structure("config", config)?;
    // SAFETY: not NULL and aligned, checked above; 8 bytes are there by this function's contract.
    let tag = unsafe { config.cast::<Head>().read() }.rule;
    if tag != R::TAG {
        return Err(another_rule(tag, R::NAME, R::TAG));
    }
    // SAFETY: checked above; by this function's contract it starts with its size, and any bits are a
    // `Config`.
    R::decode(unsafe { read_structure("config", config) }?)
}

#[cold]
fn another_rule(tag: u32, name: &str, own: u32) -> Failure {
    let message = match find(tag) {
        Ok(other) => format!(
            "`config` is a configuration of `{}` (`rule` is {tag}) for `{name}_step`, which takes one of \
             `{name}` (`rule` {own})",
            other.name
        ),
        Err(_) => format!("`rule` of `config` is {tag}, which no rule has; `{name}_step` takes {own}"),
    };
    invalid(format!("{message}: start from downhill_{name}_default()"))
}

/// A plain step: `state` in the order of the rule's own function.
///
/// # Safety
/// The preconditions at the top of the header.
#[inline]
unsafe fn plain_step<R: CRule + Configuration<N>, const N: usize>(
    n: usize,
    w: *mut f32,
    g: *const f32,
    state: [*mut f32; N],
    config: *const R::Config,
    t: u64,
) -> downhill_status {
    boundary::call(move || {
        // SAFETY: the caller promises what `read` and `slices` ask for.
        let (config, (w, g, state)) =
            unsafe { (read::<R>(config)?, slices(n, w, g, state, <R as CRule>::STATES)?) };
        Ok(config.plain_step(Isa::current()?, w, g, state, t)?)
    })
}

/// Is a state there if and only if the configuration asks for it?
#[inline(always)]
fn check_state((name, array): (&str, *mut f32), field: &str, is_needed: bool) -> Result<(), Failure> {
    if array.is_null() == is_needed { Err(wrong_state(name, array.addr(), field)) } else { Ok(()) }
}

#[cold]
fn wrong_state(name: &str, address: usize, field: &str) -> Failure {
    if address == 0 {
        let message = format!("`{name}` is NULL; it is needed where `{field}` is not 0");
        return Failure::new(DOWNHILL_STATUS_NULL_POINTER, message);
    }
    invalid(format!("`{name}` is {address:#x}; it must be NULL where `{field}` is 0"))
}

// ---- any rule

/// A [`CRule`] as a value, to be looked up by its tag.
pub(super) struct Rule {
    pub tag: u32,
    pub name: &'static str,
    /// All states that it may have, in the order of its plain step.
    states: &'static [&'static str],
    /// The size of its configuration.
    pub size: usize,
    /// Reads one.
    ///
    /// # Safety
    /// It is what [`read`] asks for.
    read: unsafe fn(*const c_void, &mut Decoded) -> Result<(), Failure>,
    /// Writes the defaults.
    ///
    /// # Safety
    /// `size` bytes can be written there, and the pointer is aligned to `f64`.
    pub write_defaults: unsafe fn(*mut c_void),
}

impl Rule {
    const fn of<R: CRule>() -> Self {
        // Both are checked before the rule is known.
        assert!(align_of::<R::Config>() == align_of::<f64>() && size_of::<R::Config>() <= MOST);
        Self {
            tag: R::TAG,
            name: R::NAME,
            states: <R as CRule>::STATES,
            size: size_of::<R::Config>(),
            read: |config, decoded| {
                // SAFETY: this field's contract.
                *decoded = unsafe { read::<R>(config.cast())? }.decoded();
                Ok(())
            },
            // SAFETY: this field's contract.
            write_defaults: |config| unsafe { config.cast::<R::Config>().write(R::default().encode()) },
        }
    }
}

/// A configuration of any rule.
#[derive(Clone, Copy)]
pub(super) struct AnyConfig {
    rule: &'static Rule,
    decoded: Decoded,
}

impl AnyConfig {
    /// Before it is read: a rule that moves nothing.
    pub const UNREAD: Self = Self {
        rule: &RULES[0],
        decoded: Decoded::Sgd(Sgd { lr: 0.0, weight_decay: 0.0, decay: Decay::L2 }),
    };

    /// Reads a configuration. Until its first 8 bytes are checked no further one is read.
    ///
    /// # Safety
    /// `config` is NULL, or `struct_size` initialized bytes start there, of which there are 8 at least.
    pub unsafe fn read(&mut self, config: *const c_void) -> Result<(), Failure> {
        check_structure("config", config.cast::<f64>())?;
        // SAFETY: not NULL and aligned, checked above; 8 bytes are there by this function's contract.
        let tag = unsafe { config.cast::<Head>().read() }.rule;
        self.rule = find(tag).map_err(|_| no_rule("rule` of `config", tag))?;
        // SAFETY: the caller promises what `read` asks for.
        unsafe { (self.rule.read)(config, &mut self.decoded) }
    }

    pub fn optimizer(&self) -> &dyn Optimizer {
        self.decoded.optimizer()
    }

    /// The name of the state at a place of a tensor of C, if there is one. A rule's states do not move
    /// up where one of them is missing.
    pub fn state_name(&self, place: usize) -> Option<&'static str> {
        let name = *self.rule.states.get(place)?;
        self.optimizer().states().iter().any(|state| state.name == name).then_some(name)
    }

    /// At which places there are states.
    #[inline]
    pub fn slots(&self) -> [bool; SLOTS] {
        let count = self.optimizer().states().len();
        if count == self.rule.states.len() {
            return array::from_fn(|place| place < count);
        }
        array::from_fn(|place| self.state_name(place).is_some())
    }

    /// How long its structure is in this release.
    pub fn size(&self) -> usize {
        self.rule.size
    }
}

fn find(tag: u32) -> Result<&'static Rule, Failure> {
    RULES.iter().find(|rule| rule.tag == tag).ok_or_else(|| no_rule("rule", tag))
}

#[cold]
fn no_rule(argument: &str, tag: u32) -> Failure {
    invalid(format!("`{argument}` is {tag}; it must be one of 1 to {}", RULES.len()))
}

/// A configuration of any rule, read.
///
/// # Safety
/// As for [`AnyConfig::read`].
pub(super) unsafe fn read_any(config: *const c_void) -> Result<AnyConfig, Failure> {
    let mut read = AnyConfig::UNREAD;
    // SAFETY: this function's contract.
    unsafe { read.read(config)? };
    Ok(read)
}

/// Writes the defaults of a rule, as downhill_R_default() returns them: for languages that have no C
/// header.
///
/// @param rule         which rule, DOWNHILL_RULE_...
/// @param config       a configuration of that rule, written
/// @param struct_size  how long it is, at most 512; after the fields that this release knows it is set
///                     to zero
/// @return DOWNHILL_STATUS_OK; _INVALID_CONFIG (rule, struct_size), _NULL_POINTER, _MISALIGNED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_config_default(
    rule: u32,
    config: *mut c_void,
    struct_size: usize,
) -> downhill_status {
    boundary::call(|| {
        let rule = find(rule)?;
        check_structure("config", config.cast::<f64>().cast_const())?;
        if !(rule.size..=MOST).contains(&struct_size) {
            let Rule { name, size, .. } = rule;
            return Err(invalid(format!(
                "`struct_size` is {struct_size}; for `{name}` it must be from {size} to {MOST}"
            )));
        }
        // SAFETY: not NULL and aligned, checked above; the C caller passes `struct_size` bytes, which
        // are enough.
        unsafe {
            config.cast::<u8>().write_bytes(0, struct_size);
            (rule.write_defaults)(config);
            config.cast::<u32>().write(struct_size as u32);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    /// Room for a configuration, with a head.
    fn config(rule: u32, struct_size: u32) -> [u64; MOST / 8] {
        let mut words = [0; MOST / 8];
        // SAFETY: the words are aligned and long enough.
        unsafe { words.as_mut_ptr().cast::<Head>().write(Head { struct_size, rule }) };
        words
    }

    fn status_of(config: *const c_void) -> downhill_status {
        // SAFETY: NULL, or 8 bytes that are refused, or as many as they say, or as a sound size has.
        boundary::call(|| unsafe { read_any(config) }.map(drop))
    }

    #[test]
    fn a_head_is_checked_before_anything_else() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(rule.tag as usize, index + 1, "{}", rule.name);
            let mut config = config(rule.tag, 0);
            let at = config.as_mut_ptr().cast::<c_void>();
            for (size, expected) in [
                (rule.size, DOWNHILL_STATUS_OK),
                (MOST, DOWNHILL_STATUS_OK),
                (rule.size - 1, DOWNHILL_STATUS_INVALID_CONFIG),
                (MOST + 1, DOWNHILL_STATUS_INVALID_CONFIG),
            ] {
                // SAFETY: `size` bytes can be written there.
                unsafe {
                    (rule.write_defaults)(at);
                    at.cast::<u32>().write(size as u32);
                }
                assert_eq!(status_of(at), expected, "{} of {size} bytes", rule.name);
            }
            assert_eq!(status_of(at.wrapping_byte_add(1)), DOWNHILL_STATUS_MISALIGNED);
        }
        for tag in [0, RULES.len() as u32 + 1, u32::MAX] {
            // Eight bytes in a box of their own: reading more would be seen by a checker of memory.
            let head = Box::new(config(tag, MOST as u32)[0]);
            assert_eq!(status_of(ptr::from_ref(&*head).cast()), DOWNHILL_STATUS_INVALID_CONFIG);
        }
        assert_eq!(status_of(ptr::null()), DOWNHILL_STATUS_NULL_POINTER);
    }
}
