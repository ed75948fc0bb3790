//! A secret's bytes on their way from an edge to the vault, and from there to a bridge.
//!
//! Refuses to be shown or written: `Debug` hides them, nothing serialises them, and
//! dropping them wipes them.

use zeroize::Zeroizing;

/// Bytes that nobody may see.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes, for who sends or seals them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[a secret]")
    }
}
