//! Names and numbers that identify things.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Logical shards, fixed in the data directory.
pub const SHARDS: u16 = 64;

/// Which of the [`SHARDS`] a thing lives on: 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u8);

impl ShardId {
    /// Where a named execution of `flow` lives, so that two starts of one name meet.
    #[must_use]
    pub fn of_name(flow: &str, name: &str) -> ShardId {
        let mut h = Sha256::new();
        h.update((flow.len() as u64).to_be_bytes());
        h.update(flow.as_bytes());
        h.update(name.as_bytes());
        ShardId(h.finalize()[0] & 63)
    }
}

/// One run of a flow. Sorts by start time and carries its shard.
///
/// 16 bytes: 48 bits of milliseconds since 1970, 8 bits of shard (0 to 63),
/// 72 random bits. Printed as 26 characters of Crockford base 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecutionId(pub [u8; 16]);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl ExecutionId {
    /// Builds an id from its parts; of `random` the lower 72 bits count.
    #[must_use]
    pub fn new(now: crate::Timestamp, shard: ShardId, random: u128) -> ExecutionId {
        let ms = u128::from(now.0.max(0).unsigned_abs() & 0xffff_ffff_ffff);
        let n = (ms << 80) | (u128::from(shard.0 & 63) << 72) | (random & ((1 << 72) - 1));
        ExecutionId(n.to_be_bytes())
    }

    /// The shard that owns this execution.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        ShardId(self.0[6] & 63)
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = u128::from_be_bytes(self.0);
        let mut out = [0u8; 26];
        for (i, slot) in out.iter_mut().enumerate() {
            let shift = 125 - 5 * i;
            *slot = ALPHABET[((n >> shift) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&out).unwrap_or("?"))
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct BadId;

impl FromStr for ExecutionId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<ExecutionId, BadId> {
        if s.len() != 26 {
            return Err(BadId);
        }
        let mut n: u128 = 0;
        for (i, c) in s.bytes().enumerate() {
            let v = ALPHABET.iter().position(|a| *a == c).ok_or(BadId)?;
            if i == 0 && v > 7 {
                return Err(BadId);
            }
            n = (n << 5) | v as u128;
        }
        let id = ExecutionId(n.to_be_bytes());
        if id.0[6] >= SHARDS as u8 {
            return Err(BadId);
        }
        Ok(id)
    }
}

/// One entry into a state, numbered within its execution from 1.
///
/// Retries of a state keep the entry and count attempts; a loop that comes back
/// to the state makes a new entry. Timers, steps, tokens and idempotency keys name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(pub u64);

/// A flow at one published version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlowRef {
    /// The flow's name.
    pub name: std::sync::Arc<str>,
    /// Counts from 1 with each publish that changed something.
    pub version: u32,
}

/// A SHA-256, printed as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Digest, BadId> {
        if s.len() != 64 || !s.is_ascii() {
            return Err(BadId);
        }
        let mut out = [0u8; 32];
        for (i, b) in out.iter_mut().enumerate() {
            *b = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).map_err(|_| BadId)?;
        }
        Ok(Digest(out))
    }
}

/// What an outside program hands back to end a waiting task: it names one
/// attempt of one state entry and proves that it was handed out.
///
/// Printed as URL-safe base 64. The proof is a keyed digest over the
/// execution's secret seed, so a token needs no row in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskToken {
    /// The execution that waits.
    pub execution: ExecutionId,
    /// The state entry that waits.
    pub entry: EntryId,
    /// The attempt that handed the token out, from 0.
    pub attempt: u32,
    /// First half of SHA-256(seed, execution, entry, attempt).
    pub proof: [u8; 16],
}

impl TaskToken {
    /// The token of one attempt, for an execution with this secret `seed`.
    #[must_use]
    pub fn derive(
        seed: &[u8; 16],
        execution: ExecutionId,
        entry: EntryId,
        attempt: u32,
    ) -> TaskToken {
        let mut h = Sha256::new();
        h.update(b"task-token");
        h.update(seed);
        h.update(execution.0);
        h.update(entry.0.to_be_bytes());
        h.update(attempt.to_be_bytes());
        let mut proof = [0u8; 16];
        proof.copy_from_slice(&h.finalize()[..16]);
        TaskToken {
            execution,
            entry,
            attempt,
            proof,
        }
    }
}

impl fmt::Display for TaskToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::Engine as _;
        let mut raw = Vec::with_capacity(44);
        raw.extend_from_slice(&self.execution.0);
        raw.extend_from_slice(&self.entry.0.to_be_bytes());
        raw.extend_from_slice(&self.attempt.to_be_bytes());
        raw.extend_from_slice(&self.proof);
        f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw))
    }
}

impl FromStr for TaskToken {
    type Err = BadId;
    fn from_str(s: &str) -> Result<TaskToken, BadId> {
        use base64::Engine as _;
        let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(s)
            .map_err(|_| BadId)?;
        let raw: [u8; 44] = raw.try_into().map_err(|_| BadId)?;
        let take = |a: usize, b: usize| &raw[a..b];
        Ok(TaskToken {
            execution: ExecutionId(take(0, 16).try_into().map_err(|_| BadId)?),
            entry: EntryId(u64::from_be_bytes(
                take(16, 24).try_into().map_err(|_| BadId)?,
            )),
            attempt: u32::from_be_bytes(take(24, 28).try_into().map_err(|_| BadId)?),
            proof: take(28, 44).try_into().map_err(|_| BadId)?,
        })
    }
}
