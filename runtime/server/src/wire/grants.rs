//! Manifests: what modules and flows may reach.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a module or a flow's Task resources may reach. Nothing by default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"http": [{"host": "api.example.com", "methods": ["GET", "POST"]}]}))]
pub struct Grants {
    /// Places that may be called over HTTP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Container images, or patterns that end in `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Networks of the server's configuration that containers may join, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Machines of the server's configuration, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
    /// Secrets, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Key-value namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_value: Vec<KeyValueGrant>,
    /// Buckets whose objects steps read or write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketGrant>,
    /// Directories of the server's configuration, by the path under which modules see them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
    /// Flows whose executions modules may start and send signals, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<String>,
    /// Connections of the server's configuration whose headers Tasks may borrow, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<String>,
    /// What steps read as their configuration (`wasi:config`), by key. A flow's goes before its modules'.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

/// Places of one kind that may be called over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// A host name, an address, `*.example.com`, or `*` for every public place.
    pub host: String,
    /// Ports; 443 when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Methods in capitals; every method when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

/// A namespace of the key-value store.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyValueGrant {
    /// Its name.
    pub namespace: String,
    /// Whether it may be changed.
    #[serde(default)]
    pub write: bool,
}

/// A bucket.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketGrant {
    /// Its name.
    pub bucket: String,
    /// Whether objects in it may be written and deleted.
    #[serde(default)]
    pub write: bool,
}

impl From<&stepwell_types::Grants> for Grants {
    fn from(g: &stepwell_types::Grants) -> Grants {
        let names = |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect();
        let http = |g: &stepwell_types::HttpGrant| HttpGrant {
            host: g.host.to_string(),
            ports: g.ports.clone(),
            methods: names(&g.methods),
        };
        let space = |g: &stepwell_types::KeyValueGrant| KeyValueGrant {
            namespace: g.namespace.to_string(),
            write: g.write,
        };
        let bucket = |g: &stepwell_types::BucketGrant| BucketGrant {
            bucket: g.bucket.to_string(),
            write: g.write,
        };
        Grants {
            http: g.http.iter().map(http).collect(),
            images: names(&g.images),
            networks: names(&g.networks),
            machines: names(&g.machines),
            secrets: names(&g.secrets),
            key_value: g.key_value.iter().map(space).collect(),
            buckets: g.buckets.iter().map(bucket).collect(),
            directories: names(&g.directories),
            flows: names(&g.flows),
            connections: names(&g.connections),
            config: g
                .config
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        }
    }
}

impl From<Grants> for stepwell_types::Grants {
    fn from(g: Grants) -> stepwell_types::Grants {
        let names = |list: Vec<String>| list.into_iter().map(Into::into).collect();
        let http = |g: HttpGrant| stepwell_types::HttpGrant {
            host: g.host.into(),
            ports: g.ports,
            methods: names(g.methods),
        };
        let space = |g: KeyValueGrant| stepwell_types::KeyValueGrant {
            namespace: g.namespace.into(),
            write: g.write,
        };
        let bucket = |g: BucketGrant| stepwell_types::BucketGrant {
            bucket: g.bucket.into(),
            write: g.write,
        };
        stepwell_types::Grants {
            http: g.http.into_iter().map(http).collect(),
            images: names(g.images),
            networks: names(g.networks),
            machines: names(g.machines),
            secrets: names(g.secrets),
            key_value: g.key_value.into_iter().map(space).collect(),
            buckets: g.buckets.into_iter().map(bucket).collect(),
            directories: names(g.directories),
            flows: names(g.flows),
            connections: names(g.connections),
            config: g
                .config
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        }
    }
}
