//! What steps keep and write, as the edges ask of it.

use std::sync::Arc;

use super::Orchestrator;
use crate::Error;
use crate::api::{NamespaceInfo, Page};

impl Orchestrator {
    /// Namespaces of what steps keep, by name; those that have no key are left out.
    /// # Errors
    /// `RUN0012`.
    pub fn namespaces(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<NamespaceInfo, String>, Error> {
        self.shared.catalog.namespaces(after, limit)
    }

    /// One namespace.
    /// # Errors
    /// `RUN0012`, `RUN0040`.
    pub fn namespace(&self, name: &str) -> Result<NamespaceInfo, Error> {
        self.shared.catalog.namespace(name)
    }

    /// The keys of a namespace, in order.
    /// # Errors
    /// `RUN0012`.
    pub fn namespace_keys(
        &self,
        name: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Arc<str>, Arc<str>>, Error> {
        self.shared.catalog.namespace_keys(name, after, limit)
    }

    /// What steps keep under a key.
    /// # Errors
    /// `RUN0012`, `RUN0040`.
    pub fn namespace_value(&self, name: &str, key: &str) -> Result<Vec<u8>, Error> {
        self.shared.catalog.namespace_value(name, key)
    }

    /// Takes a key out of a namespace. A step under way that has read it runs again.
    /// # Errors
    /// `RUN0012`, `RUN0040`.
    pub async fn delete_key(&self, name: &str, key: &str) -> Result<(), Error> {
        self.shared.catalog.delete_key(name, key).await
    }

    /// Takes all keys out of a namespace, some at a time; how many they were.
    /// # Errors
    /// `RUN0012`.
    pub async fn empty_namespace(&self, name: &str) -> Result<u64, Error> {
        self.shared.catalog.empty_namespace(name).await
    }

    /// Forgets changes of objects that were made.
    /// # Errors
    /// `RUN0007`.
    pub async fn landed(&self, names: Vec<Arc<str>>) -> Result<(), Error> {
        self.shared.catalog.landed(names).await
    }
}
