//! The runs of a disk: by them a disk is told from an older copy of it.

use serde::{Deserialize, Serialize};

/// One run of a disk, from one opening of its directory to the next. Both are written into the directory before anything
/// else is done with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Grows at each start.
    pub incarnation: u64,
    /// Random; 0 where release 0.1.0 wrote it, which had none.
    pub instance: u64,
}

/// How many of its last lives a disk knows.
pub const KEPT_LIVES: usize = 16;

impl Life {
    /// The life after these, and its incarnation at least `incarnation`. What is too long ago is forgotten.
    pub fn begin(before: &[Self], incarnation: u64) -> Vec<Self> {
        let next = before.last().map_or(1, |last| last.incarnation.saturating_add(1)).max(incarnation);
        // Short enough for a number of JSON.
        let now = Self { incarnation: next, instance: (rand::random::<u64>() >> 12).max(1) };
        let kept = before.len().saturating_sub(KEPT_LIVES - 1);
        before.iter().skip(kept).copied().chain([now]).collect()
    }

    pub fn is(self, other: Self) -> bool {
        let unknown = self.instance == 0 || other.instance == 0;
        self.incarnation == other.incarnation && (unknown || self.instance == other.instance)
    }

    /// Whether a disk of these lives, the present one last, lived this one. What is before the first that it knows is
    /// believed.
    pub fn was_lived(self, lives: &[Self]) -> bool {
        match lives.iter().position(|life| life.incarnation >= self.incarnation) {
            Some(0) if lives[0].incarnation > self.incarnation => true,
            Some(at) => lives[at].is(self),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(incarnation: u64, instance: u64) -> Life {
        Life { incarnation, instance }
    }

    #[test]
    fn a_copy_is_told_from_the_disk_however_often_it_is_started() {
        let image = vec![life(3, 30), life(5, 50)];
        let mut disk = Life::begin(&image, 0);
        disk = Life::begin(&disk, 9);
        let remembered = disk[disk.len() - 1];
        assert_eq!(remembered.incarnation, 9);
        assert!(remembered.was_lived(&disk) && remembered.was_lived(&Life::begin(&disk, 0)));
        let mut copy = image;
        for _ in 0..12 {
            copy = Life::begin(&copy, 0);
            assert!(!remembered.was_lived(&copy), "{copy:?}");
        }
        // It skips what is remembered.
        assert!(!life(7, 70).was_lived(&disk));
    }

    #[test]
    fn what_release_0_1_0_remembers_is_believed() {
        let disk = Life::begin(&[life(5, 0)], 0);
        assert_eq!(disk[1].incarnation, 6);
        assert!(life(5, 0).was_lived(&disk) && life(2, 0).was_lived(&disk));
        assert!(!life(7, 0).was_lived(&disk));
    }

    #[test]
    fn no_more_lives_are_kept_than_some() {
        let mut lives = Vec::new();
        for _ in 0..40 {
            lives = Life::begin(&lives, 0);
        }
        assert_eq!((lives.len(), lives[0].incarnation, lives[15].incarnation), (KEPT_LIVES, 25, 40));
    }
}
