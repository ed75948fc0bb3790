//! Names of buckets and keys of objects, checked before any path is made of them.
//!
//! Refuses what a file system would take for something else than a name: `.`, `..`, empty parts,
//! control characters. A key is a relative path, so that people find their objects as files.

use crate::Error;

/// Longest name of a bucket, in bytes (as in S3).
pub const BUCKET_BYTES_MAX: usize = 63;
/// Longest key, in bytes (as in S3).
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest part of a key between two slashes, in bytes: a file name.
pub const PART_BYTES_MAX: usize = 255;
/// Begins the names of files that are being written: no key, and in no listing.
pub const UNFINISHED: &str = ".stepwell-part-";

/// Begins the names of those that wait for a step's outcome: a start does not sweep them unseen.
pub(crate) const STAGED: &str = ".stepwell-part-step-";

/// Checks the name of a bucket: 1 to 63 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
/// # Errors
/// `BUCKET0003`.
pub fn check_bucket(name: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let good = (1..=BUCKET_BYTES_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if good {
        return Ok(());
    }
    let rule =
        "a bucket's name has 1 to 63 of `A-Z a-z 0-9 . _ -` and begins with a letter or digit";
    Err(bad("bucket", name, rule))
}

/// Checks an object's key: parts of 1 to 255 bytes between slashes, 1 to 1,024 bytes in all.
/// # Errors
/// `BUCKET0003`.
pub fn check_key(key: &str) -> Result<(), Error> {
    let refuse = |rule| Err(bad("key", key, rule));
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return refuse("a key has 1 to 1024 bytes");
    }
    if key.chars().any(|c| c.is_control() || c == '\\') {
        return refuse("a key has no control characters and no backslashes");
    }
    for part in key.split('/') {
        match part {
            "" => return refuse("a key has no slash at its ends and no two in a row"),
            "." | ".." => return refuse("no part of a key is `.` or `..`"),
            _ if part.len() > PART_BYTES_MAX => {
                return refuse("a part between two slashes has at most 255 bytes");
            }
            _ if part.starts_with(UNFINISHED) => {
                return refuse("such names are kept for files that are being written");
            }
            _ => {}
        }
    }
    Ok(())
}

fn bad(what: &'static str, name: &str, rule: &'static str) -> Error {
    Error::BadName {
        what,
        name: name.chars().take(100).collect(),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, bucket: bool, key: bool) {
        assert_eq!(check_bucket(name).is_ok(), bucket, "bucket {name:?}");
        assert_eq!(check_key(name).is_ok(), key, "key {name:?}");
    }

    #[test]
    fn names() {
        check("data", true, true);
        check("my.data_2-x", true, true);
        check("", false, false);
        check("a/b c/ü.csv", false, true);
        check(".hidden", false, true);
        check("..", false, false);
        check("a/../b", false, false);
        check("/a", false, false);
        check("a/", false, false);
        check("a//b", false, false);
        check("a\0b", false, false);
        check("a\\b", false, false);
        check(".stepwell-part-1", false, false);
        check(&"x".repeat(63), true, true);
        check(&"x".repeat(64), false, true);
        check(&"x".repeat(256), false, false);
        check(&"x/".repeat(600), false, false);
    }
}
