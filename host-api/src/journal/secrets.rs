//! The secrets that an attempt has read: which versions, and that none of them gets out.
//!
//! An attempt reads each secret once, and again in the same version after a crash. From the
//! first on, digests of its requests are keyed: they may be of a value that could be guessed. How far
//! it has read when a call leaves is chance where calls run at once: either digest is of that request.
//! Refuses to let a value out in a result, a failure or a log line, or into a recorded answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_types::{Data, Digest, Failure, LogLine, Secret};

use super::masked::{Lost, Masked, Seam};
use super::search::Search;
use super::{Journal, diverged};
use crate::secrets::Opened;

/// First byte of a recorded piece of an answer that holds values no more. Those of bridges begin with
/// the numbers of their versions, which are far below.
const MASKED: u8 = 0xf8;
/// Most secrets that one attempt may read.
const SECRETS_READ_MAX: usize = 64;

/// What an attempt read.
#[derive(Default)]
pub(super) struct Known {
    /// Versions from before a crash; 0: there was none.
    before: BTreeMap<String, u32>,
    /// The first of them that there was: its key made the digests.
    keyed_by: Option<(String, u32)>,
    read: Vec<(String, Option<Secret>)>,
    digests: Digests,
    /// What else must not get out: tokens that were got with a secret.
    others: Vec<(String, Secret)>,
    /// How all of it is looked for, until there is more of it.
    search: Option<Arc<Search>>,
}

/// How requests are told apart.
#[derive(Default)]
enum Digests {
    /// By their own digests.
    #[default]
    Plain,
    /// By keyed ones.
    Keyed(Box<ring::hmac::Key>),
    /// Not at all: the key is not here.
    Unknown,
}

impl Known {
    /// A version was read before a crash; 0: there was none.
    pub(super) fn was_read(&mut self, name: String, version: u32) {
        if version != 0 {
            self.keyed_by.get_or_insert_with(|| (name.clone(), version));
        }
        self.before.insert(name, version);
    }
}

impl Digests {
    /// Those of an attempt whose first secret this is.
    fn of(opened: &Opened) -> Digests {
        match &opened.digest_key {
            Some(key) => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.bytes());
                Digests::Keyed(Box::new(key))
            }
            None => Digests::Unknown,
        }
    }

    /// What the log knows a request by; `None`: requests cannot be told apart here.
    fn digest(&self, request: Digest) -> Option<Digest> {
        match self {
            Digests::Plain => Some(request),
            Digests::Unknown => None,
            Digests::Keyed(key) => {
                let mut digest = Digest([0; 32]);
                digest
                    .0
                    .copy_from_slice(ring::hmac::sign(key, &request.0).as_ref());
                Some(digest)
            }
        }
    }
}

impl Journal {
    /// A secret for this attempt: the newest version, or the one that it had before a crash.
    /// `None`: there is none of this name. What it is granted is for the caller to know.
    /// # Errors
    /// `Stepwell.SecretUnreadable`, `Stepwell.SecretGone`, `Stepwell.TooManySecrets`; the attempt ends.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>, Failure> {
        let ends = |failure: Failure| {
            self.break_off(failure.clone());
            failure
        };
        let known = &mut *self.known.lock();
        if let Some((_, value)) = known.read.iter().find(|(read, _)| read == name) {
            return Ok(value.clone());
        }
        if known.read.len() >= SECRETS_READ_MAX {
            let cause = format!("the step read more than {SECRETS_READ_MAX} secrets");
            return Err(ends(Failure::new("Stepwell.TooManySecrets", cause)));
        }
        let before = known.before.get(name).copied();
        let opened = match before {
            Some(0) => None,
            version => self.secrets.open(name, version).map_err(ends)?,
        };
        match (before, &opened) {
            (Some(version @ 1..), None) => return Err(ends(gone(name, version))),
            (Some(_), _) => {}
            (None, opened) => self.read_secret(name, opened.as_ref().map_or(0, |o| o.version)),
        }
        if let Some(opened) = &opened
            && matches!(known.digests, Digests::Plain)
        {
            // In another order than before a crash, it is not the one whose key the log has.
            known.digests = match self.digests_before(known)? {
                Some(before) => before,
                None => Digests::of(opened),
            };
        }
        let value = opened.map(|opened| opened.value);
        known.read.push((name.to_owned(), value.clone()));
        known.search = None;
        Ok(value)
    }

    /// Also keeps back what was made of a secret of this name, or got with it. No answer that holds it can be
    /// recorded: a name stands for its secret's value alone.
    pub(crate) fn conceal(&self, name: &str, token: &Secret) {
        let known = &mut *self.known.lock();
        let same = |(_, other): &(String, Secret)| other.bytes() == token.bytes();
        if !known.others.iter().any(same) {
            known.others.push((name.to_owned(), token.clone()));
            known.search = None;
        }
    }

    /// What the log knows a request by; `None`: requests cannot be told apart here.
    pub(super) fn digest(&self, request: Digest) -> Option<Digest> {
        self.known.lock().digests.digest(request)
    }

    /// Whether the log may have known this request by that digest, as far as the attempt had read then
    /// or will have. Where requests cannot be told apart, it may.
    /// # Errors
    /// `Stepwell.SecretUnreadable`, `Stepwell.SecretGone`; the attempt ends.
    pub(super) fn is_of(&self, recorded: Digest, request: Digest) -> Result<bool, Failure> {
        if recorded == request {
            return Ok(true);
        }
        let known = &mut *self.known.lock();
        if matches!(known.digests, Digests::Plain)
            && let Some(before) = self.digests_before(known)?
        {
            known.digests = before;
        }
        let digest = known.digests.digest(request);
        Ok(digest.is_none_or(|digest| digest == recorded))
    }

    /// The digests that the attempt had before a crash, once it had read a secret. `None`: it had read none.
    /// # Errors
    /// `Stepwell.SecretUnreadable`, `Stepwell.SecretGone`; the attempt ends.
    fn digests_before(&self, known: &Known) -> Result<Option<Digests>, Failure> {
        let Some((name, version)) = &known.keyed_by else {
            return Ok(None);
        };
        let opened = self.secrets.open(name, Some(*version));
        let opened = opened.and_then(|o| o.ok_or_else(|| gone(name, *version)));
        let opened = opened.inspect_err(|failure| self.break_off(failure.clone()))?;
        Ok(Some(Digests::of(&opened)))
    }

    /// Takes what the attempt read out of what leaves it. A result that holds a secret becomes
    /// the failure `Stepwell.SecretInOutput`; in failures and log lines its name takes its place.
    /// # Errors
    /// The attempt's own failure, or that.
    pub fn keep_secrets(
        &self,
        result: Result<Data, Failure>,
        logs: &mut [LogLine],
    ) -> Result<Data, Failure> {
        let Some(search) = self.search() else {
            return result;
        };
        for line in logs {
            line.message = search.hide(&line.message);
        }
        match result {
            Err(failure) => Err(Failure::new(
                search.hide(&failure.error),
                search.hide(&failure.cause),
            )),
            Ok(data) => match search.find(data.text()) {
                None => Ok(data),
                Some(name) => Err(slips(
                    format!("the result holds secret {name:?}"),
                    "in the history",
                )),
            },
        }
    }

    /// Whether a text that is to be stored or shown holds nothing that the attempt has read.
    /// # Errors
    /// `Stepwell.SecretInOutput`.
    pub(crate) fn keeps_back(&self, what: &str, text: &str) -> Result<(), Failure> {
        let search = self.search();
        match search.as_ref().and_then(|search| search.find(text)) {
            None => Ok(()),
            Some(name) => Err(slips(
                format!("{what} holds secret {name:?}"),
                "seen by whoever lists them",
            )),
        }
    }

    /// A text without what the attempt read. To be done before a text is cut: the part that is
    /// left of a value would not be known.
    #[must_use]
    pub fn hide(&self, text: String) -> String {
        match self.search() {
            None => text,
            Some(search) => search.hide(&text),
        }
    }

    /// A record of an answer as the log may have it: with names in the place of what the attempt read. Its
    /// last `streamed` bytes are a piece of the stream that is at `seam`.
    /// # Errors
    /// `Stepwell.SecretInOutput`: it holds what could not be put back.
    pub(super) fn masked(
        &self,
        part: Vec<u8>,
        streamed: usize,
        seam: &mut Seam,
    ) -> Result<Vec<u8>, Failure> {
        let Some(search) = self.search() else {
            return Ok(part);
        };
        let masked = Masked::of(&search, &part, streamed, seam).map_err(|Lost(name)| {
            let what = format!("an answer holds what was got with secret {name:?}");
            slips(what, "in the journal")
        })?;
        let Some(masked) = masked else {
            return Ok(part);
        };
        let mut bytes = vec![MASKED];
        // Plain data into memory: the encoder has no way to fail.
        bytes.extend(postcard::to_allocvec(&masked).unwrap_or_default());
        Ok(bytes)
    }

    /// A recorded piece as it came.
    /// # Errors
    /// `Stepwell.SecretUnreadable`, `Stepwell.SecretGone`, `Stepwell.SecretUnknown`,
    /// `Stepwell.ReplayDiverged`.
    pub(super) fn unmasked(&self, part: &[u8]) -> Result<Vec<u8>, Failure> {
        let Some((&MASKED, rest)) = part.split_first() else {
            return Ok(part.to_vec());
        };
        let masked: Option<Masked> = postcard::from_bytes(rest).ok();
        let unmasked = masked.map(|masked| masked.unmasked(|name| self.value(name)));
        let unmasked = unmasked.transpose()?.flatten();
        unmasked.ok_or_else(|| diverged("the recorded answer of a call can't be read"))
    }

    /// The value of a secret that the attempt has read, or had read before a crash.
    fn value(&self, name: &str) -> Result<Secret, Failure> {
        let known = self.known.lock();
        let read = known.read.iter().find(|(read, _)| read == name);
        if let Some((_, Some(value))) = read {
            return Ok(value.clone());
        }
        let Some(version) = known.before.get(name).copied() else {
            return Err(diverged("a recorded answer has a secret that was not read"));
        };
        drop(known);
        let opened = self.secrets.open(name, Some(version))?;
        opened
            .map(|opened| opened.value)
            .ok_or_else(|| gone(name, version))
    }

    pub(super) fn search(&self) -> Option<Arc<Search>> {
        let mut known = self.known.lock();
        if known.search.is_some() {
            return known.search.clone();
        }
        let read = known.read.iter();
        let read = read.filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        let others = known.others.iter().map(|(name, value)| (name, value));
        let search = Search::new(read, others).map(Arc::new);
        known.search.clone_from(&search);
        search
    }
}

fn gone(name: &str, version: u32) -> Failure {
    let cause =
        format!("secret {name:?} has no version {version} any more, with which this attempt began");
    Failure::new("Stepwell.SecretGone", cause)
}

fn slips(what: String, and: &str) -> Failure {
    Failure::new(
        "Stepwell.SecretInOutput",
        format!("{what}, and would be {and}"),
    )
}

#[cfg(test)]
mod tests;
