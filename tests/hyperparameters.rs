//! The list of all rules, and their hyper-parameters by name.

mod common;

use std::collections::HashSet;

use common::{Rule, every_option, is_accepted, options_of, with};
use downhill::{Adam, Error, Optimizer, Range, rules};

fn names(rule: &Rule) -> Vec<&'static str> {
    rule.hyperparameters().iter().map(|parameter| parameter.name).collect()
}

#[test]
fn every_rule_is_listed_once_and_accepts_its_defaults() {
    let listed: HashSet<_> = rules().iter().map(|rule| rule.name()).collect();
    assert_eq!(listed.len(), rules().len());
    assert!(rules().iter().all(is_accepted));
}

/// Field by field, as `Debug` prints a configuration: all are there, in order, and under their own
/// names.
#[test]
fn every_field_has_its_name() {
    for rule in rules() {
        let printed = format!("{rule:?}");
        let fields: Vec<&str> = printed
            .split([',', '{'])
            .filter_map(|part| part.split_once(':'))
            .map(|(name, _)| name.trim())
            .collect();
        assert_eq!(fields, names(&rule), "{printed}");
    }
}

/// A value goes where its name says, and nowhere else.
#[test]
fn what_is_set_is_there() {
    for rule in rules() {
        for parameter in rule.hyperparameters() {
            let values = match parameter.range {
                Range::OneOf(names) => (0..names.len()).map(|place| place as f64).collect(),
                _ => vec![0.0, 0.625, 1e300, -1.0],
            };
            for value in values {
                let mut expected = rule.hyperparameters();
                let place = expected.iter().position(|other| other.name == parameter.name);
                expected[place.unwrap()].value = value;
                let changed = with(&rule, parameter.name, value);
                assert_eq!(changed.hyperparameters(), expected);
                assert_eq!(changed.name(), rule.name());
                let printed = match parameter.range {
                    Range::OneOf(names) => names[value as usize].to_owned(),
                    _ => format!("{}: {value:?}", parameter.name),
                };
                let debug = format!("{changed:?}").to_lowercase();
                assert!(debug.contains(&printed), "{debug}: {printed}");
            }
        }
    }
}

#[test]
fn a_wrong_name_or_choice_is_refused() {
    for mut rule in rules() {
        let (before, all) = (format!("{rule:?}"), names(&rule).join(", "));
        let error = rule.set("beta3", 0.5).unwrap_err();
        let text = format!("`beta3` is no hyper-parameter of {}, which has {all}", rule.name());
        assert_eq!(error.to_string(), text);
        for parameter in rule.hyperparameters() {
            let Range::OneOf(names) = parameter.range else { continue };
            for value in [-1.0, 0.5, names.len() as f64, f64::NAN, f64::INFINITY] {
                let error = rule.set(parameter.name, value).unwrap_err();
                assert!(
                    matches!(error, Error::Hyperparameter { argument, .. } if argument == parameter.name)
                );
                assert!(error.to_string().starts_with(&format!("`{}` is {value:?}; ", parameter.name)));
            }
        }
        assert_eq!(format!("{rule:?}"), before);
    }
}

#[test]
fn texts_are_parsed() {
    assert_eq!(Range::BelowOne.parse("0.9"), Some(0.9));
    assert_eq!(Range::UpToOne.parse("nine"), None);
    for parameter in rules().iter().flat_map(|rule| rule.hyperparameters()) {
        if let Range::OneOf(names) = parameter.range {
            for (place, name) in names.iter().enumerate() {
                assert_eq!(parameter.range.parse(name), Some(place as f64));
            }
            assert_eq!(parameter.range.parse("0"), None);
        }
    }
}

#[test]
fn a_copy_is_a_configuration_of_its_own() {
    let mut adam = Adam::default();
    let copy: Rule = Rule::from(adam).clone();
    adam.set("lr", 0.5).unwrap();
    assert_eq!((adam.lr, copy.hyperparameters()[0].value), (0.5, 1e-3));
}

/// Each choice, each state that is there or not, and decay of both kinds come up in the lists of the
/// tests.
#[test]
fn every_option_is_among_all_options() {
    for rule in rules() {
        let all = options_of(&rule);
        for parameter in rule.hyperparameters() {
            let values: HashSet<u64> = all
                .iter()
                .flat_map(|rule| rule.hyperparameters())
                .filter(|other| other.name == parameter.name)
                .map(|other| other.value.to_bits())
                .collect();
            match parameter.range {
                Range::OneOf(names) => assert_eq!(values.len(), names.len(), "{rule:?} {parameter:?}"),
                _ if parameter.value == 0.0 => assert_eq!(values.len(), 2, "{rule:?} {parameter:?}"),
                _ => assert!(!values.contains(&parameter.value.to_bits()), "{rule:?} {parameter:?}"),
            }
        }
    }
    let layouts = |rule: &Rule| -> HashSet<_> {
        options_of(rule)
            .iter()
            .map(|rule| rule.states().iter().map(|s| s.name).collect::<Vec<_>>())
            .collect()
    };
    let several: Vec<_> = rules().iter().map(|rule| layouts(rule).len()).filter(|&n| n > 1).collect();
    assert_eq!(several, [4, 2, 2], "RMSprop has four layouts, Adam and AdamW two");
    println!("{} configurations", every_option().len());
}
