//! Writes `include/downhill.h`, and checks that the one that is there is fresh.
//!
//! A section of the header is the text in front of it, what cbindgen makes of its files, and the default
//! functions of the rules in these, whose numbers are those of the crate's own defaults.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::LazyLock,
};

use super::{
    read::MOST,
    rules::{RULES, Rule, read_any},
};

struct Section {
    title: &'static str,
    /// Below `src`, without `.rs`.
    files: Vec<String>,
    top: &'static str,
    bottom: &'static str,
}

/// In order of need.
fn sections() -> [Section; 8] {
    let section =
        |title, file: &str| Section { title, files: vec![file.to_owned()], top: "", bottom: "" };
    // A rule without a file of its own is in another one's.
    let mut rules: Vec<_> = RULES.iter().map(|rule| format!("rules/{}", rule.name)).collect();
    rules.retain(|file| source(file).exists());
    [
        section("Version", "library"),
        section("Status", "status"),
        Section { top: CONFIGURATIONS, ..section("Configurations", "rules/mod") },
        Section { top: PLAIN_STEPS, files: rules, ..section("Plain steps", "") },
        section("Pools", "pool"),
        Section { bottom: GROUP, ..section("Groups of tensors", "group") },
        Section { bottom: EXTRAS, ..section("The whole step", "step") },
        section("Conversion", "convert"),
    ]
}

const CONFIGURATIONS: &str = "
/* A configuration holds the hyper-parameters of a rule. Make it with the rule's downhill_R_default(), then
 * set fields:
 *
 *   struct_size   sizeof the structure, set by downhill_R_default(). A later release's may be larger, up to
 *                 512 bytes, if all that this release does not know is zero.
 *   rule          which rule it is for, a DOWNHILL_RULE_..., set by downhill_R_default().
 *   decay         a downhill_decay: how weight_decay enters.
 *   reserved      0.
 *   weight_decay  finite and >= 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
 *
 * What is said to be finite must be so as a float. struct_size and rule are the first 8 bytes of every
 * configuration, in all releases.
 */
";

const PLAIN_STEPS: &str = "
/* A plain step reads the gradient g and updates the weights w and the rule's states, on the calling thread.
 * Each rule has a configuration, its defaults and one step function. The formulas are for each element, in
 * this order.
 *
 * @param n       number of elements of every array; with 0 the array pointers may be anything
 * @param w       weights, updated
 * @param g       gradient
 * @param ...     states, updated; zeros before the first step
 * @param t       number of this step, counted from 1 by the caller; for rules that count steps
 * @param config  hyper-parameters, as from downhill_R_default(), for this very rule
 * @return DOWNHILL_STATUS_OK; or, with nothing written,
 *         _NULL_POINTER, _MISALIGNED  an array, config
 *         _OVERLAP                    two arrays
 *         _INVALID_LENGTH             n
 *         _INVALID_STEP               t
 *         _INVALID_CONFIG             config, an array that it does not ask for, or DOWNHILL_ISA in the
 *                                     environment
 *         or _PANIC
 */
";

const GROUP: &str = "
/** All floats, no copy, random rounding with seed 0, numbered by place, no bounds; config, count, tensors and t are to be set. */
DOWNHILL_INLINE downhill_group downhill_group_default(void) {
  downhill_group group;
  group.struct_size = sizeof group; group.tensor_size = sizeof(downhill_tensor);
  group.weight_type = group.gradient_type = group.state_type = DOWNHILL_TYPE_F32;
  group.copy_type = DOWNHILL_TYPE_NONE;
  group.rounding = DOWNHILL_ROUNDING_STOCHASTIC; group.numbering = DOWNHILL_NUMBERING_BY_PLACE;
  group.seed = group.t = 0; group.config = 0; group.count = 0; group.tensors = 0;
  group.clamp_low = group.clamp_high = 0.0;
  return group;
}
";

const EXTRAS: &str = "
/** Extras that do nothing. */
DOWNHILL_INLINE downhill_extras downhill_extras_default(void) {
  downhill_extras extras;
  extras.struct_size = sizeof extras; extras.flags = 0;
  extras.grad_scale = 1.0; extras.max_norm = 0.0; extras.norm_squared = 0.0;
  return extras;
}

/** A report to be written. */
DOWNHILL_INLINE downhill_report downhill_report_default(void) {
  downhill_report report;
  report.struct_size = sizeof report; report.skipped = 0;
  report.grad_norm = report.applied_scale = 0.0; report.tensors_updated = 0;
  report.group = report.tensor = report.element = SIZE_MAX;
  return report;
}
";

#[test]
fn the_committed_header_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/downhill.h");
    let generated = &*HEADER;
    if env::var_os("DOWNHILL_WRITE_HEADER").is_some() {
        fs::write(&path, generated).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == *generated,
        "include/downhill.h is stale; `DOWNHILL_WRITE_HEADER=1 cargo test -p downhill-capi header` \
         rewrites it"
    );
}

/// Made once, for all tests.
static HEADER: LazyLock<String> = LazyLock::new(generate);

fn generate() -> String {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(manifest.join("cbindgen.toml")).unwrap();
    let mut text = config.header.take().unwrap().trim_start().to_owned();
    let end = config.trailer.take().unwrap();
    for (number, Section { title, files, top, bottom }) in (1..).zip(sections()) {
        text += &format!("\n/* ======== {number}. {title} ======== */\n{top}");
        for file in files {
            let generated =
                lists_of_constants(&tight_comments(&filled_arguments(&generate_file(&file, &config))));
            text += &with_defaults(&text, generated.trim());
        }
        text += bottom;
    }
    text + &end
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file).with_extension("rs")
}

fn generate_file(file: &str, config: &cbindgen::Config) -> String {
    let rust = fs::read_to_string(source(file)).unwrap();
    // It would go on to the files of modules.
    let alone: String = rust.split_inclusive('\n').filter(|line| !is_module(line)).collect();
    let copy = env::temp_dir().join(format!("downhill-{}-{}.rs", process::id(), file.replace('/', "-")));
    fs::write(&copy, alone).unwrap();

    let mut config = config.clone();
    // Types that no function of their own file mentions are left out otherwise.
    let types = rust.lines().filter_map(|line| {
        let declaration = line.strip_prefix("pub type ").or(line.strip_prefix("pub struct "))?;
        declaration.split(' ').next().filter(|name| name.starts_with("downhill_")).map(str::to_owned)
    });
    config.export.include = types.collect();
    let mut text = Vec::new();
    cbindgen::Builder::new().with_config(config).with_src(&copy).generate().unwrap().write(&mut text);
    fs::remove_file(copy).unwrap();
    String::from_utf8(text).unwrap()
}

/// Is it the declaration of a file as a module?
fn is_module(line: &str) -> bool {
    line.contains("mod ") && line.trim_end().ends_with(';')
}

/// Functions with as many arguments in a line as fit: cbindgen gives each a line of its own where not
/// all fit, and what stands before the function, too.
fn filled_arguments(text: &str) -> String {
    let mut filled = String::new();
    let text = text.replace("DOWNHILL_API\n", "DOWNHILL_API ");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        filled += line;
        if line.contains('(') && line.ends_with(',') && !line.starts_with([' ', '*', '#']) {
            let mut end = line.len();
            for argument in lines.by_ref() {
                let argument = argument.trim();
                let separator = if end + 1 + argument.len() > LINE { "\n    " } else { " " };
                end = if separator == " " { end } else { 3 } + 1 + argument.len();
                filled += &format!("{separator}{argument}");
                if argument.ends_with(';') {
                    break;
                }
            }
        }
        filled += "\n";
    }
    filled
}

/// The longest line.
const LINE: usize = 105;

/// Comments that begin in their first line and end in their last.
fn tight_comments(text: &str) -> String {
    let mut result = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        result += line;
        if line.trim() == "/**" {
            result += " ";
            result += lines.next().expect("a comment says something").trim().trim_start_matches("* ");
            for line in lines.by_ref() {
                if line.trim() == "*/" {
                    result += " */";
                    break;
                }
                result += &format!("\n{line}");
            }
        }
        result += "\n";
    }
    result
}

/// No empty line between constants.
fn lists_of_constants(text: &str) -> String {
    let is_constant =
        |entry: &&str| entry.lines().last().is_some_and(|line| line.starts_with("#define "));
    let mut result = String::new();
    let mut was_constant = false;
    for entry in
        text.split("\n\n").map(|entry| entry.trim_matches('\n')).filter(|entry| !entry.is_empty())
    {
        let is_next = was_constant && is_constant(&entry);
        result += if is_next { "\n" } else { "\n\n" };
        result += entry;
        was_constant = is_constant(&entry);
    }
    result
}

// ---- defaults

/// What cbindgen made of a file, with the default functions of the rules whose steps are there in front
/// of these. `before` is the header so far.
fn with_defaults(before: &str, text: &str) -> String {
    let has_step = |rule: &&Rule| {
        text.contains(&format!("\nDOWNHILL_API downhill_status downhill_{}_step(", rule.name))
    };
    let mut functions = String::new();
    for rule in RULES.iter().filter(has_step) {
        functions += &default_function(rule, &structure(text), &format!("{before}{text}"));
    }
    if functions.is_empty() {
        return format!("\n{text}\n");
    }
    let step = text.find("\nDOWNHILL_API downhill_status ").expect("a rule has a step");
    let (types, steps) = text.split_at(text[..step].rfind("\n/**").expect("a step has a comment"));
    format!("\n{types}{functions}{steps}\n")
}

/// The only structure in a rule's file: its name without `downhill_`, and types and names of its fields.
struct Structure<'a> {
    name: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

fn structure(text: &str) -> Structure<'_> {
    let (_, rest) = text.split_once("typedef struct downhill_").expect("a rule has a structure");
    let (name, rest) = rest.split_once(" {\n").unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let fields = body.lines().filter_map(|line| line.trim().strip_suffix(';')?.split_once(' '));
    Structure { name, fields: fields.collect() }
}

fn default_function(rule: &Rule, structure: &Structure<'_>, header: &str) -> String {
    let Structure { name, fields } = structure;
    // Those of another rule with the same structure, but for what differs.
    let other = RULES.iter().find(|other| other.name == *name && other.tag != rule.tag);
    let start = other.map_or(String::new(), |other| format!(" = downhill_{}_default()", other.name));
    let others = other.map(|other| values(defaults(other), structure).collect::<Vec<_>>());
    let assignments = values(defaults(rule), structure)
        .zip(fields)
        .enumerate()
        .filter(|(k, (value, _))| others.as_ref().is_none_or(|others| others[*k] != *value))
        .map(|(_, (value, (_, field)))| format!("config.{field} = {};", value.in_c(field, header)));
    let assignments = filled(assignments);
    format!(
        "\n/** The defaults of downhill_{0}_step(). */\n\
         DOWNHILL_INLINE downhill_{name} downhill_{0}_default(void) {{\n  \
           downhill_{name} config{start};\n{assignments}  return config;\n}}\n",
        rule.name
    )
}

/// Statements, as many in a line as fit.
fn filled(statements: impl Iterator<Item = String>) -> String {
    let mut lines = vec![String::from(" ")];
    for statement in statements {
        let line = lines.last_mut().expect("there is one");
        if line.len() + 1 + statement.len() > LINE {
            lines.push(format!("  {statement}"));
        } else {
            *line += &format!(" {statement}");
        }
    }
    lines.join("\n") + "\n"
}

/// A field's default.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Integer(u32),
    Double(f64),
}

impl Value {
    /// As C code. Integers by the name of a constant that the header has, `DOWNHILL_<FIELD>_...`.
    fn in_c(self, field: &str, header: &str) -> String {
        match self {
            Self::Double(value) => format!("{value:?}"),
            Self::Integer(_) if field == "struct_size" => "sizeof config".to_owned(),
            Self::Integer(value) => {
                let prefix = format!("#define DOWNHILL_{}_", field.to_uppercase());
                let constant = header
                    .lines()
                    .filter(|line| line.starts_with(&prefix))
                    .find_map(|line| line["#define ".len()..].strip_suffix(&format!(" {value}")));
                constant.map_or(value.to_string(), str::to_owned)
            }
        }
    }
}

/// Room for a configuration of any rule.
type Words = [f64; MOST / 8];

fn defaults(rule: &Rule) -> Words {
    let mut config = [0.0; MOST / 8];
    // SAFETY: no configuration has more bytes, and these are aligned.
    unsafe { (rule.write_defaults)(config.as_mut_ptr().cast()) };
    config
}

/// The fields of a configuration.
fn values(config: Words, structure: &Structure<'_>) -> impl Iterator<Item = Value> {
    let bytes: Vec<u8> = config.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut at = 0;
    structure.fields.iter().map(move |&(c_type, _)| {
        let size = if c_type == "double" { 8 } else { 4 };
        let field = &bytes[at..at + size];
        at += size;
        match field.try_into() {
            Ok(word) => Value::Double(f64::from_ne_bytes(word)),
            Err(_) => Value::Integer(u32::from_ne_bytes(field.try_into().unwrap())),
        }
    })
}

/// Are the numbers of a configuration those that the crate's one has under the same names?
#[test]
fn a_field_is_the_crates_of_its_name() {
    let header = &*HEADER;
    for rule in &RULES {
        let function = format!(" downhill_{}_default(void)", rule.name);
        let (before, _) = header.split_once(&function).unwrap();
        let (_, name) = before.rsplit_once(' ').unwrap();
        let structure = structure(&header[header.find(&format!("typedef struct {name} {{")).unwrap()..]);
        // As they are, and each number another one.
        let mut config = defaults(rule);
        for others in [false, true] {
            for (k, word) in config.iter_mut().take(rule.size / 8).enumerate().skip(2) {
                *word = if others { k as f64 / 16.0 } else { *word };
            }
            // SAFETY: a configuration of this rule.
            let read = unsafe { read_any(config.as_ptr().cast()) }.ok().unwrap();
            let crates = format!("{:?}", read.optimizer());
            for (value, (_, field)) in values(config, &structure).zip(&structure.fields) {
                if let Value::Double(value) = value {
                    let said = format!("{field}: {value:?}");
                    assert!(crates.contains(&said), "{said} is not in {crates}");
                }
            }
        }
    }
}
