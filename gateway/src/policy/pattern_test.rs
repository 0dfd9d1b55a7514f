use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::policy::testing::{caller, context};

const BOTH: Syntax = Syntax { wildcards: true, variables: true };

fn matches(pattern: &str, text: &str) -> bool {
    with(pattern, text, &[])
}

fn with(pattern: &str, text: &str, values: &[(&'static str, &'static str)]) -> bool {
    let (principal, context) = (caller("anna"), context(values));
    let asked = Asked { principal: &principal, action: "", resource: "", context: &context };
    Pattern::parse(pattern, BOTH, false).unwrap().matches(text, &asked)
}

/// The plain meaning of a pattern, as slow as can be.
fn model(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => model(rest, text) || (!text.is_empty() && model(pattern, &text[1..])),
        (['?', rest @ ..], [_, left @ ..]) => model(rest, left),
        ([wanted, rest @ ..], [char, left @ ..]) => wanted == char && model(rest, left),
        _ => false,
    }
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Every text of these letters up to this length.
fn texts(letters: &[char], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_pattern_matches_what_the_plain_model_matches(pattern in "[abBé*?]{0,8}", text in "[abBé]{0,10}") {
        prop_assert_eq!(matches(&pattern, &text), model(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn case_is_ignored_where_it_is_to_be(pattern in "[abBéÉ*?]{0,8}", text in "[aAbBéÉ]{0,10}") {
        let (principal, context) = (caller("anna"), context(&[]));
        let asked = Asked { principal: &principal, action: "", resource: "", context: &context };
        let found = Pattern::parse(&pattern, BOTH, true).unwrap().matches(&text, &asked);
        let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
        prop_assert_eq!(found, model(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn what_may_match_is_what_some_text_matches(pattern in "[ab*?]{0,4}", start in "[ab]{0,4}") {
        let parsed = Pattern::parse(&pattern, BOTH, false).unwrap();
        prop_assert_eq!(parsed.may_match(&start), model(&chars(&pattern), &chars(&start)));
        let some = texts(&['a', 'b'], 4).iter().any(|end| model(&chars(&pattern), &chars(&format!("{start}{end}"))));
        prop_assert_eq!(parsed.may_match_from(&start), some);
    }

    #[test]
    fn no_text_is_too_odd_to_be_read(text in "\\PC{0,40}", dollars in "[${}'*?, a]{0,20}") {
        for text in [text, dollars] {
            let _ = Pattern::parse(&text, BOTH, false);
        }
    }
}

#[test]
fn hostile_patterns_are_judged_in_no_time() {
    let text = "a".repeat(8 << 10);
    let many = 4 << 10;
    for pattern in ["a*".repeat(many) + "b", "*a?".repeat(many) + "b", "*".repeat(many) + "?b", "?*".repeat(many) + "b"]
    {
        let parsed = Pattern::parse(&pattern, BOTH, false).unwrap();
        let started = Instant::now();
        for _ in 0..10 {
            let Pattern::Fixed(glob) = &parsed else { panic!("no variable stands in it") };
            assert!(!glob.matches(&text));
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

#[test]
fn a_policy_full_of_hostile_patterns_is_judged_in_no_time() {
    let text = "a".repeat(1 << 10);
    let pattern = format!("*{}?b*", "a".repeat(500));
    let glob = match Pattern::parse(&pattern, BOTH, false).unwrap() {
        Pattern::Fixed(glob) => glob,
        Pattern::Template { .. } => panic!("no variable stands in it"),
    };
    let started = Instant::now();
    // As many as go into the longest policy.
    for _ in 0..40 {
        assert!(!glob.matches(&text));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_variable_that_stands_often_takes_no_more_than_the_text_has_room_for() {
    let (principal, mut context) = (caller("anna"), context(&[]));
    context.push("a", "a".repeat(8 << 10));
    let asked = Asked { principal: &principal, action: "", resource: "", context: &context };
    let pattern = Pattern::parse(&"${a}".repeat(5_000), BOTH, false).unwrap();
    let started = Instant::now();
    for _ in 0..100 {
        assert!(!pattern.matches(&"a".repeat(16 << 10), &asked));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let twice = Pattern::parse("${a}${a}", BOTH, false).unwrap();
    assert!(twice.matches(&"a".repeat(16 << 10), &asked));
    assert!(!twice.matches(&"a".repeat((16 << 10) + 1), &asked));
}

#[test]
fn variables_stand_for_values() {
    type Values = [(&'static str, &'static str)];
    let table: [(&str, &str, &Values, bool); 21] = [
        ("home/${aws:username}/*", "home/anna/a", &[], true),
        ("home/${AWS:UserName}/*", "home/anna/a", &[], true),
        ("home/${aws:username}/*", "home/ben/a", &[], false),
        ("${a}-${b}", "1-2", &[("a", "1"), ("b", "2")], true),
        ("${a}", "*", &[("a", "*")], true),
        ("${a}", "b", &[("a", "*")], false),
        ("${a}", "", &[("a", "")], false),
        ("${a}", "1", &[("a", "1"), ("a", "2")], false),
        ("*${a}", "1", &[], false),
        ("${a, 'none'}", "none", &[], true),
        ("${a, 'none'}", "1", &[("a", "1")], true),
        ("${a, 'none'}", "none", &[("a", "1"), ("a", "2")], false),
        ("${a, ''}b", "b", &[], true),
        ("${a, '}'}b", "}b", &[], true),
        ("${a, '*'}", "b", &[], false),
        ("a${*}", "a*", &[], true),
        ("a${*}", "ab", &[], false),
        ("a${?}", "ab", &[], false),
        ("my${$}file", "my$file", &[], true),
        ("my$file", "my$file", &[], true),
        ("${aws:PrincipalTag/cost center}", "1", &[("aws:PrincipalTag/cost center", "1")], true),
    ];
    for (pattern, text, values, expected) in table {
        assert_eq!(with(pattern, text, values), expected, "{pattern} {text} {values:?}");
    }
}

#[test]
fn a_variable_that_is_none_is_refused() {
    for text in ["${", "${a", "a${a, 'b}", "${}", "${, 'a'}", "${a 'b'}", "${a'b'}", "${a${b}}", "${a, 'b}c", "${a*}"] {
        assert!(Pattern::parse(text, BOTH, false).is_err(), "{text}");
    }
    let plain = Syntax { wildcards: true, variables: false };
    for text in ["${", "${aws:username}"] {
        assert!(matches!(Pattern::parse(text, plain, false), Ok(Pattern::Fixed(_))), "{text}");
    }
}
