//! Every rule is in each place that has to name it, in the order of the list, and what is said there of
//! it is so.

mod common;

use std::{collections::BTreeSet, fs, path::Path};

use common::{Rule, options_of};
use downhill::{Optimizer, Range, RowwiseAdagrad, rules};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn names() -> Vec<&'static str> {
    rules().iter().map(|rule| rule.name()).collect()
}

/// The cells of the rows of a table's first column and the others, of the table under these headings.
fn table(document: &str, headings: &str) -> Vec<Vec<String>> {
    let text = read(document);
    let rows = text.lines().skip_while(|line| !line.starts_with(headings)).skip(2);
    let rows: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "{document} has no table {headings}");
    rows
}

/// The words of code in a text.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What the files of `src/rules` implement.
#[test]
fn the_list_has_every_rule_that_there_is() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    let mut implemented = BTreeSet::new();
    for entry in fs::read_dir(directory).expect("the rules") {
        let text = fs::read_to_string(entry.expect("a file").path()).expect("UTF-8");
        let constants = text.split("const NAME: &'static str = \"").skip(1);
        implemented.extend(constants.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    assert_eq!(implemented, names().into_iter().map(str::to_owned).collect());
}

/// The names of all rules in the order of their tags, with the one that is not in the list of all, whose
/// states are not as long as the weights. Its tag is 16.
fn with_rowwise() -> Vec<&'static str> {
    let mut names = names();
    names.insert(15, RowwiseAdagrad::default().name());
    names
}

#[test]
fn the_header_has_every_rule_and_its_tag() {
    let header = read("include/downhill.h");
    let names = with_rowwise();
    for (place, name) in names.iter().enumerate() {
        let tag = format!("#define DOWNHILL_RULE_{} {}\n", name.to_uppercase(), place + 1);
        for text in [
            &tag[..],
            &format!("downhill_status downhill_{name}_step("),
            &format!("downhill_{name}_default(void)"),
        ] {
            assert!(header.contains(text), "downhill.h lacks {text}");
        }
    }
    assert_eq!(header.matches("#define DOWNHILL_RULE_").count(), names.len());
    let cpp = read("include/downhill.hpp");
    for name in names {
        assert!(cpp.contains(&format!("downhill_{name}_step>")), "downhill.hpp lacks {name}");
    }
}

#[test]
fn the_readme_has_every_rule() {
    let rows = table("README.md", "| rule | step | states |");
    let steps: Vec<_> = rows.iter().map(|row| row[1].clone()).collect();
    assert_eq!(steps, names().iter().map(|name| format!("`{name}_step`")).collect::<Vec<_>>());
}

/// All states of all options, in order.
fn all_states(rule: &Rule) -> Vec<&'static str> {
    let options = options_of(rule);
    let most = options.iter().max_by_key(|rule| rule.states().len()).expect("an option");
    most.states().iter().map(|state| state.name).collect()
}

#[test]
fn the_page_of_the_c_interface_has_every_rule() {
    let rows = table("docs/c-api.md", "| rule R | tag |");
    let all: Vec<_> = with_rowwise().iter().map(|name| format!("`{name}`")).collect();
    assert_eq!(rows.iter().map(|row| &row[0]).collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    assert_eq!(code(&rows.last().unwrap()[2]), ["s"]);
    for (place, (row, rule)) in rows.iter().zip(rules()).enumerate() {
        assert_eq!(row[1], (place + 1).to_string());
        assert_eq!(code(&row[2]), all_states(&rule), "{}", rule.name());
        let mut arrays = common::Arrays::new(&*rule, 1, || 0.5);
        let counts = arrays.try_step(&*rule, None, 0, 0, 1).is_err();
        assert_eq!(row[3] == "yes", counts, "does {} count steps?", rule.name());
    }
}

#[test]
fn the_page_of_the_rules_has_every_rule_and_its_defaults() {
    let formulas = table("docs/rules.md", "| step | states | formula |");
    let steps: Vec<_> = formulas.iter().map(|row| row[0].clone()).collect();
    assert_eq!(steps, names().iter().map(|name| format!("`{name}_step`")).collect::<Vec<_>>());

    let defaults = table("docs/rules.md", "| rule | defaults | notes |");
    assert_eq!(defaults.iter().map(|row| &row[0][..]).collect::<Vec<_>>(), names());
    for (row, rule) in defaults.iter().zip(rules()) {
        let parameters = rule.hyperparameters();
        // A name, a symbol if it has one, and the value.
        let told: Vec<(&str, &str)> = row[1]
            .split(", ")
            .filter(|part| part.starts_with('`'))
            .map(|part| (code(part)[0], part.rsplit(' ').next().expect("a value")))
            .collect();
        for (name, value) in &told {
            let one = parameters.iter().find(|one| one.name == *name).expect(name);
            assert_eq!(one.range.parse(value), Some(one.value), "{}: {name}", rule.name());
        }
        // Those of all rules are said once, and those of Adam.
        let is_told = |name: &str| told.iter().any(|told| told.0 == name);
        let all = parameters.iter().filter(|one| !["weight_decay", "decay"].contains(&one.name));
        assert!(row[1].starts_with("as ") || all.clone().all(|one| is_told(one.name)), "{}", row[1]);
    }

    let papers = table("docs/rules.md", "| rule | paper |");
    let with_papers: Vec<String> =
        papers.iter().flat_map(|row| row[0].split(", ").map(str::to_owned)).collect();
    for name in names() {
        assert!(with_papers.iter().any(|one| one == name), "docs/rules.md has no paper of {name}");
    }
}

/// The sentence with all ranges, "`momentum`, ... are at least 0 and below 1; `dampening`, ... from 0 to
/// 1; `lr` of `ftrl` above 0; all others at least 0".
#[test]
fn the_page_of_the_rules_has_every_range() {
    let text = read("docs/rules.md").replace('\n', " ");
    let (before, _) = text.split_once("; all others at least 0.").expect("the ranges");
    let (below_one, up_to_one) =
        before.rsplit_once(" are at least 0 and below 1; ").expect("the ranges");
    let (up_to_one, positive) = up_to_one.split_once(" from 0 to 1; ").expect("the ranges");
    let below_one = below_one.rsplit_once("  ").expect("a paragraph").1;
    for rule in rules() {
        for one in rule.hyperparameters() {
            let expected = match one.range {
                Range::OneOf(_) => continue,
                _ if code(positive) == [one.name, rule.name()] => Range::Positive,
                _ if code(below_one).contains(&one.name) => Range::BelowOne,
                _ if code(up_to_one).contains(&one.name) => Range::UpToOne,
                _ => Range::NonNegative,
            };
            assert_eq!(one.range, expected, "{}: {}", rule.name(), one.name);
        }
    }
    assert!(code(below_one).len() > 1 && code(up_to_one).len() > 1);
}

/// The C tests of rules are all made from one table.
#[test]
fn the_c_tests_have_every_rule() {
    let table = read("ffi-tests/c/rules.h");
    for name in names() {
        assert!(table.contains(&format!("{{RULE({name}, ")), "ffi-tests/c/rules.h lacks {name}");
    }
}
