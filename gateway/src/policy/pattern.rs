//! Texts of a policy with `*`, `?` and variables in them, made ready once and matched many times.
//!
//! `*` is any number of characters, `?` is one. The stretches between two `*` are looked for from left to right, each at
//! the first place where it is, and none is looked for again: a match takes no more steps than the pattern is long times
//! the text is long, whatever both are.

use super::context::Asked;

/// One position of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Atom {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
}

/// One position of a pattern that may have variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Atom(Atom),
    Variable(Variable),
}

/// `${key}` or `${key, 'default'}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    /// In lower case: names of condition keys are the same in any case.
    key: Box<str>,
    default: Option<Box<str>>,
}

/// What stands for more than itself in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    /// `*` and `?`.
    pub wildcards: bool,
    /// `${key}`; not before version 2012-10-17.
    pub variables: bool,
}

/// Takes a text apart.
///
/// # Errors
/// A variable that does not end, or has no name.
pub(super) fn pieces(text: &str, syntax: Syntax) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if syntax.variables
            && let Some(opened) = rest.strip_prefix("${")
        {
            let (piece, after) = variable(opened)?;
            pieces.push(piece);
            rest = after;
            continue;
        }
        pieces.push(Piece::Atom(match next {
            '*' if syntax.wildcards => Atom::Many,
            '?' if syntax.wildcards => Atom::One,
            other => Atom::Char(other),
        }));
        rest = &rest[next.len_utf8()..];
    }
    Ok(pieces)
}

/// What stands behind `${`, and what stands behind its `}`.
fn variable(opened: &str) -> Result<(Piece, &str), String> {
    let endless = || "a variable starts with ${ and does not end with }".to_owned();
    let end = opened.find('}').ok_or_else(endless)?;
    let (name, default, after) = match opened[..end].split_once('\'') {
        None => (&opened[..end], None, &opened[end + 1..]),
        // A default may have braces in it: it ends with its quotation mark.
        Some((name, _)) => {
            let quoted = &opened[name.len() + 1..];
            let end = quoted.find("'}").ok_or_else(endless)?;
            let name = name.trim_end().strip_suffix(',').ok_or("a comma stands before the default of a variable")?;
            (name, Some(&quoted[..end]), &quoted[end + 2..])
        }
    };
    let piece = match (name, default) {
        ("*" | "?" | "$", None) => Piece::Atom(Atom::Char(name.chars().next().unwrap_or('$'))),
        ("", _) => return Err("a variable has no name".to_owned()),
        _ if name.chars().any(|char| char.is_control() || "${'*?".contains(char)) => {
            return Err(format!("{name:?} is no name of a variable"));
        }
        _ => Piece::Variable(Variable { key: name.to_ascii_lowercase().into(), default: default.map(Into::into) }),
    };
    Ok((piece, after))
}

/// A text that is matched.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    Fixed(Glob),
    /// With variables, whose values are known when it is asked.
    Template {
        pieces: Box<[Piece]>,
        ignore_case: bool,
    },
}

impl Pattern {
    pub(super) fn parse(text: &str, syntax: Syntax, ignore_case: bool) -> Result<Self, String> {
        Ok(Self::of(&pieces(text, syntax)?, ignore_case))
    }

    pub(super) fn of(pieces: &[Piece], ignore_case: bool) -> Self {
        match atoms(pieces, usize::MAX, |_| None) {
            Some(atoms) => Self::Fixed(Glob::of(&atoms, ignore_case)),
            None => Self::Template { pieces: pieces.into(), ignore_case },
        }
    }

    /// A variable without a value matches nothing; what a value has of `*` and `?` are characters like others.
    pub(super) fn matches(&self, text: &str, asked: &Asked) -> bool {
        match self {
            Self::Fixed(glob) => glob.matches(text),
            Self::Template { pieces, ignore_case } => atoms(pieces, text.len(), |variable| variable.value(asked))
                .is_some_and(|atoms| Glob::of(&atoms, *ignore_case).matches(text)),
        }
    }

    /// Whether one text only can match, and which is known by now.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(glob) if matches!(&*glob.stretches, [Stretch::Text(_)]))
    }

    /// The condition keys that the variables stand for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let pieces: &[Piece] = match self {
            Self::Fixed(_) => &[],
            Self::Template { pieces, .. } => pieces,
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(&*variable.key),
            Piece::Atom(_) => None,
        })
    }

    /// Whether some values of the variables make it match the text.
    pub(super) fn may_match(&self, text: &str) -> bool {
        self.reached(text).pop().unwrap_or(false)
    }

    /// Whether some values of the variables make it match some text that starts so.
    pub(super) fn may_match_from(&self, start: &str) -> bool {
        self.reached(start).contains(&true)
    }

    /// For each position in the pattern, and for its end, whether it can be reached with the whole text.
    fn reached(&self, text: &str) -> Vec<bool> {
        let atoms = match self {
            Self::Fixed(glob) => glob.atoms(),
            Self::Template { pieces, .. } => {
                let any = |piece: &Piece| if let Piece::Atom(atom) = piece { *atom } else { Atom::Many };
                pieces.iter().map(any).collect()
            }
        };
        let skip = |mut reached: Vec<bool>| {
            for (at, atom) in atoms.iter().enumerate() {
                if *atom == Atom::Many && reached[at] {
                    reached[at + 1] = true;
                }
            }
            reached
        };
        let mut reached = vec![false; atoms.len() + 1];
        reached[0] = true;
        text.chars().fold(skip(reached), |reached, char| {
            let mut next = vec![false; atoms.len() + 1];
            for (at, atom) in atoms.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match atom {
                    Atom::Many => next[at] = true,
                    Atom::One => next[at + 1] = true,
                    Atom::Char(wanted) => next[at + 1] |= *wanted == char,
                }
            }
            skip(next)
        })
    }
}

/// The pattern with the values in it. `None` where one of them is missing, or where they are longer than the text that
/// is to be matched: what a policy repeats costs no memory.
fn atoms(pieces: &[Piece], longest: usize, value: impl Fn(&Variable) -> Option<String>) -> Option<Vec<Atom>> {
    let mut atoms = Vec::with_capacity(pieces.len());
    let mut left = longest;
    for piece in pieces {
        match piece {
            Piece::Atom(atom) => atoms.push(*atom),
            Piece::Variable(variable) => {
                let value = value(variable)?;
                left = left.checked_sub(value.len())?;
                atoms.extend(value.chars().map(Atom::Char));
            }
        }
    }
    Some(atoms)
}

impl Variable {
    fn value(&self, asked: &Asked) -> Option<String> {
        asked.variable(&self.key).unwrap_or_else(|| self.default.as_deref().map(str::to_owned))
    }
}

/// A pattern without variables: the stretches between its `*`. There is always one; with two or more, the first stands
/// at the start of a text and the last at its end.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    stretches: Box<[Stretch]>,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Stretch {
    Text(Box<str>),
    /// With a `None` for each `?`.
    Holes(Box<[Option<char>]>),
}

impl Glob {
    fn of(atoms: &[Atom], ignore_case: bool) -> Self {
        let mut stretches: Vec<Stretch> = atoms.split(|atom| *atom == Atom::Many).map(Stretch::of).collect();
        let last = stretches.len() - 1;
        let mut at = 0;
        // `**` is `*`.
        stretches.retain(|stretch| {
            at += 1;
            at == 1 || at == last + 1 || !stretch.is_empty()
        });
        Self { stretches: stretches.into(), ignore_case }
    }

    /// Case is ignored for letters of ASCII only.
    pub(super) fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = &*self.stretches else { return false };
        let Some(mut left) = first.strip(text, self.ignore_case) else { return false };
        let [between @ .., last] = rest else { return left.is_empty() };
        for stretch in between {
            let Some(after) = stretch.skip_past(left, self.ignore_case) else { return false };
            left = after;
        }
        last.ends(left, self.ignore_case)
    }

    fn atoms(&self) -> Vec<Atom> {
        let mut atoms = Vec::new();
        for (at, stretch) in self.stretches.iter().enumerate() {
            if at > 0 {
                atoms.push(Atom::Many);
            }
            match stretch {
                Stretch::Text(text) => atoms.extend(text.chars().map(Atom::Char)),
                Stretch::Holes(holes) => atoms.extend(holes.iter().map(|hole| hole.map_or(Atom::One, Atom::Char))),
            }
        }
        atoms
    }
}

impl Stretch {
    fn of(atoms: &[Atom]) -> Self {
        let char = |atom: &Atom| if let Atom::Char(char) = atom { Some(*char) } else { None };
        match atoms.iter().map(char).collect::<Option<String>>() {
            Some(text) => Self::Text(text.into()),
            None => Self::Holes(atoms.iter().map(char).collect()),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    /// What is left of a text that starts with this.
    fn strip<'t>(&self, text: &'t str, ignore_case: bool) -> Option<&'t str> {
        match self {
            Self::Text(start) if !ignore_case => text.strip_prefix(&**start),
            Self::Text(start) => {
                let head = text.as_bytes().get(..start.len())?;
                head.eq_ignore_ascii_case(start.as_bytes()).then(|| &text[start.len()..])
            }
            Self::Holes(holes) => {
                let mut chars = text.chars();
                let all = holes.iter().all(|hole| chars.next().is_some_and(|char| fills(*hole, char, ignore_case)));
                all.then_some(chars.as_str())
            }
        }
    }

    /// What is left of a text behind the first place where this is.
    fn skip_past<'t>(&self, text: &'t str, ignore_case: bool) -> Option<&'t str> {
        match self {
            Self::Text(part) if !ignore_case => text.find(&**part).map(|at| &text[at + part.len()..]),
            Self::Text(_) | Self::Holes(_) => {
                text.char_indices().find_map(|(at, _)| self.strip(&text[at..], ignore_case))
            }
        }
    }

    fn ends(&self, text: &str, ignore_case: bool) -> bool {
        match self {
            Self::Text(end) if !ignore_case => text.ends_with(&**end),
            Self::Text(end) => {
                let tail = text.len().checked_sub(end.len()).and_then(|at| text.as_bytes().get(at..));
                tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
            }
            Self::Holes(holes) => {
                let mut chars = text.chars().rev();
                holes.iter().rev().all(|hole| chars.next().is_some_and(|char| fills(*hole, char, ignore_case)))
            }
        }
    }
}

fn fills(hole: Option<char>, char: char, ignore_case: bool) -> bool {
    hole.is_none_or(|wanted| wanted == char || (ignore_case && wanted.eq_ignore_ascii_case(&char)))
}

#[cfg(test)]
#[path = "pattern_test.rs"]
mod tests;
