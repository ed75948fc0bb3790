//! Objects for an attempt that is run again: those that it read are where they were, on the server;
//! those that it writes go to a folder that goes with the replay.
//!
//! Refuses to change an object of the server.

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::Value;
use stepwell_buckets::Buckets;
use stepwell_host_api::objects::{Begun, Found, NewObject, Objects, failed};
use stepwell_types::{Failure, Timestamp};

use crate::client::Remote;
use crate::exit::Trouble;
use crate::objects::{InBuckets, Own};

/// The buckets of a server, for reading.
pub struct There {
    remote: Remote,
    own: InBuckets,
}

impl There {
    /// Those of this server; what is written goes to these.
    pub fn new(remote: Remote, own: Buckets) -> There {
        let own = InBuckets::at_once(own);
        There { remote, own }
    }

    /// Downloads an object. `None`: there is none.
    fn fetch(&self, bucket: &str, key: &str) -> Result<Option<(File, u64, String)>, Trouble> {
        let mut path = vec!["buckets", bucket, "objects"];
        path.extend(key.split('/'));
        let request = self.remote.get(&path);
        let broken = |e: std::io::Error| {
            Trouble::system(format!(
                "object {key} of bucket {bucket} cannot be kept here: {e}"
            ))
        };
        self.remote.runtime.block_on(async {
            let sent = request.send().await;
            let response = sent.map_err(|e| self.remote.unreachable(&e))?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let mut response = self.remote.taken(response).await?;
            let tag = response.headers().get("etag");
            let tag = tag.and_then(|tag| tag.to_str().ok());
            let tag = tag.ok_or_else(|| self.remote.stranger("its object has no tag"))?;
            let tag = tag.to_owned();
            let mut file = tempfile::tempfile().map_err(broken)?;
            let mut size = 0;
            loop {
                let next = response.chunk().await;
                let Some(bytes) = next.map_err(|e| self.remote.unreachable(&e))? else {
                    break;
                };
                size += bytes.len() as u64;
                file.write_all(&bytes).map_err(broken)?;
            }
            Ok(Some((file, size, tag)))
        })
    }

    /// A page of keys, and whether there are more.
    fn page(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Trouble> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|after| ("after", after.to_owned())));
        let request = self.remote.get(&["buckets", bucket, "objects"]);
        let page = self.remote.value(request.query(&query), &["objects"])?;
        let objects = page.get("objects").and_then(Value::as_array);
        let keys = objects.into_iter().flatten().filter_map(|object| {
            let key = object.get("key").and_then(Value::as_str);
            key.map(str::to_owned)
        });
        Ok((keys.collect(), page.get("next").is_some()))
    }
}

impl Objects for There {
    fn open(&self, bucket: &str, _key: &str) -> Result<(Box<dyn Read + Send>, u64), Failure> {
        Err(failed(format!(
            "nothing leaves from here, such as a file of bucket `{bucket}`"
        )))
    }

    fn create(&self, bucket: &str, _key: &str) -> Result<Box<dyn NewObject>, Failure> {
        Err(failed(format!(
            "nothing comes to here, such as a file of bucket `{bucket}`"
        )))
    }

    fn find(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure> {
        let fetched = self.fetch(bucket, key).map_err(told)?;
        Ok(fetched.map(|(file, size, etag)| Found {
            size,
            // The journal knows; the server says it in listings alone.
            modified: Timestamp(0),
            etag: etag.into(),
            bytes: Arc::new(Own(file)),
        }))
    }

    fn list(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Failure> {
        self.page(bucket, after, limit).map_err(told)
    }

    fn begin(&self, bucket: &str, key: &str) -> Result<Box<dyn Begun>, Failure> {
        self.own.begin(bucket, key)
    }

    fn bytes_max(&self) -> u64 {
        self.own.bytes_max()
    }
}

fn told(trouble: Trouble) -> Failure {
    Failure::new("Stepwell.ObjectFailed", trouble.message)
}
