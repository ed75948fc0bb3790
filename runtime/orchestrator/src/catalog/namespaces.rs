//! What steps keep, as the edges see it: namespaces with their sizes, keys, values, and their removal.
//!
//! Refuses to write anything: a key is deleted like a step deletes one, and whoever read it runs again.

use std::sync::Arc;
use std::time::Duration;

use stepwell_store::{Batch, Key, NamespaceSize, Range, namespace};
use stepwell_types::Effects;

use super::{Catalog, ROWS, shown};
use crate::Error;
use crate::api::{NamespaceInfo, Page};

/// In place of a loop's number: the catalog counts what it removes.
const WRITER: u8 = u8::MAX;
/// Keys that are removed in one commit.
const KEYS: usize = 1_000;
/// How long keys are waited for to which steps write.
const WAIT: Duration = Duration::from_secs(5);

impl Catalog {
    /// Namespaces that have keys.
    pub fn namespaces(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<NamespaceInfo, String>, Error> {
        let mut items: Vec<NamespaceInfo> = Vec::new();
        let mut after = after.map(namespace::from_shown);
        // One namespace's rows may begin on one page and end on the next.
        let mut sum: Option<(Arc<str>, NamespaceSize)> = None;
        loop {
            let range = Range::NamespaceSizes {
                namespace: None,
                after: after.clone(),
            };
            let rows = self.0.reader.scan(&range, ROWS)?;
            let more = rows.len() == ROWS;
            let last = match rows.last() {
                Some((Key::NamespaceSize { namespace, .. }, _)) if more => Some(namespace.clone()),
                _ => None,
            };
            for (key, row) in rows {
                let Key::NamespaceSize { namespace, .. } = key else {
                    continue;
                };
                // It is read whole with the page that begins with it.
                if last.as_ref() == Some(&namespace) {
                    break;
                }
                let size = NamespaceSize::from_row(&row).unwrap_or_default();
                match &mut sum {
                    Some((of, sum)) if *of == namespace => *sum += size,
                    _ => {
                        items.extend(sum.take().and_then(|(of, sum)| self.about(&of, sum)));
                        sum = Some((namespace.clone(), size));
                    }
                }
                after = Some(namespace);
            }
            items.extend(sum.take().and_then(|(of, sum)| self.about(&of, sum)));
            if items.len() > limit {
                items.truncate(limit);
                let next = items.last().map(|last| last.name.clone());
                return Ok(Page { items, next });
            }
            if !more {
                return Ok(Page { items, next: None });
            }
        }
    }

    /// One that has keys.
    pub fn namespace(&self, name: &str) -> Result<NamespaceInfo, Error> {
        let of = namespace::from_shown(name);
        let range = Range::NamespaceSizes {
            namespace: Some(of.clone()),
            after: None,
        };
        let mut sum = NamespaceSize::default();
        for (_, row) in self.0.reader.scan(&range, usize::MAX)? {
            sum += NamespaceSize::from_row(&row).unwrap_or_default();
        }
        let none = || Error::NotKept(format!("namespace {} with keys", shown(name)));
        self.about(&of, sum).ok_or_else(none)
    }

    fn about(&self, of: &str, size: NamespaceSize) -> Option<NamespaceInfo> {
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        (size.keys > 0).then(|| NamespaceInfo {
            name: namespace::shown(of),
            keys: count(size.keys),
            bytes: count(size.bytes),
            quota: self.0.keeper.quota(of),
        })
    }

    /// Its keys, in order.
    pub fn namespace_keys(
        &self,
        name: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Arc<str>, Arc<str>>, Error> {
        let of = namespace::from_shown(name);
        let mut items = self.keys(&of, after.map(Arc::from), limit.saturating_add(1))?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).cloned();
        Ok(Page { items, next })
    }

    fn keys(
        &self,
        of: &Arc<str>,
        after: Option<Arc<str>>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, Error> {
        let range = Range::KeyValues {
            namespace: of.clone(),
            after,
        };
        let keys = self.0.reader.keys(&range, limit)?.into_iter();
        Ok(keys
            .filter_map(|key| match key {
                Key::KeyValue { key, .. } => Some(key),
                _ => None,
            })
            .collect())
    }

    /// What is kept under a key.
    pub fn namespace_value(&self, name: &str, key: &str) -> Result<Vec<u8>, Error> {
        let row = Key::KeyValue {
            namespace: namespace::from_shown(name),
            key: key.into(),
        };
        let none = || Error::NotKept(format!("key {} in namespace {}", shown(key), shown(name)));
        self.0.reader.get(&row)?.ok_or_else(none)
    }

    /// Removes a key.
    pub async fn delete_key(&self, name: &str, key: &str) -> Result<(), Error> {
        self.namespace_value(name, key)?;
        let of = namespace::from_shown(name);
        self.remove(of, vec![key.into()]).await.map(drop)
    }

    /// Removes all keys that there are; how many they were.
    pub async fn empty_namespace(&self, name: &str) -> Result<u64, Error> {
        let of = namespace::from_shown(name);
        let mut removed = 0;
        let mut after: Option<Arc<str>> = None;
        let mut at_once = KEYS;
        loop {
            let keys = self.keys(&of, after.clone(), at_once)?;
            let Some(last) = keys.last().cloned() else {
                return Ok(removed);
            };
            let tried = keys.len();
            match self.remove(of.clone(), keys).await {
                Ok(count) => {
                    removed += count;
                    // Those that steps make meanwhile lie behind, or are met.
                    after = Some(last);
                    at_once = KEYS.min(at_once * 2);
                }
                // Steps write to them all the time: few are free at one moment sooner than many.
                Err(Error::Busy { .. }) if tried > 1 => at_once = tried.div_ceil(10),
                Err(e) => return Err(e),
            }
        }
    }

    /// Apart: otherwise keys and room would be given back for a commit that comes.
    async fn remove(&self, of: Arc<str>, keys: Vec<Arc<str>>) -> Result<u64, Error> {
        Catalog::apart(self.clone().take_out(of, keys)).await
    }

    async fn take_out(self, of: Arc<str>, keys: Vec<Arc<str>>) -> Result<u64, Error> {
        // Nobody else waits meanwhile: only then it is this change's turn.
        let removal = tokio::time::timeout(WAIT, self.0.keeper.remove(of, keys)).await;
        let busy = |_| Error::Busy {
            reason: "steps write to these keys of the namespace all the time",
            retry_after_s: 1,
        };
        let Some(effects) = removal.map_err(busy)?? else {
            return Ok(0);
        };
        let _one_at_a_time = self.0.changing.lock().await;
        let Effects {
            writes,
            growth,
            hold,
            ..
        } = effects;
        let mut batch = Batch::default();
        for write in writes {
            batch.delete(Key::KeyValue {
                namespace: write.namespace,
                key: write.key,
            });
        }
        let mut removed = 0;
        for growth in &growth {
            let key = Key::NamespaceSize {
                namespace: growth.namespace.clone(),
                writer: WRITER,
            };
            // Changes go one at a time: what is durable is what the last one left.
            let row = self.0.reader.get(&key)?;
            let before = row.and_then(|row| NamespaceSize::from_row(&row));
            batch.put(key, (before.unwrap_or_default() + growth.into()).to_row());
            removed += growth.keys.min(0).unsigned_abs();
        }
        self.commit(batch).await?;
        hold.landed();
        Ok(removed)
    }
}
