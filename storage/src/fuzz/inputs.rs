//! Inputs for fuzz targets: valid ones, changed a little, repeatably by a seed. It does not watch what the code does with
//! them, as a fuzzer would, but it needs none, and every run of the tests tries some.

use std::ffi::OsStr;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many inputs a target gets, unless `CAIRN_FUZZ_INPUTS` says otherwise.
const INPUTS: u64 = 20_000;

/// The longest input, in bytes.
const MAX_LEN: usize = 16 << 10;

/// How many inputs are kept, besides the seeds, to be changed further.
const KEPT: usize = 256;

/// Something that reads bytes.
pub struct Target {
    pub name: &'static str,
    /// Whether the input was a valid one. Panics where a property is broken.
    pub run: fn(&[u8]) -> bool,
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Pieces of inputs that mean something.
    pub words: &'static [&'static str],
}

/// Tries `CAIRN_FUZZ_INPUTS` inputs, made from `CAIRN_FUZZ_SEED`. Writes the valid inputs to start from below
/// `CAIRN_FUZZ_CORPUS`, if that is set, for a fuzzer.
///
/// # Panics
/// Where the target does, having told the input; where all inputs are valid, or hardly any is: then they say nothing of
/// what they are for; and where a variable is set to what is no number.
pub fn run(target: &Target) {
    let variable = |name| std::env::var_os(name).map(|text| number(name, &text));
    let inputs = variable("CAIRN_FUZZ_INPUTS").unwrap_or(INPUTS);
    if let Some(corpus) = std::env::var_os("CAIRN_FUZZ_CORPUS") {
        let written = write_seeds(target, &Path::new(&corpus).join(target.name));
        written.unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    }
    try_on(target, inputs, variable("CAIRN_FUZZ_SEED").unwrap_or_else(rand::random));
}

fn write_seeds(target: &Target, directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut seeds = (target.seeds)().into_iter().enumerate();
    seeds.try_for_each(|(number, seed)| std::fs::write(directory.join(format!("seed-{number}")), seed))
}

fn try_on(target: &Target, inputs: u64, seed: u64) {
    let began = std::time::Instant::now();
    let mut maker = Maker::new((target.seeds)(), target.words, seed);
    let mut valid = 0;
    for number in 0..inputs {
        let input = maker.next();
        match panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            Ok(true) => {
                valid += 1;
                maker.keep(input);
            }
            Ok(false) => {}
            Err(cause) => {
                let (name, text) = (target.name, input.escape_ascii());
                eprintln!("{name}: CAIRN_FUZZ_SEED={seed}, input {number}: b\"{text}\"");
                panic::resume_unwind(cause);
            }
        }
    }
    let (name, seconds) = (target.name, began.elapsed().as_secs_f64());
    eprintln!("{name}: {inputs} inputs in {seconds:.1} s, {valid} of them valid, CAIRN_FUZZ_SEED={seed}");
    assert!(inputs < 1_000 || (inputs / 100..inputs).contains(&valid), "{name}: {valid} of {inputs} inputs are valid");
}

/// Not a default where it cannot be read: a run that was to be repeated would be another one.
fn number(name: &str, text: &OsStr) -> u64 {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("{name}={} is no number", text.display()))
}

/// Makes changes to `bytes` as `script` says, five bytes for each, at most eight.
pub fn edit(bytes: &mut Vec<u8>, script: &[u8]) {
    for step in script.as_chunks::<5>().0.iter().take(8) {
        let [what, high, low, value, len] = *step;
        let at = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
        let end = (at + usize::from(len % 8)).min(bytes.len());
        match (what % 7, bytes.get(at).copied()) {
            (0, Some(_)) => bytes[at] = value,
            (1, Some(_)) => bytes[at] ^= 1 << (value % 8),
            (2, _) => bytes.insert(at, value),
            (3, _) => drop(bytes.drain(at..end)),
            (4, Some(old)) => drop(bytes.splice(at..=at, format!("%{old:02x}").into_bytes())),
            (5, _) => {
                let piece = bytes[at..end].to_vec();
                let to = usize::from(value) % (bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            _ => bytes.truncate(at),
        }
    }
}

/// A number below `end`; 0 where there is none.
fn below(random: &mut StdRng, end: usize) -> usize {
    random.random_range(0..end.max(1))
}

/// Numbers at which arithmetic goes wrong.
const NUMBERS: &[u64] = &[
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    1 << 20,
    8 << 20,
    (8 << 20) + 1,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

struct Maker {
    random: StdRng,
    seeds: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

impl Maker {
    fn new(seeds: Vec<Vec<u8>>, words: &'static [&'static str], seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), seeds, kept: Vec::new(), words }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut input = self.any();
        // Few changes, or most of them would break what the others reach.
        let changes = self.below(12).saturating_sub(self.below(8));
        for _ in 0..changes {
            self.change(&mut input);
        }
        input.truncate(MAX_LEN);
        input
    }

    /// Takes a valid input, to start from it again.
    fn keep(&mut self, input: Vec<u8>) {
        if self.kept.len() < KEPT {
            self.kept.push(input);
        } else if self.below(16) == 0 {
            let place = self.below(KEPT);
            self.kept[place] = input;
        }
    }

    fn below(&mut self, end: usize) -> usize {
        below(&mut self.random, end)
    }

    fn any(&mut self) -> Vec<u8> {
        let of_kept = !self.kept.is_empty() && self.below(2) == 0;
        let from = if of_kept { &self.kept } else { &self.seeds };
        let place = below(&mut self.random, from.len());
        from.get(place).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = at + self.below((input.len() - at).min(32) + 1);
        match self.below(11) {
            0 | 1 => self.at(input, at, |random, byte| byte ^ 1 << below(random, 8)),
            2 => self.at(input, at, |random, _| random.random()),
            3 => self.at(input, at, |random, byte| byte.wrapping_add_signed(random.random_range(-4..=4))),
            4 => {
                let number = self.number();
                let end = (at + number.len()).min(input.len());
                input.splice(at..end, number);
            }
            5 => drop(input.drain(at..end)),
            6 => {
                let piece = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            7 => {
                let piece: Vec<u8> = (0..self.below(9)).map(|_| self.random.random()).collect();
                input.splice(at..at, piece);
            }
            8 if !self.words.is_empty() => {
                let place = self.below(self.words.len());
                let word = self.words[place];
                let end = if self.below(2) == 0 { at } else { end };
                input.splice(at..end, word.bytes());
            }
            9 => {
                let other = self.any();
                input.truncate(at);
                let from = if self.below(2) == 0 { at } else { self.below(other.len() + 1) };
                input.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            _ if self.below(4) == 0 => input.truncate(at),
            _ => {
                let other = self.any();
                let from = self.below(other.len() + 1);
                let len = self.below((other.len() - from).min(64) + 1);
                input.splice(at..end, other[from..from + len].iter().copied());
            }
        }
    }

    fn at(&mut self, input: &mut [u8], at: usize, change: impl FnOnce(&mut StdRng, u8) -> u8) {
        if let Some(byte) = input.get_mut(at) {
            *byte = change(&mut self.random, *byte);
        }
    }

    /// A number as formats write it: in 1 to 8 bytes, as a varint, in digits.
    fn number(&mut self) -> Vec<u8> {
        let number = NUMBERS[self.below(NUMBERS.len())];
        let width = 1 << self.below(4);
        match self.below(5) {
            0 => number.to_string().into_bytes(),
            1 => format!("{number:x}").into_bytes(),
            2 => number.to_be_bytes()[8 - width..].to_vec(),
            3 => number.to_le_bytes()[..width].to_vec(),
            _ => {
                let mut left = number;
                let mut out = Vec::new();
                while left >= 0x80 {
                    out.push(left.to_le_bytes()[0] | 0x80);
                    left >>= 7;
                }
                out.push(left.to_le_bytes()[0]);
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(seed: u64) -> Vec<Vec<u8>> {
        let mut maker = Maker::new(vec![b"a seed".to_vec(), b"another seed".to_vec()], &["word"], seed);
        (0..1_000).map(|_| maker.next()).collect()
    }

    #[test]
    fn a_seed_makes_the_same_inputs_again_and_another_one_others() {
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }

    #[test]
    fn inputs_are_changed_in_many_ways_and_a_seed_comes_as_it_is_too() {
        let mut made = inputs(7);
        assert!(made.contains(&b"a seed".to_vec()));
        made.sort();
        made.dedup();
        assert!(made.len() > 500, "{}", made.len());
    }

    #[test]
    #[should_panic(expected = "CAIRN_FUZZ_SEED=7x is no number")]
    fn a_seed_that_is_mistyped_is_refused() {
        assert_eq!(number("CAIRN_FUZZ_SEED", OsStr::new("7")), 7);
        number("CAIRN_FUZZ_SEED", OsStr::new("7x"));
    }

    #[test]
    fn any_script_can_be_carried_out() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..10_000 {
            let script: Vec<u8> = (0..below(&mut random, 50)).map(|_| random.random()).collect();
            edit(&mut vec![b'x'; below(&mut random, 20)], &script);
        }
        let mut bytes = b"abc".to_vec();
        edit(&mut bytes, &[4, 0, 1, 0, 0]);
        assert_eq!(bytes, b"a%62c");
    }

    #[test]
    #[should_panic(expected = "broken")]
    fn what_breaks_a_property_is_found() {
        let run = |input: &[u8]| {
            assert!(!input.ends_with(b"word"), "broken");
            input.len() > 6
        };
        let target = Target { name: "test", run, seeds: || vec![b"a seed".to_vec()], words: &["word"] };
        try_on(&target, INPUTS, 7);
    }

    #[test]
    #[should_panic(expected = "inputs are valid")]
    fn inputs_that_are_all_refused_are_no_test() {
        try_on(&Target { name: "test", run: |_| false, seeds: Vec::new, words: &[] }, INPUTS, 7);
    }
}
