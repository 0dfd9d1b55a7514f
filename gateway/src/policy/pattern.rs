//! Texts of a policy with `*`, `?` and variables in them, made ready once and matched many times.
//!
//! `*` is any number of characters, `?` is one. The stretches between two `*` are looked for from left to right, each at
//! the first place where it is, and none is looked for again.
//!
//! What a match costs, whatever the pattern and the text are:
//!
//! - The ends of a pattern, and the stretches without `?`, take time in proportion to pattern and text together.
//! - A stretch between two `*` that has a `?`, or for which case is ignored, reads what is left of the text once for each
//!   64 of its characters, or fewer that are left: never more steps than pattern times text by 64, and once the text.
//! - What variables stand for makes a pattern no longer than it is written and the text is long, together.
//!
//! A question costs that for each of the patterns that it is held against. [`super::MAX_LEN`] bounds these; who asks
//! bounds the texts.

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

impl Atom {
    fn of(char: char) -> Self {
        match char {
            '*' => Self::Many,
            '?' => Self::One,
            other => Self::Char(other),
        }
    }

    /// How many bytes of a text it takes, at least.
    fn len(self) -> usize {
        match self {
            Self::Char(char) => char.len_utf8(),
            Self::One => 1,
            Self::Many => 0,
        }
    }
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
        pieces.push(Piece::Atom(if syntax.wildcards { Atom::of(next) } else { Atom::Char(next) }));
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
        matches!(self, Self::Fixed(glob) if glob.is_fixed())
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
        let (atoms, ignore_case) = match self {
            Self::Fixed(glob) => (glob.atoms(), glob.ignore_case),
            Self::Template { pieces, ignore_case } => {
                let any = |piece: &Piece| if let Piece::Atom(atom) = piece { *atom } else { Atom::Many };
                (pieces.iter().map(any).collect(), *ignore_case)
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
                    Atom::Char(wanted) => next[at + 1] |= fills(Some(*wanted), char, ignore_case),
                }
            }
            skip(next)
        })
    }
}

/// The pattern with the values in it. `None` where one of them is missing, or where what must be in a text is longer than
/// `longest`, the text that is to be matched: what a policy repeats costs no memory.
fn atoms(pieces: &[Piece], longest: usize, value: impl Fn(&Variable) -> Option<String>) -> Option<Vec<Atom>> {
    let mut atoms = Vec::new();
    let mut left = longest;
    for piece in pieces {
        match piece {
            Piece::Atom(atom) => {
                left = left.checked_sub(atom.len())?;
                atoms.push(*atom);
            }
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
    /// With a `None` for each `?`; also where case is ignored.
    Holes(Box<[Option<char>]>),
}

impl Glob {
    /// Of a text with wildcards and without variables.
    pub(super) fn parse(text: &str, ignore_case: bool) -> Self {
        Self::of(&text.chars().map(Atom::of).collect::<Vec<_>>(), ignore_case)
    }

    fn of(atoms: &[Atom], ignore_case: bool) -> Self {
        let stretches = atoms.split(|atom| *atom == Atom::Many);
        let mut stretches: Vec<Stretch> = stretches.map(|atoms| Stretch::of(atoms, ignore_case)).collect();
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

    /// Whether it has neither `*` nor `?`.
    fn is_fixed(&self) -> bool {
        match &*self.stretches {
            [Stretch::Text(_)] => true,
            [Stretch::Holes(holes)] => holes.iter().all(Option::is_some),
            _ => false,
        }
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
    fn of(atoms: &[Atom], ignore_case: bool) -> Self {
        let holes = || atoms.iter().map(|atom| if let Atom::Char(char) = atom { Some(*char) } else { None });
        match holes().collect::<Option<String>>() {
            Some(text) if !ignore_case => Self::Text(text.into()),
            _ => Self::Holes(holes().collect()),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Holes(holes) => holes.is_empty(),
        }
    }

    /// What is left of a text that starts with this.
    fn strip<'t>(&self, text: &'t str, ignore_case: bool) -> Option<&'t str> {
        match self {
            Self::Text(start) => text.strip_prefix(&**start),
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
            // The standard library's search (Two-Way) takes linear time.
            Self::Text(part) => text.find(&**part).map(|at| &text[at + part.len()..]),
            Self::Holes(holes) if holes.len() > text.len() => None,
            Self::Holes(holes) => {
                let last = first_end(holes, ignore_case, text.chars())?;
                let mut chars = text.chars();
                chars.nth(last)?;
                Some(chars.as_str())
            }
        }
    }

    fn ends(&self, text: &str, ignore_case: bool) -> bool {
        match self {
            Self::Text(end) => text.ends_with(&**end),
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

/// The last character of the first place in the text where this stretch is, counted from 0.
///
/// Shift-And (Baeza-Yates and Gonnet, 1992), by blocks that go into a machine word, one after the other.
fn first_end(holes: &[Option<char>], ignore_case: bool, text: impl Iterator<Item = char> + Clone) -> Option<usize> {
    let mut blocks = holes.chunks(Block::LONGEST);
    let last = Block::of(blocks.next_back()?, ignore_case);
    let mut starts: Option<Vec<bool>> = None;
    for block in blocks {
        starts = Some(Block::of(block, ignore_case).ends(starts.as_deref(), text.clone()).collect());
    }
    last.ends(starts.as_deref(), text).position(|end| end)
}

/// A few characters of a stretch.
struct Block {
    len: usize,
    /// For each byte of a character, and each value of it, a bit for each position that this byte suits.
    suits: [[u64; 256]; 3],
}

impl Block {
    const LONGEST: usize = u64::BITS as usize;

    fn of(holes: &[Option<char>], ignore_case: bool) -> Self {
        let at_each = || holes.iter().enumerate().map(|(at, hole)| (1 << at, *hole));
        let suits_all = at_each().filter(|(_, hole)| hole.is_none()).fold(0, |bits, (bit, _)| bits | bit);
        let mut suits = [[suits_all; 256]; 3];
        for (bit, char) in at_each().filter_map(|(bit, hole)| Some((bit, hole?))) {
            // Both cases of a letter of ASCII differ in one byte.
            let other_case = match char {
                char if !ignore_case => char,
                char if char.is_ascii_lowercase() => char.to_ascii_uppercase(),
                char => char.to_ascii_lowercase(),
            };
            for char in [char, other_case] {
                for (suits, byte) in suits.iter_mut().zip(u32::from(char).to_le_bytes()) {
                    suits[usize::from(byte)] |= bit;
                }
            }
        }
        Self { len: holes.len(), suits }
    }

    /// For each character of the text, whether the block is there and ends with it. It may start behind each character
    /// that `starts` has `true` for; everywhere where there are none.
    fn ends(&self, starts: Option<&[bool]>, text: impl Iterator<Item = char>) -> impl Iterator<Item = bool> {
        // A bit for each position of the block that has been reached.
        let mut reached = 0_u64;
        text.enumerate().map(move |(at, char)| {
            let start = starts.is_none_or(|starts| at > 0 && starts.get(at - 1) == Some(&true));
            reached = (reached << 1) | u64::from(start);
            for (suits, byte) in self.suits.iter().zip(u32::from(char).to_le_bytes()) {
                reached &= suits[usize::from(byte)];
            }
            reached >> (self.len - 1) & 1 == 1
        })
    }
}

#[cfg(test)]
#[path = "pattern_test.rs"]
mod tests;
