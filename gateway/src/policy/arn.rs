//! Patterns of ARNs: `arn:partition:service:region:account:resource`. The parts are matched each for itself, so that a
//! `*` in one reaches over no colon into the next; the resource has the colons that are left.

use super::context::Asked;
use super::pattern::{Atom, Pattern, Piece, Syntax, pieces};

/// How many parts stand before the resource.
const HEAD: usize = 5;

#[derive(Debug, Clone)]
pub(super) enum ArnPattern {
    /// `*`
    Any,
    /// Five plain parts, as nearly all have them, with their colons.
    Plain {
        head: Box<str>,
        resource: Pattern,
    },
    Parts {
        head: Box<[Pattern; HEAD]>,
        resource: Pattern,
    },
}

impl ArnPattern {
    /// # Errors
    /// What is neither `*` nor has six parts, the first of them `arn` and the last not empty.
    pub(super) fn parse(text: &str, variables: bool) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let pieces = pieces(text, Syntax { wildcards: true, variables })?;
        let colon = |piece: &Piece| *piece == Piece::Atom(Atom::Char(':'));
        let mut parts = pieces.splitn(HEAD + 1, colon);
        let head = [(); HEAD].map(|()| parts.next().unwrap_or_default());
        let resource = parts.next().unwrap_or_default();
        if plain(head[0]).as_deref() != Some("arn") || resource.is_empty() {
            return Err(format!("{text:?} is no ARN (arn:partition:service:region:account:resource)"));
        }
        let resource = Pattern::of(resource, false);
        let plain: Option<String> = head.iter().map(|part| plain(part).map(|part| part + ":")).collect();
        Ok(match plain {
            Some(head) => Self::Plain { head: head.into(), resource },
            None => Self::Parts { head: Box::new(head.map(|part| Pattern::of(part, false))), resource },
        })
    }

    /// As [`Self::parse`], for the element Resource: no variable stands before the resource, and the service is named.
    pub(super) fn parse_resource(text: &str, variables: bool) -> Result<Self, String> {
        let arn = Self::parse(text, variables)?;
        if let Self::Parts { head, .. } = &arn {
            if head.iter().any(|part| part.keys().next().is_some()) {
                return Err(format!("{text:?} has a variable before its last part"));
            }
            if !head[2].is_fixed() {
                return Err(format!("{text:?} names its service with a wildcard"));
            }
        }
        Ok(arn)
    }

    pub(super) fn matches(&self, arn: &str, asked: &Asked) -> bool {
        match self {
            Self::Any => true,
            Self::Plain { head, resource } => {
                arn.strip_prefix(&**head).is_some_and(|rest| resource.matches(rest, asked))
            }
            Self::Parts { head, resource } => {
                let mut parts = arn.splitn(HEAD + 1, ':');
                head.iter()
                    .chain([resource])
                    .all(|pattern| parts.next().is_some_and(|part| pattern.matches(part, asked)))
            }
        }
    }

    /// Whether one ARN only can match, and which is known by now.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Plain { resource, .. } if resource.is_fixed())
    }

    /// Whether it is of one account, which is known by now.
    pub(super) fn has_fixed_account(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Plain { head, .. } => !head.ends_with("::"),
            Self::Parts { head, .. } => head[4].is_fixed() && !head[4].may_match(""),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let (head, resource): (&[Pattern], _) = match self {
            Self::Any => (&[], None),
            Self::Plain { resource, .. } => (&[], Some(resource)),
            Self::Parts { head, resource } => (&**head, Some(resource)),
        };
        head.iter().chain(resource).flat_map(Pattern::keys)
    }

    /// Whether some values of the variables make it match this bucket.
    pub(super) fn may_match_bucket(&self, bucket: &str) -> bool {
        self.of_s3().is_some_and(|resource| resource.is_none_or(|resource| resource.may_match(bucket)))
    }

    /// Whether some values of the variables make it match some key of this bucket.
    pub(super) fn may_match_key_of(&self, bucket: &str) -> bool {
        let start = format!("{bucket}/");
        self.of_s3().is_some_and(|resource| resource.is_none_or(|resource| resource.may_match_from(&start)))
    }

    /// Its resource, where it can be of S3; `Some(None)` is any.
    fn of_s3(&self) -> Option<Option<&Pattern>> {
        const S3: [&str; HEAD] = ["arn", "aws", "s3", "", ""];
        match self {
            Self::Any => Some(None),
            Self::Plain { head, resource } => (&**head == "arn:aws:s3:::").then_some(Some(resource)),
            Self::Parts { head, resource } => {
                let all = head.iter().zip(S3).all(|(pattern, part)| pattern.may_match(part));
                all.then_some(Some(resource))
            }
        }
    }
}

/// The text of a part that has no wildcard and no variable.
fn plain(part: &[Piece]) -> Option<String> {
    part.iter().map(|piece| if let Piece::Atom(Atom::Char(char)) = piece { Some(*char) } else { None }).collect()
}
