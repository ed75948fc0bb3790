//! Namespaces of what steps keep: their names in rows and for people, and their sizes.
//!
//! A row's is `MODULE/NAME`, or `/NAME` for one that modules share: no module has an empty name.
//! People write `shared/NAME` for that, and no module may be called [`SHARED`].

use std::ops::{Add, AddAssign, Sub};
use std::sync::Arc;

use stepwell_types::Growth;

/// What stands in place of a module's name where a namespace is shared.
pub const SHARED: &str = "shared";

/// The name of a module's own namespace in rows, or of one that is granted as `shared/NAME`.
#[must_use]
pub fn granted(module: &str, name: &str) -> Arc<str> {
    match shared(name) {
        Some(name) => format!("/{name}").into(),
        None => format!("{module}/{name}").into(),
    }
}

/// The name in rows of what people call so.
#[must_use]
pub fn from_shown(shown: &str) -> Arc<str> {
    match shared(shown) {
        Some(name) => format!("/{name}").into(),
        None => shown.into(),
    }
}

/// As people write it.
#[must_use]
pub fn shown(namespace: &str) -> String {
    match namespace.strip_prefix('/') {
        Some(name) => format!("{SHARED}/{name}"),
        None => namespace.to_owned(),
    }
}

fn shared(name: &str) -> Option<&str> {
    name.strip_prefix(SHARED)?.strip_prefix('/')
}

/// How much a namespace holds, or by how much that changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NamespaceSize {
    /// Keys that have a value.
    pub keys: i64,
    /// Bytes of these keys and their values.
    pub bytes: i64,
}

/// What a namespace may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Quota {
    /// Whether a namespace of this size may grow by so much. What makes it smaller is always allowed.
    #[must_use]
    pub fn allows(self, size: NamespaceSize, by: NamespaceSize) -> bool {
        let within = |now: i64, by: i64, max: u64| {
            by <= 0 || u64::try_from(now.saturating_add(by)).is_ok_and(|sum| sum <= max)
        };
        within(size.keys, by.keys, self.keys) && within(size.bytes, by.bytes, self.bytes)
    }
}

/// First byte of a row that holds a size.
const SIZE_VERSION: u8 = 1;

impl NamespaceSize {
    /// The bytes of its row.
    #[must_use]
    pub fn to_row(self) -> Vec<u8> {
        let mut row = vec![SIZE_VERSION];
        row.extend(self.keys.to_be_bytes());
        row.extend(self.bytes.to_be_bytes());
        row
    }

    /// Reads a row. `None`: these are no such bytes.
    #[must_use]
    pub fn from_row(row: &[u8]) -> Option<NamespaceSize> {
        let (version, rest) = row.split_first()?;
        let (keys, rest) = rest.split_first_chunk()?;
        let bytes = rest.try_into().ok()?;
        (*version == SIZE_VERSION).then_some(NamespaceSize {
            keys: i64::from_be_bytes(*keys),
            bytes: i64::from_be_bytes(bytes),
        })
    }
}

impl Add for NamespaceSize {
    type Output = NamespaceSize;

    fn add(self, other: NamespaceSize) -> NamespaceSize {
        NamespaceSize {
            keys: self.keys.saturating_add(other.keys),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl Sub for NamespaceSize {
    type Output = NamespaceSize;

    fn sub(self, other: NamespaceSize) -> NamespaceSize {
        NamespaceSize {
            keys: self.keys.saturating_sub(other.keys),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl AddAssign for NamespaceSize {
    fn add_assign(&mut self, other: NamespaceSize) {
        *self = *self + other;
    }
}

impl From<&Growth> for NamespaceSize {
    fn from(growth: &Growth) -> NamespaceSize {
        NamespaceSize {
            keys: growth.keys,
            bytes: growth.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(now: (i64, i64), by: (i64, i64), allowed: bool) {
        let size = |(keys, bytes)| NamespaceSize { keys, bytes };
        let quota = Quota { keys: 3, bytes: 10 };
        assert_eq!(quota.allows(size(now), size(by)), allowed, "{now:?} {by:?}");
    }

    #[test]
    fn quotas() {
        check((0, 0), (3, 10), true);
        check((0, 0), (4, 10), false);
        check((0, 0), (3, 11), false);
        check((2, 9), (1, 1), true);
        check((2, 9), (0, 2), false);
        check((2, i64::MAX), (0, 1), false);
        // Over it already.
        check((9, 90), (0, 0), true);
        check((9, 90), (-1, 0), true);
        check((9, 90), (-1, 1), false);
        check((9, 90), (-1, -5), true);
    }

    #[test]
    fn sizes_are_read_as_they_were_written() {
        let size = NamespaceSize {
            keys: -3,
            bytes: i64::MAX,
        };
        let row = size.to_row();
        assert_eq!(NamespaceSize::from_row(&row), Some(size));
        assert_eq!(NamespaceSize::from_row(&row[..16]), None);
        assert_eq!(NamespaceSize::from_row(&[]), None);
        assert_eq!(
            NamespaceSize::from_row(&[[2].as_slice(), &row[1..]].concat()),
            None
        );
    }

    #[track_caller]
    fn check_name(module: &str, name: &str, row: &str, people: &str) {
        let granted = granted(module, name);
        assert_eq!(*granted, *row);
        assert_eq!(shown(&granted), people);
        assert_eq!(from_shown(people), granted);
    }

    #[test]
    fn names() {
        check_name("bill", "own", "bill/own", "bill/own");
        check_name("bill", "shared/prices", "/prices", "shared/prices");
        check_name("bill", "shared/", "/", "shared/");
        check_name("bill", "sharedx/a", "bill/sharedx/a", "bill/sharedx/a");
        check_name("bill", "a/shared/b", "bill/a/shared/b", "bill/a/shared/b");
    }
}
