//! Pieces of answers without the values that they repeat, which come back from them.
//!
//! A value may come in several pieces of one stream. What a piece ends with is left out if a value begins so,
//! and looked at again with the next one.
//! Refuses to keep more of a stream than the longest text that is looked for.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_types::Secret;

use super::search::{Form, Search, forms};

/// Bytes from which values were taken out, and where these were.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Masked {
    bytes: Vec<u8>,
    /// The secrets whose values these were. A short value may have stood a million times.
    names: Vec<String>,
    gaps: Vec<Gap>,
}

/// The place of a value, or of a part of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Gap {
    /// So many of the other bytes come before it.
    at: u32,
    /// Which of the names is its secret's.
    name: u32,
    /// Which of its value's forms was there.
    number: u32,
    /// From which of its bytes on.
    from: u32,
    /// How many of them.
    bytes: u32,
}

/// Where a stream is between two pieces.
#[derive(Default)]
pub(crate) struct Seam {
    /// The beginning of a value with which it ended so far.
    tail: Vec<u8>,
    /// The long value in the midst of which it is.
    within: Option<Within>,
}

/// The midst of a long value.
struct Within {
    /// By which it was found.
    search: Arc<Search>,
    /// The forms that it may be.
    forms: Vec<usize>,
    /// So many bytes were there behind what is looked for.
    from: usize,
}

/// What an answer holds was got with the secret of this name, or made of it: it would not come back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost(pub(super) String);

impl Masked {
    /// A record without values. Its last `streamed` bytes are a piece of the stream that is at `seam`.
    /// `Ok(None)`: there are none in it.
    /// # Errors
    /// There is one that would not come back.
    pub(super) fn of(
        search: &Arc<Search>,
        record: &[u8],
        streamed: usize,
        seam: &mut Seam,
    ) -> Result<Option<Masked>, Lost> {
        let mut masked = Masked::default();
        let (head, piece) = record.split_at(record.len().saturating_sub(streamed));
        masked.take(search, head, &mut Seam::default(), None)?;
        masked.piece(search, piece, seam)?;
        Ok((!masked.gaps.is_empty()).then_some(masked))
    }

    /// Takes in the next piece of a stream.
    fn piece(&mut self, search: &Arc<Search>, piece: &[u8], seam: &mut Seam) -> Result<(), Lost> {
        let mut piece = piece;
        if let Some(within) = seam.within.take()
            && let Some(most) = within.search.most(&within.forms, within.from, piece)
        {
            let form = within.search.form(most.form);
            self.gap(form, form.text.len() + within.from, most.bytes)?;
            piece = &piece[most.bytes..];
            if !most.open.is_empty() {
                seam.within = Some(Within {
                    forms: most.open,
                    from: within.from + most.bytes,
                    ..within
                });
                return Ok(());
            }
        }
        let all = [seam.tail.as_slice(), piece].concat();
        let begun = search.begun(&all);
        self.take(search, &all, seam, begun)
    }

    /// Takes in bytes, of which those of the seam's tail were taken in before, and which end with the
    /// beginning of a value.
    fn take(
        &mut self,
        search: &Arc<Search>,
        all: &[u8],
        seam: &mut Seam,
        mut begun: Option<(usize, usize)>,
    ) -> Result<(), Lost> {
        let (mut taken, mut from) = (std::mem::take(&mut seam.tail).len(), 0);
        // Each time behind all of the last one: a long one may have others within.
        while let Some((found, form)) = search.next(all, from) {
            // What a longer value may go on from is one beginning, whatever lies in it.
            if begun.is_some_and(|(start, _)| start <= found.start) {
                break;
            }
            let Some(most) = search.most(&search.alike(form), 0, &all[found.end..]) else {
                break;
            };
            from = found.end + most.bytes;
            let form = search.form(most.form);
            self.leave_out(all, &mut taken, found.start..from, form)?;
            if !most.open.is_empty() {
                seam.within = Some(Within {
                    search: search.clone(),
                    forms: most.open,
                    from: most.bytes,
                });
                return Ok(());
            }
            if begun.is_some_and(|(start, _)| start < from) {
                let later = search.begun(&all[from..]);
                begun = later.map(|(start, form)| (from + start, form));
            }
        }
        if let Some((start, form)) = begun {
            self.leave_out(all, &mut taken, start..all.len(), search.form(form))?;
            seam.tail = all[start..].to_vec();
        }
        self.bytes.extend_from_slice(&all[taken..]);
        Ok(())
    }

    /// Takes in bytes up to where a form begins in them, and leaves out that, but for what was taken in before.
    fn leave_out(
        &mut self,
        all: &[u8],
        taken: &mut usize,
        range: Range<usize>,
        form: &Form,
    ) -> Result<(), Lost> {
        let start = range.start.max(*taken);
        if range.end <= start {
            return Ok(());
        }
        self.bytes.extend_from_slice(&all[*taken..start]);
        *taken = range.end;
        self.gap(form, start - range.start, range.end - start)
    }

    /// So many bytes of a form come next, from one of them on.
    fn gap(&mut self, form: &Form, from: usize, bytes: usize) -> Result<(), Lost> {
        if !form.comes_back {
            return Err(Lost(form.name.clone()));
        }
        if bytes > 0 {
            let gap = Gap {
                at: number(self.bytes.len()),
                name: self.name(&form.name),
                number: form.number,
                from: number(from),
                bytes: number(bytes),
            };
            self.gaps.push(gap);
        }
        Ok(())
    }

    /// The number of a secret's name.
    fn name(&mut self, name: &str) -> u32 {
        let known = self.names.iter().position(|known| known == name);
        number(known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }))
    }

    /// The bytes as they were, with values by their names. `None`: these are not the values.
    /// # Errors
    /// That of a value which is not to be had.
    pub(super) fn unmasked<E>(
        &self,
        mut value: impl FnMut(&str) -> Result<Secret, E>,
    ) -> Result<Option<Vec<u8>>, E> {
        let mut values = Vec::new();
        for name in &self.names {
            values.push(forms(name, &value(name)?));
        }
        let (mut bytes, mut taken) = (Vec::with_capacity(self.bytes.len()), 0);
        for gap in &self.gaps {
            let forms = values.get(gap.name as usize);
            let form = forms.and_then(|all| all.iter().find(|form| form.number == gap.number));
            let there = form.and_then(|f| f.bytes(gap.from as usize, gap.bytes as usize));
            let (Some(there), Some(before)) = (there, self.bytes.get(taken..gap.at as usize))
            else {
                return Ok(None);
            };
            bytes.extend_from_slice(before);
            bytes.extend(there);
            taken = gap.at as usize;
        }
        bytes.extend_from_slice(self.bytes.get(taken..).unwrap_or_default());
        Ok(Some(bytes))
    }
}

impl Seam {
    /// A piece of the stream that was recorded in an earlier life.
    pub(super) fn pass(&mut self, search: &Arc<Search>, piece: &[u8]) {
        // What would be lost of it is recorded already, one way or the other.
        let _ = Masked::default().piece(search, piece, self);
    }
}

/// No record has so many bytes that they do not fit: one that had would not come back.
fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
