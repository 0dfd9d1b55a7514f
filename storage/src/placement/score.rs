//! The score of one disk for one chunk, in integers.

use crate::types::{ChunkId, DiskId};

/// Bits after the point of [`negative_log2`].
const FRACTION_BITS: u32 = 32;
/// Intervals of the table of logarithms.
const STEPS: usize = 1 << STEP_BITS;
const STEP_BITS: u32 = 10;

/// `-log2(u) / weight` for a `u` in (0, 1) drawn from the two ids: the lower, the better. `weight` is above zero.
pub fn score(chunk: &ChunkId, disk: DiskId, weight: u32) -> u64 {
    // 38 bits at most, so that the shift loses none; it leaves room for the quotient of a large weight.
    (negative_log2(draw(chunk, disk)) << 25) / u64::from(weight.max(1))
}

/// 64 bits that depend on every bit of both ids. The chunk's are a hash's, the disk's are random: it is enough to mix.
fn draw(chunk: &ChunkId, disk: DiskId) -> u64 {
    let (c0, c1) = (word(&chunk.hash[..8]), word(&chunk.hash[8..16]));
    let (d0, d1) = (word(&disk.0[..8]), word(&disk.0[8..]));
    let once = mix(c0 ^ d0 ^ u64::from(chunk.group.0).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mix(once.rotate_left(32) ^ c1 ^ d1.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// Eight bytes, the lowest first.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The finalizer of splitmix64: a bijection in which each bit of the input moves half of the output's.
fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `-log2((bits + 0.5) / 2^64)` with 32 bits after the point, never increasing in `bits`. Between the table's steps it
/// is a straight line, which is off by less than 2^-22.
fn negative_log2(bits: u64) -> u64 {
    let bits = bits | 1;
    let zeros = bits.leading_zeros();
    // The fraction of the mantissa, which lies in [1, 2), as 63 bits.
    let fraction = (bits << zeros) & (u64::MAX >> 1);
    let step = (fraction >> (63 - STEP_BITS)) as usize;
    let within = (fraction >> (63 - STEP_BITS - 32)) & u64::from(u32::MAX);
    let (low, high) = (LOG2[step], LOG2[step + 1]);
    let log2 = low + (((high - low) * within) >> 32);
    ((u64::from(zeros) + 1) << FRACTION_BITS) - log2
}

/// `log2(1 + step / STEPS)` with 32 bits after the point.
static LOG2: [u64; STEPS + 1] = {
    let mut table = [0u64; STEPS + 1];
    let mut step = 0;
    while step < STEPS {
        table[step] = log2_of_mantissa((1 << 31) + ((step as u64) << (31 - STEP_BITS)));
        step += 1;
    }
    table[STEPS] = 1 << FRACTION_BITS;
    table
};

/// The logarithm of a number in [1, 2) that has 31 bits after the point, bit by bit: squaring doubles the logarithm,
/// and what passes 2 is its next bit.
const fn log2_of_mantissa(mut x: u64) -> u64 {
    let mut log2 = 0;
    let mut bit = 0;
    while bit < FRACTION_BITS {
        x = (x * x) >> 31;
        log2 <<= 1;
        if x >= 1 << 32 {
            log2 |= 1;
            x >>= 1;
        }
        bit += 1;
    }
    log2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_floating_point_and_never_rises() {
        let mut last = u64::MAX;
        for step in 1..=4096u64 {
            let bits = (step << 52).wrapping_sub(1);
            let ours = negative_log2(bits) as f64 / 2f64.powi(32);
            let exact = -(bits as f64 / 2f64.powi(64)).log2();
            assert!((ours - exact).abs() < 1e-6, "{bits}: {ours} is not {exact}");
            assert!(negative_log2(bits) <= last, "{bits}");
            last = negative_log2(bits);
        }
    }

    #[test]
    fn extreme_draws_and_weights_do_not_overflow() {
        assert!(negative_log2(0) <= 64 << FRACTION_BITS);
        assert!(negative_log2(u64::MAX) < 1 << 24);
        let chunk = ChunkId::of(crate::types::GroupId(1), b"x");
        assert!(score(&chunk, DiskId([1; 16]), 1) > score(&chunk, DiskId([1; 16]), u32::MAX));
    }
}
