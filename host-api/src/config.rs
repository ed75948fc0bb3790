//! `wasi:config`: what the manifest says is the steps' configuration.
//!
//! It was fixed when the flow was published, so an attempt that runs again reads the same.
//! Refuses secrets: whoever sees a manifest sees it.
//! Source: `wit/config@0.2.0-rc.1`.

use crate::bindings::wasi::config::store::{Error, Host as Config};
use crate::host::Host;

impl Config for Host {
    fn get(&mut self, key: String) -> Result<Option<String>, Error> {
        let grants = self.outside().grants();
        let value = grants.and_then(|grants| grants.config.get(key.as_str()));
        Ok(value.map(ToString::to_string))
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, Error> {
        let grants = self.outside().grants();
        let all = grants.into_iter().flat_map(|grants| &grants.config);
        Ok(all
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect())
    }
}
