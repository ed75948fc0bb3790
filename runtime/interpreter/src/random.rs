//! Every random choice, drawn one-way from the execution's secret seed.
//!
//! Refuses state of its own: the same seed, purpose and number give the same draw.
//! One-way, because some draws reach guests and the seed also proves task tokens.

use sha2::{Digest as _, Sha256};

/// 16 bytes for the `n`-th draw of this purpose.
pub(crate) fn draw(seed: &[u8; 16], purpose: &str, entry: u64, n: u64) -> [u8; 16] {
    let mut h = Sha256::new();
    h.update(b"draw/");
    h.update(purpose.as_bytes());
    h.update(seed);
    h.update(entry.to_be_bytes());
    h.update(n.to_be_bytes());
    let mut out = [0u8; 16];
    out.copy_from_slice(&h.finalize()[..16]);
    out
}

/// As [`draw`], as a number.
pub(crate) fn draw_u64(seed: &[u8; 16], purpose: &str, entry: u64, n: u64) -> u64 {
    (u128::from_be_bytes(draw(seed, purpose, entry, n)) >> 64) as u64
}

/// A fraction in [0, 1) of 53 bits.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A random (version 4) UUID of these bytes.
pub(crate) fn uuid(mut b: [u8; 16]) -> String {
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let n = u128::from_be_bytes(b);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        n >> 96,
        (n >> 80) & 0xffff,
        (n >> 64) & 0xffff,
        (n >> 48) & 0xffff,
        n & 0xffff_ffff_ffff
    )
}
