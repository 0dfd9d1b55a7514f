//! The list of targets, and what they have in common.

use std::fmt::Debug;

use super::inputs::Target;
pub use crate::chunk::fuzz::{chunk_index, chunk_record, segment_header};
pub use crate::meta::fuzz::{meta_key, meta_value, snapshot_frame};
pub use crate::raft::fuzz::{raft_entry, raft_message, raft_record};
pub use crate::wire::fuzz::{wire_message, wire_proof};

macro_rules! targets {
    ($($name:ident, $room:ident, $seeds:ident;)*) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(
            Target { name: stringify!($name), run: $name, seeds: crate::$room::fuzz::$seeds, words: &[] },
        )*];

        #[cfg(test)]
        mod tests {
            $(#[test]
            fn $name() {
                let mut all = super::TARGETS.iter();
                super::super::inputs::run(all.find(|target| target.name == stringify!($name)).unwrap());
            })*
        }
    };
}

targets! {
    wire_message, wire, message_seeds;
    wire_proof, wire, proof_seeds;
    chunk_record, chunk, record_seeds;
    segment_header, chunk, segment_seeds;
    chunk_index, chunk, index_seeds;
    raft_entry, raft, entry_seeds;
    raft_record, raft, record_seeds;
    raft_message, raft, message_seeds;
    meta_value, meta, value_seeds;
    meta_key, meta, key_seeds;
    snapshot_frame, meta, frame_seeds;
}

/// Decodes `bytes`. What decodes is the same when it is written and read again, takes no more than it came in, and is
/// nothing at all where it is cut off or goes on behind its end.
#[allow(clippy::expect_used, reason = "this is a test")]
pub(crate) fn holds<T: Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> bool {
    let Some(value) = decode(bytes) else { return false };
    let written = encode(&value);
    // What an older version wrote may grow by a few fields.
    assert!(written.len() <= bytes.len() + 256, "{} bytes of {}", written.len(), bytes.len());
    let again = decode(&written).expect("what was written is read");
    assert_eq!(encode(&again), written);
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    for tail in [&[0][..], &[1], &[0x80], &[0xff; 9]] {
        assert!(decode(&[bytes, tail].concat()).is_none(), "it goes on behind its end");
    }
    for cut in (0..bytes.len()).rev().step_by(bytes.len() / 16 + 1) {
        assert!(decode(&bytes[..cut]).is_none(), "it is cut off at {cut}");
    }
    true
}
