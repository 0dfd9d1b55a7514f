//! What makes a document well formed, beyond what the parser looks at by itself. Pure.
//!
//! Source: Extensible Markup Language (XML) 1.0, fifth edition; the numbers are those of its productions.

/// More attributes no element may have; S3's own inputs need two.
const MAX_ATTRIBUTES: usize = 64;

/// White space (3): these four characters and no others, whatever else Unicode calls so.
pub(super) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// A text without the white space around it.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// A name (5).
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(begins_name) && text.chars().all(|character| begins_name(character) || continues_name(character))
}

fn begins_name(character: char) -> bool {
    matches!(character,
        ':' | '_' | 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn continues_name(character: char) -> bool {
    matches!(character, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Character data (14), between references.
pub(super) fn is_text(text: &str) -> bool {
    !text.contains("]]>")
}

/// What stands between `<!--` and `-->` (15).
pub(super) fn is_comment(text: &str) -> bool {
    !text.contains("--") && !text.ends_with('-')
}

/// What stands between `<?` and `?>` of an instruction (16). Its target is not `xml`, in whichever case.
pub(super) fn is_instruction(content: &str) -> bool {
    let target = content.split(is_blank).next().unwrap_or_default();
    is_name(target) && !target.eq_ignore_ascii_case("xml")
}

/// What stands between `<?` and `?>` of the declaration (23).
pub(super) fn is_declaration(content: &str) -> bool {
    let Some(found) = content.strip_prefix("xml").and_then(attributes) else { return false };
    let is_version = |text: &str| {
        let minor = text.strip_prefix("1.").unwrap_or_default();
        !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit())
    };
    match found[..] {
        [("version", version)] | [("version", version), ("encoding", _)] => is_version(version),
        [("version", version), ("standalone", alone)]
        | [("version", version), ("encoding", _), ("standalone", alone)] => {
            is_version(version) && matches!(alone, "yes" | "no")
        }
        _ => false,
    }
}

/// The attributes of a start tag (40, 41), as they are written, from behind its name to its end. `None` where they are
/// not well formed, one is there twice, or they are too many.
pub(super) fn attributes(content: &str) -> Option<Vec<(&str, &str)>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut rest = content;
    loop {
        let next = rest.trim_start_matches(is_blank);
        if next.is_empty() {
            return Some(found);
        }
        let (name, value) = next.split_once('=')?;
        let name = name.trim_end_matches(is_blank);
        let value = value.trim_start_matches(is_blank);
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, after) = value.get(1..)?.split_once(quote)?;
        let is_new = found.iter().all(|(known, _)| *known != name);
        let is_full = found.len() == MAX_ATTRIBUTES;
        if next.len() == rest.len() || !is_name(name) || !is_value(value) || !is_new || is_full {
            return None;
        }
        found.push((name, value));
        rest = after;
    }
}

/// The value of an attribute (10): no `<`, and of `&` references only.
fn is_value(value: &str) -> bool {
    let mut pieces = value.split('&');
    pieces.next();
    !value.contains('<') && pieces.all(|piece| piece.split_once(';').is_some_and(|(name, _)| resolve(name).is_some()))
}

/// The character of a reference (66), or of one of the five entities that XML itself defines. A reference may name any
/// character but U+0000: it is how a key can be named in a DeleteObjects that XML cannot carry as it is (User Guide,
/// "Naming Amazon S3 objects", XML related object key constraints).
pub(super) fn resolve(reference: &str) -> Option<char> {
    let number = |digits: &str, radix| {
        let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        let number = is_number.then(|| u32::from_str_radix(digits, radix).ok())??;
        char::from_u32(number).filter(|character| *character != '\0')
    };
    match (reference, reference.strip_prefix('#')) {
        (_, Some(decimal)) => match decimal.strip_prefix('x') {
            Some(hexadecimal) => number(hexadecimal, 16),
            None => number(decimal, 10),
        },
        ("amp", _) => Some('&'),
        ("lt", _) => Some('<'),
        ("gt", _) => Some('>'),
        ("quot", _) => Some('"'),
        ("apos", _) => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_those_of_xml() {
        assert_eq!(trim(" \t\r\n a \n"), "a");
        for other in ['\u{a0}', '\u{85}', '\u{2028}', '\u{3000}', '\u{feff}', '\u{b}', '\u{c}'] {
            let text = format!("{other}a{other}");
            assert_eq!(trim(&text), text);
        }
    }

    #[test]
    fn a_name_does_not_begin_with_everything_that_it_may_hold() {
        for name in ["a", "_a-b.c1", "s3:Key", ":", "ü", "名"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1", "-a", ".a", "a b", "a/", "a=", "a\u{a0}", "\u{300}", "a<", "a\"", "×"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn attributes_have_a_name_and_a_quoted_value_and_are_there_once() {
        assert_eq!(attributes(""), Some(vec![]));
        assert_eq!(attributes(" \n"), Some(vec![]));
        let found = attributes(" a=\"1>'\"\n\tb = '&lt;&#65;\"' ");
        assert_eq!(found, Some(vec![("a", "1>'"), ("b", "&lt;&#65;\"")]));
        for content in [
            "a='1'",
            " a",
            " a=",
            " a=1",
            " ='1'",
            " a='1",
            " a=\"1'",
            " a='1'b='2'",
            " a='1' a='2'",
            " a='<'",
            " a='&'",
            " a='&b;'",
            " a='&lt'",
            " a='&#0;'",
            " 1='a'",
            " a='1' /",
            "\u{a0}a='1'",
            " a\u{a0}='1'",
        ] {
            assert_eq!(attributes(content), None, "{content}");
        }
        let many = |count| (0..count).map(|number| format!(" a{number}=''")).collect::<String>();
        assert_eq!(attributes(&many(64)).unwrap().len(), 64);
        assert_eq!(attributes(&many(65)), None);
    }

    #[test]
    fn a_reference_is_a_number_or_one_of_five() {
        for (reference, character) in
            [("#65", 'A'), ("#x41", 'A'), ("#x00041", 'A'), ("#xfF", 'ÿ'), ("#1", '\u{1}'), ("amp", '&'), ("quot", '"')]
        {
            assert_eq!(resolve(reference), Some(character), "{reference}");
        }
        for reference in
            ["", "#", "#x", "#X41", "#+65", "#x+41", "#0", "#xd800", "#x110000", "#99999999999", "AMP", "b"]
        {
            assert_eq!(resolve(reference), None, "{reference}");
        }
    }

    #[test]
    fn a_declaration_says_its_version_then_its_encoding_then_whether_it_stands_alone() {
        for content in [
            "xml version='1.0'",
            "xml version=\"1.1\" encoding='x' ",
            "xml version='1.0' standalone='yes'",
            "xml version='1.0' encoding='UTF-8' standalone=\"no\"",
        ] {
            assert!(is_declaration(content), "{content}");
        }
        for content in [
            "xml",
            "xml ",
            "xml encoding='UTF-8'",
            "xml version='2.0'",
            "xml version='1.'",
            "xml version='1.0",
            "xml version='1.0' standalone='maybe'",
            "xml encoding='UTF-8' version='1.0'",
            "xml version='1.0' a='b'",
            "xml version='1.0' version='1.0'",
            "XML version='1.0'",
            "xmlversion='1.0'",
        ] {
            assert!(!is_declaration(content), "{content}");
        }
    }
}
