//! What can go wrong with a bucket or an object.

use std::io;

/// A refusal or failure of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No bucket of this name.
    #[error("BUCKET0001: there is no bucket {name}; {hint}")]
    NoBucket {
        /// As asked for.
        name: String,
        /// Those that exist, and how to make one.
        hint: String,
    },
    /// No object of this key.
    #[error("BUCKET0002: there is no object {key} in bucket {bucket}")]
    NoObject {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// A name or key that cannot be one.
    #[error("BUCKET0003: {name:?} is no {what}: {rule}")]
    BadName {
        /// `bucket` or `key`.
        what: &'static str,
        /// As given, cut.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The bucket may only be read.
    #[error(
        "BUCKET0004: bucket {bucket} is granted for reading; `write = true` in the configuration, or `stepwell run --bucket-write`, lets flows and clients change it"
    )]
    ReadOnly {
        /// The bucket.
        bucket: String,
    },
    /// The object is larger than the configuration allows.
    #[error(
        "BUCKET0005: the object is larger than the {max} bytes allowed here (object_bytes_max)"
    )]
    TooLarge {
        /// Bytes.
        max: u64,
    },
    /// There are as many buckets or objects as there may be.
    #[error("BUCKET0006: there are {max} {what}, and no more are taken; delete some")]
    Full {
        /// `buckets` or `objects in bucket NAME`.
        what: String,
        /// The bound.
        max: u64,
    },
    /// A key lies below an object, or objects lie below it.
    #[error("BUCKET0007: key {key} cannot be in bucket {bucket}: {reason}")]
    Conflict {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// What is in its way.
        reason: &'static str,
    },
    /// The system failed.
    #[error("BUCKET0008: {what}: {reason}")]
    System {
        /// What was tried.
        what: String,
        /// The system's words.
        reason: String,
    },
    /// A directory that the configuration grants cannot be opened, or its name is taken.
    #[error("BUCKET0009: bucket {name} of the configuration: {reason}")]
    BadGrant {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A link in the bucket leads out of it.
    #[error(
        "BUCKET0011: {what}: a link on the way there leads out of the bucket, and is not followed"
    )]
    LeadsOut {
        /// What was tried.
        what: String,
    },
    /// A step's change of the object is on its way to the disk.
    #[error(
        "BUCKET0010: {key:?} of bucket {bucket} waits for a step's outcome to be durable; try again later"
    )]
    OnItsWay {
        /// The bucket.
        bucket: String,
        /// The key, or what keys begin with.
        key: String,
    },
    /// The disk has no room left.
    #[error("BUCKET0014: {what}: the disk is full; make room on it, and try again")]
    DiskFull {
        /// What was tried.
        what: String,
    },
    /// A change that was sure before this start belongs to a bucket that is now another one.
    #[error(
        "BUCKET0013: a step's change of {key:?} waits for bucket {bucket} as it was, {was}, and now it is {is}; start with the configuration from before once, or grant that directory under the same name again"
    )]
    Elsewhere {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Where it lay.
        was: String,
        /// Where it lies now.
        is: String,
    },
    /// Steps change objects faster than the disk takes them.
    #[error(
        "BUCKET0012: {max} changes of objects by steps are on their way to the disk, and none is begun beside them; try again later"
    )]
    Behind {
        /// The bound.
        max: usize,
    },
}

impl Error {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoBucket { .. } => "BUCKET0001",
            Error::NoObject { .. } => "BUCKET0002",
            Error::BadName { .. } => "BUCKET0003",
            Error::ReadOnly { .. } => "BUCKET0004",
            Error::TooLarge { .. } => "BUCKET0005",
            Error::Full { .. } => "BUCKET0006",
            Error::Conflict { .. } => "BUCKET0007",
            Error::System { .. } => "BUCKET0008",
            Error::BadGrant { .. } => "BUCKET0009",
            Error::OnItsWay { .. } => "BUCKET0010",
            Error::LeadsOut { .. } => "BUCKET0011",
            Error::Behind { .. } => "BUCKET0012",
            Error::Elsewhere { .. } => "BUCKET0013",
            Error::DiskFull { .. } => "BUCKET0014",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        matches!(
            self,
            Error::System { .. }
                | Error::OnItsWay { .. }
                | Error::Behind { .. }
                | Error::DiskFull { .. }
        )
    }

    pub(crate) fn system(what: impl Into<String>, e: &io::Error) -> Error {
        let what = what.into();
        // cap-std's own refusal: the system's have a number.
        if e.kind() == io::ErrorKind::PermissionDenied && e.raw_os_error().is_none() {
            return Error::LeadsOut { what };
        }
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if full.contains(&e.kind()) {
            return Error::DiskFull { what };
        }
        Error::System {
            what,
            reason: e.to_string(),
        }
    }
}
