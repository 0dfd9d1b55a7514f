//! What every internal request says of its sender, signed with it: of which cluster it is, which recoveries it has heard
//! of, and of which run of a disk it speaks. Whoever comes back from before is refused, and told why.

use serde::{Deserialize, Serialize};

use super::message::{MessageError, decode, encode};
use crate::types::{ClusterId, DiskId, Generation, Life, Relation, Stamp};

/// What a request says of its sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// `None` for one that looks for a cluster.
    pub cluster: Option<(ClusterId, Stamp)>,
    /// The disk that sends it, where it is one.
    pub from: Option<(DiskId, Life)>,
    /// The disk that it is for, and the last run of it that the sender has heard of.
    pub to: Option<(DiskId, Life)>,
}

impl Context {
    /// As it travels in a header.
    pub(super) fn text(&self) -> String {
        encode(self).map(hex::encode).unwrap_or_default()
    }

    pub(super) fn parse(text: &str) -> Result<Self, MessageError> {
        decode(&hex::decode(text).map_err(|_| MessageError::Malformed)?)
    }

    /// Whether this process, which is of the given cluster and generation, may act on the request.
    ///
    /// # Errors
    /// See [`Stale`].
    pub fn check(&self, cluster: ClusterId, generation: &Generation) -> Result<(), Stale> {
        match self.cluster {
            Some((other, stamp)) if other == cluster => Stale::judge(generation.of_stamp(stamp)),
            _ => Err(Stale::OtherCluster),
        }
    }
}

/// Why a request is refused, whatever it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    #[error("the other is of another cluster, or of none yet")]
    OtherCluster,
    #[error("the cluster was recovered without the other, which has not heard of it")]
    Older,
    #[error("the cluster was recovered, which is not known here yet")]
    Newer,
    #[error(
        "both were recovered apart from each other and are two clusters now; one of them has to be given up: empty its \
         directories"
    )]
    Foreign,
    #[error("disk {0} was seen after this copy of it")]
    OldDisk(DiskId),
    #[error("disk {0} was removed from the cluster")]
    Removed(DiskId),
    #[error("disk {0} has to be introduced by a greeting first")]
    UnknownLife(DiskId),
}

impl Stale {
    /// # Errors
    /// Where the relation is not [`Relation::Same`].
    pub fn judge(relation: Relation) -> Result<(), Self> {
        match relation {
            Relation::Same => Ok(()),
            Relation::Older => Err(Self::Older),
            Relation::Newer => Err(Self::Newer),
            Relation::Foreign => Err(Self::Foreign),
        }
    }

    /// What the sender goes by; see [`super::message::ERROR_HEADER`].
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherCluster => "other-cluster",
            Self::Older => OLDER,
            Self::Newer => "newer-generation",
            Self::Foreign => "foreign-generation",
            Self::OldDisk(_) => "old-disk",
            Self::Removed(_) => "removed-disk",
            Self::UnknownLife(_) => "unknown-disk",
        }
    }
}

/// The code that tells the sender that there is a newer map where this came from.
pub const OLDER: &str = "older-generation";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Epoch, Recovered};

    #[test]
    fn who_has_not_heard_of_a_recovery_is_refused() {
        let first = Generation::default();
        let second = first.next(Recovered { id: 5, last: Epoch(1), first: Epoch(9) });
        let cluster = ClusterId([1; 16]);
        let from =
            |generation: &Generation| Context { cluster: Some((cluster, generation.stamp())), ..Context::default() };
        assert_eq!(Context::parse(&from(&second).text()), Ok(from(&second)));
        assert_eq!(from(&second).check(cluster, &second), Ok(()));
        assert_eq!(from(&first).check(cluster, &second), Err(Stale::Older));
        assert_eq!(from(&second).check(cluster, &first), Err(Stale::Newer));
        let apart = first.next(Recovered { id: 6, last: Epoch(1), first: Epoch(9) });
        assert_eq!(from(&apart).check(cluster, &second), Err(Stale::Foreign));
        assert_eq!(from(&second).check(ClusterId([2; 16]), &second), Err(Stale::OtherCluster));
        assert_eq!(Context::default().check(cluster, &second), Err(Stale::OtherCluster));
    }
}
