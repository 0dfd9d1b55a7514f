use std::cell::Cell;

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

fn holes(stretch: &str) -> Vec<Option<char>> {
    stretch.chars().map(|char| (char != '?').then_some(char)).collect()
}

/// The last character of the first place where the stretch is, by looking at each place.
fn naive_first_end(holes: &[Option<char>], ignore_case: bool, text: &[char]) -> Option<usize> {
    let is_here = |place: &[char]| place.iter().zip(holes).all(|(char, hole)| super::fills(*hole, *char, ignore_case));
    text.windows(holes.len()).position(is_here).map(|start| start + holes.len() - 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_stretch_is_found_where_looking_at_each_place_finds_it(
        stretch in "[abBé?]{1,6}",
        text in "[abABéÉ]{0,24}",
        ignore_case in any::<bool>(),
    ) {
        let (holes, text) = (holes(&stretch), chars(&text));
        let found = first_end(&holes, ignore_case, text.iter().copied());
        prop_assert_eq!(found, naive_first_end(&holes, ignore_case, &text));
    }

    /// Of more characters than go into one block, in a text that has it, or nearly.
    #[test]
    fn a_long_stretch_is_found_where_looking_at_each_place_finds_it(
        (unit, times) in ("[ab?]{1,3}", 20_usize..90),
        (end, filling) in ("[ab?]{0,2}", "[ab]"),
        (before, behind) in ("[ab]{0,70}", "[ab]{0,3}"),
        wrong in prop::option::of((0_usize..300, "[abc]")),
    ) {
        let stretch = unit.repeat(times) + &end;
        let mut text = chars(&format!("{before}{}{behind}", stretch.replace('?', &filling)));
        if let Some((at, char)) = wrong {
            let at = at % text.len();
            text[at] = chars(&char)[0];
        }
        let holes = holes(&stretch);
        prop_assert_eq!(first_end(&holes, false, text.iter().copied()), naive_first_end(&holes, false, &text));
    }

    #[test]
    fn characters_that_share_bytes_are_told_apart(stretch in "[aAŁ𐅁あ?]{1,3}", text in "[aAŁ𐅁あア]{0,8}") {
        let pattern = format!("*{stretch}*");
        prop_assert_eq!(matches(&pattern, &text), model(&chars(&pattern), &chars(&text)));
    }
}

#[test]
fn a_hostile_stretch_reads_the_text_once_for_each_64_of_its_characters() {
    let text = "a".repeat(8 << 10);
    for stretch in ["a".repeat(1_999) + "?b", "?".repeat(2_000) + "b", "a?".repeat(1_000) + "b", "?b".to_owned()] {
        let read = Cell::new(0);
        let counted = text.chars().inspect(|_| read.set(read.get() + 1));
        let holes = holes(&stretch);
        assert_eq!(first_end(&holes, false, counted), None);
        assert_eq!(read.get(), text.len() * holes.len().div_ceil(64), "{}", &stretch[..2]);
    }
}

#[test]
fn a_short_stretch_reads_no_further_than_its_first_place() {
    let read = Cell::new(0);
    let text = "a".repeat(8 << 10);
    let counted = text.chars().inspect(|_| read.set(read.get() + 1));
    assert_eq!(first_end(&holes("a?a"), false, counted), Some(2));
    assert_eq!(read.get(), 3);
}

#[test]
fn hostile_patterns_are_judged_as_others_are() {
    let text = "a".repeat(8 << 10);
    let many = 4 << 10;
    for (pattern, expected) in [
        ("a*".repeat(many) + "b", false),
        ("a*".repeat(2 * many), true),
        ("a*".repeat(2 * many) + "a", false),
        ("*a?".repeat(many) + "b", false),
        ("*a?".repeat(many), true),
        ("*".repeat(many) + "?b", false),
        ("?*".repeat(2 * many), true),
        ("?*".repeat(2 * many) + "?", false),
        (format!("*{}b*", "a".repeat(many)), false),
        (format!("*{}?b*", "a".repeat(many)), false),
        (format!("*{}?a*", "a".repeat(many)), true),
    ] {
        assert_eq!(matches(&pattern, &text), expected, "{}", &pattern[..4]);
    }
}

#[test]
fn a_variable_that_stands_often_takes_no_more_than_the_text_has_room_for() {
    let asked = Cell::new(0);
    let value = "a".repeat(8 << 10);
    let built = |pattern: &str, longest: usize| {
        asked.set(0);
        let value = |_: &Variable| {
            asked.set(asked.get() + 1);
            Some(value.clone())
        };
        atoms(&pieces(pattern, BOTH).unwrap(), longest, value).map(|atoms| atoms.len())
    };
    let (long, length) = ("${a}".repeat(5_000), 16 << 10);
    assert_eq!((built(&long, length), asked.get()), (None, 3), "the third has no room any more");
    assert_eq!((built("${a}*${a}", length), asked.get()), (Some(length + 1), 2));
    assert_eq!((built("${a}b${a}", length), asked.get()), (None, 2));
    assert_eq!((built("?${a}é", length - 4), asked.get()), (Some(2 + (8 << 10)), 1));
    assert_eq!((built(&("é".repeat(length / 2) + "?${a}"), length), asked.get()), (None, 0));
    let text = |length: usize| "a".repeat(length);
    let value: &'static str = value.clone().leak();
    assert!(with("${a}${a}", &text(length), &[("a", value)]));
    assert!(!with("${a}${a}", &text(length + 1), &[("a", value)]));
    assert!(!with("${a}${a}", &text(length - 1), &[("a", value)]));
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
