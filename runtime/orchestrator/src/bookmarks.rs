//! Where readers of long logs stopped: whoever asks for the next page goes on from there, instead of
//! walking all that is before it once more.
//!
//! Refuses to be needed: a place that is gone costs a walk from the beginning, and nothing else.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Bookmarks that are kept; the oldest goes first.
const BOOKMARKS_MAX: usize = 16;
/// Bytes of one place above which it is not kept.
pub(crate) const BOOKMARK_BYTES_MAX: usize = 8 << 20;

/// Bookmarks by what will be asked for next.
pub(crate) struct Bookmarks<K, P>(Mutex<VecDeque<(K, P)>>);

impl<K, P> Default for Bookmarks<K, P> {
    fn default() -> Bookmarks<K, P> {
        Bookmarks(Mutex::default())
    }
}

impl<K: PartialEq, P> Bookmarks<K, P> {
    /// Keeps a place of so many bytes.
    pub fn put(&self, key: K, place: P, bytes: usize) {
        if bytes > BOOKMARK_BYTES_MAX {
            return;
        }
        let mut kept = self.0.lock();
        kept.retain(|(known, _)| *known != key);
        if kept.len() == BOOKMARKS_MAX {
            kept.pop_front();
        }
        kept.push_back((key, place));
    }

    /// Takes a place away: it moves.
    pub fn take(&self, key: &K) -> Option<P> {
        let mut kept = self.0.lock();
        let at = kept.iter().position(|(known, _)| known == key)?;
        kept.remove(at).map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookmarks_are_taken_once_and_few_are_kept() {
        let bookmarks = Bookmarks::default();
        for n in 0..=BOOKMARKS_MAX {
            bookmarks.put(n, n, 1);
        }
        bookmarks.put(1, 100, 1);
        bookmarks.put(2, 200, BOOKMARK_BYTES_MAX + 1);
        assert_eq!(bookmarks.take(&0), None, "the oldest");
        assert_eq!(bookmarks.take(&1), Some(100), "the newer of two");
        assert_eq!(bookmarks.take(&1), None, "taken");
        assert_eq!(bookmarks.take(&2), Some(2), "too large to be kept");
    }
}
