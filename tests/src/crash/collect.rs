//! Reads everything that a server knows: executions, histories, usage.
//!
//! Refuses to compare: that is the checker's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::client::Api;

/// One execution with its history.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// As `describe` shows it.
    pub shown: Value,
    /// All its events.
    pub history: Vec<Value>,
}

/// What is counted per flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Executions accepted.
    pub started: u64,
    /// Entries into states.
    pub transitions: u64,
    /// wasmtime fuel.
    pub fuel: u64,
}

/// Everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Everything {
    /// By id.
    pub executions: BTreeMap<String, Known>,
    /// By flow.
    pub usage: BTreeMap<String, Used>,
}

/// Waits until nothing runs; returns what still does when for so long not one has ended.
///
/// # Errors
/// The server is away, or answers strangely.
pub async fn settle(api: &Api, bound: Duration) -> Result<BTreeSet<String>> {
    let (mut since, mut left) = (Instant::now(), BTreeSet::new());
    loop {
        let running = ids(api, "status=RUNNING&").await?;
        if running != left {
            (since, left) = (Instant::now(), running);
        }
        if left.is_empty() || since.elapsed() > bound {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads everything.
///
/// # Errors
/// The server is away, or answers strangely.
pub async fn everything(api: &Api) -> Result<Everything> {
    let all = ids(api, "").await?;
    let known = stream::iter(all)
        .map(|id| async move { Ok::<_, anyhow::Error>((id.clone(), known(api, &id).await?)) })
        .buffer_unordered(8);
    Ok(Everything {
        executions: known.try_collect().await?,
        usage: usage(api).await?,
    })
}

async fn ids(api: &Api, filter: &str) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = read(api, &format!("/v1/executions?{filter}limit=1000{after}")).await?;
        for execution in page["executions"].as_array().into_iter().flatten() {
            let id = execution["id"]
                .as_str()
                .context("an execution without an id")?;
            if !all.insert(id.to_owned()) {
                bail!("{id} is listed twice");
            }
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

async fn known(api: &Api, id: &str) -> Result<Known> {
    let shown = read(api, &format!("/v1/executions/{id}")).await?;
    let mut history = Vec::new();
    let mut after = 0;
    loop {
        let mut page = read(
            api,
            &format!("/v1/executions/{id}/history?after={after}&limit=1000"),
        )
        .await?;
        if let Some(events) = page["events"].as_array_mut() {
            history.append(events);
        }
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => return Ok(Known { shown, history }),
        }
    }
}

async fn usage(api: &Api) -> Result<BTreeMap<String, Used>> {
    let report = read(api, "/v1/usage").await?;
    let mut usage: BTreeMap<String, Used> = BTreeMap::new();
    for row in report["usage"]
        .as_array()
        .context("a usage report without rows")?
    {
        let number = |name: &str| row[name].as_u64().context("usage that is no number");
        let flow = row["flow"].as_str().context("usage without a flow")?;
        let sum = usage.entry(flow.to_owned()).or_default();
        sum.started += number("started")?;
        sum.transitions += number("transitions")?;
        sum.fuel += number("fuel")?;
    }
    Ok(usage)
}

async fn read(api: &Api, path: &str) -> Result<Value> {
    let answer = api.get(path).await?;
    if answer.status != 200 {
        bail!("GET {path}: {} {}", answer.status, answer.body);
    }
    Ok(answer.body)
}
