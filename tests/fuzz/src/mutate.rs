//! Plain damage, for runs without coverage: a seed, and a generator that repeats.
//!
//! Refuses to be clever: `cargo xtask fuzz` is.

/// A generator of damaged inputs that gives the same ones again.
#[derive(Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// One of the streams.
    #[must_use]
    pub fn new(seed: u64) -> Mutator {
        Mutator(seed | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    /// A damaged copy: bytes changed, cut, repeated, words put in, another seed's part.
    pub fn damage(&mut self, seed: &[u8], other: &[u8], words: &[&str]) -> Vec<u8> {
        let mut out = seed.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(out.len() + 1);
            let to = (at + self.below(24)).min(out.len());
            match self.below(6) {
                0 if at < out.len() => out[at] = self.below(256) as u8,
                1 => drop(out.drain(at..to)),
                2 => {
                    let part = out[at..to].to_vec();
                    let part = part.repeat(1 + self.below(6));
                    out.splice(at..at, part);
                }
                3 | 4 if !words.is_empty() => {
                    let word = words[self.below(words.len())];
                    out.splice(at..to, word.bytes());
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    let end = (from + self.below(64)).min(other.len());
                    out.splice(at..to, other[from..end].iter().copied());
                }
            }
        }
        out
    }

    /// One of many.
    pub fn pick<'a>(&mut self, of: &'a [Vec<u8>]) -> &'a [u8] {
        of.get(self.below(of.len())).map_or(&[], Vec::as_slice)
    }
}
