//! Setting, listing and deleting secrets, and a new master key for all of them.
//!
//! Refuses to know a value for longer than it takes to have it sealed. A deleted secret leaves an
//! empty row, so that no version's number is ever given twice.

use std::sync::Arc;

use stepwell_store::{Batch, Key, Range};
use stepwell_types::Secret;

use super::{Catalog, check_name, shown};
use crate::Error;
use crate::api::{Page, SecretInfo, SecretVersion};

/// Rows read, and sealed anew, at a time: each may hold several large values.
const ROWS: usize = 16;

impl Catalog {
    /// Sets a secret; returns when its new version is durable.
    pub async fn set_secret(&self, name: &str, value: Secret) -> Result<SecretVersion, Error> {
        check_name("secret", name)?;
        let _one_at_a_time = self.0.changing.lock().await;
        let key = Key::Secret { name: name.into() };
        let row = self.0.reader.get(&key)?;
        let mut others = 0;
        self.each_secret(|other, versions| {
            others += usize::from(&**other != name && !versions.is_empty());
        })?;
        let set = self.0.clock.now();
        let vault = &self.0.vault;
        let (row, version) = vault.add(name, row.as_deref(), &value, others, set)?;
        let mut batch = Batch::default();
        batch.put(key, row);
        self.commit(batch).await?;
        Ok(SecretVersion { version, set })
    }

    /// Secrets by name.
    pub fn secrets(
        &self,
        after: Option<Arc<str>>,
        limit: usize,
    ) -> Result<Page<SecretInfo, Arc<str>>, Error> {
        let mut items: Vec<SecretInfo> = Vec::new();
        let mut last = after;
        loop {
            let range = Range::Secrets {
                after: last.clone(),
            };
            let rows = self.0.reader.scan(&range, ROWS)?;
            for (key, row) in &rows {
                let Key::Secret { name } = key else { continue };
                last = Some(name.clone());
                let versions = self.0.vault.versions(name, row)?;
                if versions.is_empty() {
                    continue;
                }
                if items.len() == limit {
                    let next = items.last().map(|last| last.name.clone());
                    return Ok(Page { items, next });
                }
                items.push(SecretInfo {
                    name: name.clone(),
                    versions,
                });
            }
            if rows.len() < ROWS {
                return Ok(Page { items, next: None });
            }
        }
    }

    /// Whether there is a secret of this name; of one that cannot be read, that there is.
    pub(super) fn has_secret(&self, name: &str) -> Result<bool, Error> {
        if check_name("secret", name).is_err() {
            return Ok(false);
        }
        let row = self.0.reader.get(&Key::Secret { name: name.into() })?;
        let versions = row.map(|row| self.0.vault.versions(name, &row));
        Ok(versions.is_some_and(|found| found.map_or(true, |versions| !versions.is_empty())))
    }

    /// Deletes a secret.
    pub async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let none = || Error::NoSecret(shown(name));
        let key = Key::Secret { name: name.into() };
        let row = self.0.reader.get(&key)?.ok_or_else(none)?;
        if self.0.vault.versions(name, &row)?.is_empty() {
            return Err(none());
        }
        let mut batch = Batch::default();
        batch.put(key, self.0.vault.clear(name, &row)?);
        self.commit(batch).await
    }

    /// Seals all secrets with a new key. After a crash on the way both keys open them, and a
    /// further rotation makes good what this one left.
    pub async fn rotate_secret_key(&self) -> Result<usize, Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        self.0.vault.begin_rotation()?;
        let mut names = Vec::new();
        self.each_secret(|name, versions| {
            if !versions.is_empty() {
                names.push(name.clone());
            }
        })?;
        for chunk in names.chunks(ROWS) {
            let mut batch = Batch::default();
            for name in chunk {
                let key = Key::Secret { name: name.clone() };
                if let Some(row) = self.0.reader.get(&key)? {
                    batch.put(key, self.0.vault.reseal(name, &row)?);
                }
            }
            self.commit(batch).await?;
        }
        self.0.vault.end_rotation()?;
        Ok(names.len())
    }

    fn each_secret(
        &self,
        mut visit: impl FnMut(&Arc<str>, Vec<SecretVersion>),
    ) -> Result<(), Error> {
        let mut after: Option<Arc<str>> = None;
        loop {
            let range = Range::Secrets {
                after: after.clone(),
            };
            let rows = self.0.reader.scan(&range, ROWS)?;
            for (key, row) in &rows {
                if let Key::Secret { name } = key {
                    visit(name, self.0.vault.versions(name, row)?);
                    after = Some(name.clone());
                }
            }
            if rows.len() < ROWS {
                return Ok(());
            }
        }
    }
}
