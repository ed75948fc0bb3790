//! Grants: what a module or a flow may reach outside. Nothing by default.
//!
//! A grant says what may be reached, never how: secrets and addresses of machines stay
//! in the server's configuration, which a grant cannot widen. Beside them a manifest may say what
//! steps read as their configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::limits::{HTTP_METHODS as METHODS, NAME_BYTES_MAX};

/// The manifest of a module or a flow. Every list is written, empty ones too: rows have no names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Places that may be called over HTTP.
    pub http: Vec<HttpGrant>,
    /// Container images: `registry/name:tag`, or a pattern that ends in `*`.
    pub images: Vec<Arc<str>>,
    /// Networks that containers may join, by name.
    pub networks: Vec<Arc<str>>,
    /// Machines of the server's configuration, by name.
    pub machines: Vec<Arc<str>>,
    /// Secrets, by name.
    pub secrets: Vec<Arc<str>>,
    /// Key-value namespaces.
    pub key_value: Vec<KeyValueGrant>,
    /// Buckets whose objects steps read or write.
    pub buckets: Vec<BucketGrant>,
    /// Directories of the server's configuration, by the path under which guests see them.
    pub directories: Vec<Arc<str>>,
    /// Flows whose executions steps may start and send signals, by name.
    pub flows: Vec<Arc<str>>,
    /// Connections of the server's configuration whose headers Tasks may borrow, by name.
    pub connections: Vec<Arc<str>>,
    /// What steps read as their configuration, by key. No secret belongs here: it is shown.
    pub config: BTreeMap<Arc<str>, Arc<str>>,
}

/// Places of one kind that may be called over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// A host name, an address, `*.example.com` for every name below it, or `*` for every public place.
    pub host: Arc<str>,
    /// Ports; none: 443 alone.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Methods in capitals; none: every method.
    #[serde(default)]
    pub methods: Vec<Arc<str>>,
}

/// A namespace of the key-value store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyValueGrant {
    /// Its name.
    pub namespace: Arc<str>,
    /// Whether it may be changed.
    #[serde(default)]
    pub write: bool,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketGrant {
    /// Its name.
    pub bucket: Arc<str>,
    /// Whether objects in it may be written and deleted.
    #[serde(default)]
    pub write: bool,
}

/// How a place was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Granted {
    /// By a pattern: public places alone.
    Public,
    /// By its very name: what the server's configuration allows too.
    Named,
}

/// Most entries of a manifest.
const ENTRIES_MAX: usize = 1_000;
/// Longest key of the configuration, in bytes.
const CONFIG_KEY_BYTES_MAX: usize = 256;
/// Longest value of the configuration, in bytes.
const CONFIG_VALUE_BYTES_MAX: usize = 8 << 10;
/// The port of a grant that names none.
const PORT: u16 = 443;

impl Grants {
    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Grants::default()
    }

    /// Whether the manifest says what it can mean.
    /// # Errors
    /// Which entry is wrong, and how it is written.
    pub fn check(&self) -> Result<(), String> {
        let lists = [
            &self.images,
            &self.networks,
            &self.machines,
            &self.secrets,
            &self.directories,
            &self.flows,
            &self.connections,
        ];
        let entries = lists.iter().map(|l| l.len()).sum::<usize>();
        let stores = self.key_value.len() + self.buckets.len();
        if self.http.len() + stores + self.config.len() + entries > ENTRIES_MAX {
            return Err(format!("a manifest has at most {ENTRIES_MAX} entries"));
        }
        for (key, value) in &self.config {
            let fits = (1..=CONFIG_KEY_BYTES_MAX).contains(&key.len());
            if !fits || value.len() > CONFIG_VALUE_BYTES_MAX {
                return Err(format!(
                    "config {key:?}: a key has 1 to {CONFIG_KEY_BYTES_MAX} bytes, a value at most {CONFIG_VALUE_BYTES_MAX}"
                ));
            }
        }
        for grant in &self.http {
            let host = grant.host.strip_prefix("*.").unwrap_or(&grant.host);
            let name = |c: char| c.is_ascii_alphanumeric() || "-_.[]:".contains(c);
            let address = host.starts_with('[') && host.ends_with(']');
            let fine = host == "*" && host.len() == grant.host.len()
                || !host.is_empty()
                    && host.chars().all(name)
                    && (address || !host.contains([':', '[', ']']));
            if !fine {
                return Err(format!(
                    "{:?} is no host: write a name, an address, `*.example.com` or `*`, and ports under `ports`",
                    grant.host
                ));
            }
            if let Some(method) = grant.methods.iter().find(|m| !METHODS.contains(&&***m)) {
                return Err(format!("{method:?} is no method: {}", METHODS.join(", ")));
            }
        }
        let mut names = lists.into_iter().flatten();
        let buckets = self.buckets.iter().map(|g| &g.bucket);
        let mut spaces = self.key_value.iter().map(|g| &g.namespace).chain(buckets);
        let odd = |name: &&Arc<str>| name.is_empty() || name.len() > NAME_BYTES_MAX * 4;
        match names.find(odd).or_else(|| spaces.find(odd)) {
            Some(name) => Err(format!("{name:?} is empty or too long a name")),
            None => Ok(()),
        }
    }

    /// Whether a call to a place is granted, and how. `host` in the spelling of a URL parser: lower
    /// case, an IPv6 address in brackets; `method` in capitals.
    #[must_use]
    pub fn http(&self, host: &str, port: u16, method: &str) -> Option<Granted> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let fits = |g: &&HttpGrant| {
            (g.ports.contains(&port) || g.ports.is_empty() && port == PORT)
                && (g.methods.is_empty() || g.methods.iter().any(|m| **m == *method))
        };
        let how = |g: &HttpGrant| match g.host.strip_prefix('*') {
            None => g.host.eq_ignore_ascii_case(host).then_some(Granted::Named),
            Some("") => Some(Granted::Public),
            Some(rest) => host
                .to_ascii_lowercase()
                .ends_with(&rest.to_ascii_lowercase())
                .then_some(Granted::Public),
        };
        self.http.iter().filter(fits).filter_map(how).max()
    }

    /// Whether a bucket's objects may be read, or written too.
    #[must_use]
    pub fn bucket(&self, name: &str, write: bool) -> bool {
        let gives = |g: &BucketGrant| *g.bucket == *name && g.write >= write;
        self.buckets.iter().any(gives)
    }

    /// Whether a flow's executions may be started and sent signals.
    #[must_use]
    pub fn flow(&self, name: &str) -> bool {
        self.flows.iter().any(|known| **known == *name)
    }

    /// As [`Grants::bucket`], for whoever is refused otherwise.
    /// # Errors
    /// `Stepwell.NotGranted`.
    pub fn allow_bucket(&self, name: &str, write: bool) -> Result<(), Failure> {
        let how = if write { " for writing" } else { "" };
        refused(self.bucket(name, write), "bucket", name, how, "buckets")
    }

    /// As [`Grants::flow`], for whoever is refused otherwise.
    /// # Errors
    /// `Stepwell.NotGranted`.
    pub fn allow_flow(&self, name: &str) -> Result<(), Failure> {
        refused(self.flow(name), "flow", name, "", "flows")
    }

    /// What these grants give that `before` did not, a line each, as a person reads it.
    #[must_use]
    pub fn beyond(&self, before: &Grants) -> Vec<String> {
        let mut lines = Vec::new();
        for grant in &self.http {
            let ports = match grant.ports.as_slice() {
                [] => &[PORT][..],
                ports => ports,
            };
            for port in ports {
                for method in grant.methods_or_any() {
                    if !before.covers(&grant.host, *port, method) {
                        let method = method.unwrap_or("any method");
                        lines.push(format!("http {method} {}:{port}", grant.host));
                    }
                }
            }
        }
        let named = [
            ("image", &self.images, &before.images),
            ("network", &self.networks, &before.networks),
            ("machine", &self.machines, &before.machines),
            ("secret", &self.secrets, &before.secrets),
            ("directory", &self.directories, &before.directories),
            ("flow", &self.flows, &before.flows),
            ("connection", &self.connections, &before.connections),
        ];
        for (what, now, then) in named {
            let new = now.iter().filter(|name| match what {
                "image" => !then.iter().any(|grant| image_fits(grant, name)),
                _ => !then.contains(name),
            });
            lines.extend(new.map(|name| format!("{what} {name}")));
        }
        for grant in &self.key_value {
            let had = |g: &KeyValueGrant| g.namespace == grant.namespace && g.write >= grant.write;
            if !before.key_value.iter().any(had) {
                let how = if grant.write { "write" } else { "read" };
                lines.push(format!("key-value {how} {}", grant.namespace));
            }
        }
        for grant in &self.buckets {
            if !before.bucket(&grant.bucket, grant.write) {
                let how = if grant.write { "write" } else { "read" };
                lines.push(format!("bucket {how} {}", grant.bucket));
            }
        }
        lines
    }

    /// Whether these give a host or pattern of hosts with this port, and method or every method.
    fn covers(&self, host: &str, port: u16, method: Option<&str>) -> bool {
        self.http.iter().any(|g| {
            let hosts = g.host.eq_ignore_ascii_case(host)
                || g.host.strip_prefix('*').is_some_and(|rest| {
                    // A name of its own may lead to private places too: a pattern does not give that.
                    host.starts_with('*') && host.ends_with(rest)
                });
            hosts
                && (g.ports.contains(&port) || g.ports.is_empty() && port == PORT)
                && (g.methods.is_empty()
                    || method.is_some_and(|m| g.methods.iter().any(|known| **known == *m)))
        })
    }
}

fn refused(may: bool, what: &str, name: &str, how: &str, list: &str) -> Result<(), Failure> {
    let shown: String = name.chars().take(64).collect();
    let cause = || {
        format!(
            "the manifest does not grant the {what} {shown:?}{how}; add it under `{list}` and publish again"
        )
    };
    may.then_some(())
        .ok_or_else(|| Failure::new("Stepwell.NotGranted", cause()))
}

/// Whether a grant is this image, or a pattern that it fits; of a pattern, whether it gives all of it.
#[must_use]
pub fn image_fits(grant: &str, name: &str) -> bool {
    match grant.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == grant,
    }
}

impl HttpGrant {
    fn methods_or_any(&self) -> Vec<Option<&str>> {
        match self.methods.as_slice() {
            [] => vec![None],
            methods => methods.iter().map(|m| Some(&**m)).collect(),
        }
    }
}
