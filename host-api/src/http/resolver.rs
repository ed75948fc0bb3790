//! Name resolution that drops every address which may not be called.
//!
//! The address that was checked is the one connected to: the connector gets
//! nothing else, so a name cannot be rebound between check and use.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::policy::Policy;

/// A resolver that knows the policy; without one it lets every address pass.
pub(crate) struct Resolver(pub(crate) Option<Arc<Policy>>);

/// A name leads only to addresses that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` leads to {reason}")]
pub(crate) struct Denied {
    pub(crate) name: String,
    pub(crate) reason: &'static str,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let Some(policy) = policy else {
                return Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs);
            };
            let mut refused = None;
            let mut fine: Vec<SocketAddr> = Vec::new();
            for address in found {
                match policy.refusal(address.ip()) {
                    None => fine.push(address),
                    Some(reason) => refused = Some(reason),
                }
            }
            match (fine.is_empty(), refused) {
                (true, Some(reason)) => Err(Box::new(Denied {
                    name: name.as_str().to_owned(),
                    reason,
                })
                    as Box<dyn std::error::Error + Send + Sync>),
                _ => Ok(Box::new(fine.into_iter()) as Addrs),
            }
        })
    }
}
