//! What an attempt saw beside the answers to its calls: in namespaces and of objects.
//!
//! A digest of each is noted, to be compared after a crash; and what it was, as far as there is
//! room, for whoever looks at the attempt again when it is over.
//! Refuses to note a secret's value.

use std::collections::btree_map::Entry;

use stepwell_types::Failure;

use super::{Journal, NOTE_BYTES, Note};

/// The operation that an attempt's end is.
const LAST: u32 = u32::MAX;
/// Most bytes that one attempt notes of what it saw, beside digests.
pub(crate) const KEPT_BYTES_MAX: usize = 64 << 10;
/// Most bytes that one attempt notes of how it was refused: some thousand times.
const REFUSED_BYTES_MAX: usize = 1 << 20;

/// What an attempt saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Tells it apart; zeros: there was nothing.
    pub(crate) digest: [u8; 32],
    /// What it was, if that was noted.
    pub(crate) what: Option<Vec<u8>>,
}

/// A page of keys, for a note.
pub(crate) fn page<T: AsRef<str>>(keys: &[T]) -> Vec<u8> {
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    // Strings into memory: the encoder has no way to fail.
    postcard::to_allocvec(&keys).unwrap_or_default()
}

impl Journal {
    /// Whether the attempt is over and only looked at again.
    pub(crate) fn is_again(&self) -> bool {
        self.request().again().is_some()
    }

    /// The attempt sees what has this digest: whether it is what it saw there before a crash, if
    /// there was one. `what` is noted too where its `bytes` have room.
    pub(crate) fn saw(
        &self,
        digest: &[u8; 32],
        bytes: usize,
        what: impl FnOnce() -> Vec<u8>,
    ) -> bool {
        self.weigh(NOTE_BYTES + digest.len());
        let mut state = self.state.lock();
        if let Some(before) = state.seen.pop_front() {
            return before.digest == *digest;
        }
        let note = if bytes <= KEPT_BYTES_MAX.saturating_sub(state.kept) {
            state.kept += bytes;
            Note::Kept(*digest, what())
        } else {
            Note::Saw(*digest)
        };
        state.notes.push(note);
        true
    }

    /// How many bytes of what it sees next have room among the notes.
    pub(crate) fn keeps(&self) -> usize {
        KEPT_BYTES_MAX.saturating_sub(self.state.lock().kept)
    }

    /// What the attempt saw next, of one that is only looked at again. It is taken out by
    /// [`Journal::saw`]. `what` says what is looked for.
    /// # Errors
    /// `Stepwell.NotInJournal`; the attempt ends.
    pub(crate) fn told(&self, what: &dyn Fn() -> String) -> Result<Seen, Failure> {
        let seen = self.state.lock().seen.front().cloned();
        seen.ok_or_else(|| self.untold(&what()))
    }

    /// The journal of an attempt that is looked at again does not tell this; the attempt ends.
    pub(crate) fn untold(&self, what: &str) -> Failure {
        let cause = format!("the attempt's journal does not tell {what}");
        let failure = Failure::new("Stepwell.NotInJournal", cause);
        self.break_off(failure.clone());
        failure
    }

    /// The number of an operation that what lies outside of the attempt may refuse; and how it was
    /// refused before a crash, or when the attempt ran that is looked at again. What it was told once, it
    /// must be told again.
    pub(crate) fn operation(&self) -> (u32, Option<Failure>) {
        let mut state = self.state.lock();
        let number = state.operations;
        state.operations += 1;
        (number, state.refused.get(&number).cloned())
    }

    /// Notes that an operation was refused.
    pub(crate) fn refused(&self, operation: u32, failure: &Failure) {
        let (error, cause) = (failure.error.to_string(), failure.cause.to_string());
        let bytes = NOTE_BYTES + error.len() + cause.len();
        self.weigh(bytes);
        let mut state = self.state.lock();
        state.refused_bytes += bytes;
        if operation != LAST && state.refused_bytes > REFUSED_BYTES_MAX {
            drop(state);
            let cause = format!(
                "the step went on although it was refused again and again: over {REFUSED_BYTES_MAX} bytes of refusals, the last {cause}"
            );
            return self.break_off(Failure::new("Stepwell.JournalFull", cause));
        }
        // After a crash it is noted already.
        if let Entry::Vacant(unknown) = state.refused.entry(operation) {
            unknown.insert(failure.clone());
            state.notes.push(Note::Refused(operation, error, cause));
        }
    }

    /// The attempt cannot end as it did: what it fails with in place of that.
    pub fn fails(&self, failure: &Failure) {
        self.refused(LAST, failure);
    }

    /// What an attempt that is looked at again failed with in place of what it did.
    #[must_use]
    pub fn failed(&self) -> Option<Failure> {
        let state = self.state.lock();
        state
            .refused
            .get(&LAST)
            .filter(|_| self.is_again())
            .cloned()
    }

    /// Ends the attempt with this failure: what it saw has changed.
    pub(crate) fn loses(&self, failure: Failure) {
        self.fails(&failure);
        self.break_off(failure);
    }

    /// What a guest may be told of a failure that no note tells of: that it asks for what cannot be. What
    /// may go otherwise the next time ends the attempt: it could not run again as it ran.
    pub(crate) fn unnoted(&self, failure: &Failure) {
        if *failure.error != *crate::objects::REFUSED {
            self.break_off(failure.clone());
        }
    }

    /// The attempt looks at the clock: when that began is worth a note.
    pub(crate) fn looks_at_clock(&self) {
        self.state.lock().looked = true;
    }

    /// What it saw and no record carries, when it is over. A step that saw nothing has none.
    #[must_use]
    pub fn last_notes(&self) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let undated = state.looked && !state.dated;
        let wanted = !self.is_again() && (undated || !state.notes.is_empty());
        drop(state);
        wanted.then(|| self.take_notes()).flatten()
    }

    /// Takes out of notes what holds a secret that the attempt has read: of that the digest is enough.
    pub(super) fn without_secrets(&self, notes: &mut [Note]) {
        if !notes.iter().any(Note::has_text) {
            return;
        }
        let Some(search) = self.search() else { return };
        for note in notes {
            let hidden = match note {
                Note::Kept(digest, what) => {
                    let found = search.find(&String::from_utf8_lossy(what)).is_some();
                    found.then_some(Note::Saw(*digest))
                }
                Note::Refused(operation, error, cause) => {
                    let hidden = search.hide(cause);
                    (hidden != *cause).then(|| Note::Refused(*operation, error.clone(), hidden))
                }
                _ => None,
            };
            if let Some(hidden) = hidden {
                *note = hidden;
            }
        }
    }
}

impl Note {
    /// Whether it says more than digests and numbers.
    fn has_text(&self) -> bool {
        matches!(self, Note::Kept(..) | Note::Refused(..))
    }
}
