//! Publishing and reading flows.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stepwell_flow::program::{Mode, TaskGrants};
use stepwell_flow::reach;
use stepwell_flow::resource::{Advice, ResourceMap, Target};
use stepwell_flow::substitute::BadSubstitution;
use stepwell_flow::{Diagnostic, Program, Resolve, Severity, Unresolved, compile_filled};
use stepwell_store::{Batch, Key};
use stepwell_types::limits::DEFINITION_BYTES_MAX;
use stepwell_types::{Digest, FlowRef, Grants};

use super::{Catalog, FlowMeta, Index, check_name, permitted};
use crate::Error;
use crate::api::{Filling, FlowInfo, HttpTrigger, Page, Published};
use crate::ports::ModuleStore;
use crate::rows::{self, FlowRow, TriggerRow};

/// A definition compiled, and what its module names meant.
pub(super) struct Compiled {
    pub program: Arc<Program>,
    /// Flows that it starts by name, of a version that was published before.
    pub starts: BTreeSet<Arc<str>>,
    pub modules: Vec<(Arc<str>, Digest)>,
    /// Resources that meant others, and which.
    pub resources: Pairs,
    pub grants: TaskGrants,
    pub warnings: Vec<Diagnostic>,
}

/// Names as they are spelled, digests, manifests.
type Manifests = Vec<(Arc<str>, Digest, Arc<Grants>)>;
/// Names and what they stand for, sorted.
type Pairs = Vec<(Arc<str>, Arc<str>)>;

impl Catalog {
    /// All problems of a definition, against the modules that are there now.
    pub async fn validate(
        &self,
        definition: String,
        filling: Filling,
        mode: Mode,
    ) -> Result<Vec<Diagnostic>, Error> {
        let maps = self.maps(filling.resources)?;
        let catalog = self.clone();
        self.check(move |index, store| {
            let mut names = Names::new(index, store, None, maps.each_ref());
            names.express = mode != Mode::Standard;
            let checked = compile_filled(&definition, &filling.substitutions, &names);
            let checked = checked.map_err(bad_filling)?;
            let mut diagnostics = checked.diagnostics;
            // Without a manifest nobody knows yet what it will be published with.
            if let (Some(program), Some(grants)) = (&checked.program, &filling.permission.grants) {
                let beyond = catalog.out_of_reach(&definition, program, Some(grants))?;
                diagnostics.extend(beyond);
            }
            Ok(diagnostics)
        })
        .await
    }

    /// Checks what takes long off the loops, one at a time, against what is published now.
    pub(super) async fn check<T: Send + 'static>(
        &self,
        check: impl FnOnce(&Index, &dyn ModuleStore) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.0.checking.clone().acquire_owned().await;
        let (index, store) = (self.0.index.read().clone(), self.0.store.clone());
        let work = move || {
            let _one_at_a_time = permit;
            check(&index, &*store)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Error::Store("checking failed; see the server's log".into()))?
    }

    /// What is asked for what a resource means: what was given, then the server's own map.
    fn maps(&self, given: BTreeMap<String, String>) -> Result<[ResourceMap; 2], Error> {
        let given = ResourceMap::new(given).map_err(Error::BadFilling)?;
        Ok([given, self.0.resources.clone()])
    }

    /// Publishes a definition under a name. The same text with the same modules as
    /// the newest version is that version.
    pub async fn publish(
        &self,
        name: &str,
        definition: &str,
        filling: Filling,
        triggers: Option<Vec<HttpTrigger>>,
        mode: Mode,
    ) -> Result<Published, Error> {
        check_name("flow", name)?;
        if definition.len() > DEFINITION_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "the definition",
                bytes: definition.len() as u64,
                max: DEFINITION_BYTES_MAX as u64,
            });
        }
        let _one_at_a_time = self.0.changing.lock().await;
        let name: Arc<str> = name.into();
        let maps = self.maps(filling.resources)?;
        let (own, text, values) = (
            name.clone(),
            definition.to_owned(),
            filling.substitutions.clone(),
        );
        let newest = self.newest_meta(&name);
        let before = newest.as_ref();
        let before = before.and_then(|(v, m)| Some((*v, &**m.grants.flow.as_ref()?)));
        let own_grants = permitted("flow", &name, before, &filling.permission)?;
        let catalog = self.clone();
        let compiled = self
            .check(move |index, store| {
                let mut names = Names::new(index, store, Some(&own), maps.each_ref());
                names.express = mode != Mode::Standard;
                let mut compiled = compile(&text, &values, &names, mode, own_grants)?;
                let grants = compiled.grants.flow.as_deref();
                let beyond = catalog.out_of_reach(&text, &compiled.program, grants)?;
                compiled.warnings.extend(beyond);
                Ok(compiled)
            })
            .await?;
        let substitutions: Pairs = filling
            .substitutions
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        let digest = Digest::of(definition.as_bytes());
        let mut batch = Batch::default();
        let endpoints = match triggers {
            None => None,
            Some(list) => Some(self.check_triggers(&name, &list)?),
        };
        let lives = self.0.index.read().flows.contains_key(&name);
        let same = newest.as_ref().filter(|(_, m)| {
            // A deleted version does not come back.
            lives
                && (m.digest, m.mode) == (digest, mode)
                && m.modules == compiled.modules
                && m.substitutions == substitutions
                && m.resources == compiled.resources
                && m.grants == compiled.grants
        });
        let new = same.is_none();
        let version = match (&same, &newest) {
            (Some((v, _)), _) => *v,
            (None, Some((v, _))) => v + 1,
            (None, None) => 1,
        };
        let before = newest.as_ref().map(|(_, m)| &m.grants);
        let gained = difference(before, Some(&compiled.grants));
        let lost = difference(Some(&compiled.grants), before);
        let meta = FlowMeta {
            published: same.map_or_else(|| self.0.clock.now(), |(_, m)| m.published),
            digest,
            modules: compiled.modules,
            mode,
            substitutions,
            resources: compiled.resources,
            grants: compiled.grants,
        };
        if new {
            let row = FlowRow {
                published: meta.published,
                definition: definition.into(),
                modules: meta.modules.clone(),
                mode,
                substitutions: meta.substitutions.clone(),
                resources: meta.resources.clone(),
                grants: meta.grants.clone(),
            };
            let key = Key::Flow {
                name: name.clone(),
                version,
            };
            batch.put(key, rows::encode(&row));
        }
        if let Some(row) = &endpoints {
            let key = Key::Trigger { flow: name.clone() };
            batch.put(key, rows::encode(row));
        }
        if !batch.is_empty() {
            self.commit(batch).await?;
        }
        let bytes = text_bytes(definition, &meta.substitutions);
        {
            let mut index = self.0.index.write();
            let index = Arc::make_mut(&mut index);
            let versions = index.flows.entry(name.clone()).or_default();
            versions.insert(version, meta);
            if let Some(row) = endpoints {
                index.set_triggers(name.clone(), row);
            }
        }
        let flow = FlowRef {
            name: name.clone(),
            version,
        };
        self.0.programs.lock().put(flow, compiled.program, bytes);
        Ok(Published {
            flow: self.flow(&name, Some(version))?,
            new,
            gained,
            lost,
            diagnostics: compiled.warnings,
        })
    }

    /// The newest version of each flow, by name.
    pub fn flows(&self, after: Option<&str>, limit: usize) -> Page<FlowInfo, Arc<str>> {
        let index = self.0.index.read();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut items = Vec::new();
        for (name, versions) in index
            .flows
            .range::<str, _>((from, std::ops::Bound::Unbounded))
        {
            if items.len() == limit {
                let next = items.last().map(|i: &FlowInfo| i.name.clone());
                return Page { items, next };
            }
            if let Some((version, meta)) = versions.last_key_value() {
                items.push(info(&index, name, *version, meta));
            }
        }
        Page { items, next: None }
    }

    /// All versions of a flow, oldest first, without their texts.
    pub fn flow_versions(&self, name: &str) -> Result<Vec<FlowInfo>, Error> {
        let index = self.0.index.read();
        let (name, versions) = index
            .flows
            .get_key_value(name)
            .ok_or_else(|| index.no_flow(name, None))?;
        let infos = versions.iter().map(|(v, m)| info(&index, name, *v, m));
        Ok(infos.collect())
    }

    /// One version with its text; `None`: the newest.
    pub fn flow(&self, name: &str, version: Option<u32>) -> Result<FlowInfo, Error> {
        let version = match version {
            Some(v) => v,
            None => self.newest(name)?,
        };
        let mut found = {
            let index = self.0.index.read();
            let missing = || index.no_flow(name, Some(version));
            let (name, versions) = index.flows.get_key_value(name).ok_or_else(missing)?;
            let meta = versions.get(&version).ok_or_else(missing)?;
            info(&index, name, version, meta)
        };
        let key = Key::Flow {
            name: found.name.clone(),
            version,
        };
        let row = self.0.reader.get(&key)?;
        let row = row.ok_or_else(|| self.0.index.read().no_flow(name, Some(version)))?;
        let row: FlowRow = rows::decode(&row)?;
        found.definition = Some(row.definition);
        Ok(found)
    }

    /// Warnings about what the flow names, and neither its manifest nor the server gives it.
    fn out_of_reach(
        &self,
        definition: &str,
        program: &Program,
        grants: Option<&Grants>,
    ) -> Result<Vec<Diagnostic>, Error> {
        let has = |name: &str| self.has_secret(name);
        reach::out_of_reach(definition, program, grants, has)
    }

    fn newest_meta(&self, name: &str) -> Option<(u32, FlowMeta)> {
        let index = self.0.index.read();
        let versions = index.flows.get(name).or_else(|| index.withdrawn.get(name));
        let (version, meta) = versions?.last_key_value()?;
        Some((*version, meta.clone()))
    }
}

/// What one version of a flow, and its modules, may reach that another may not; `None`: there is none.
/// Without a manifest it is bound by the configuration alone, but has no secrets.
fn difference(had: Option<&TaskGrants>, has: Option<&TaskGrants>) -> Vec<String> {
    let Some(has) = has else { return Vec::new() };
    let nothing = Grants::default();
    let own = had.map(|had| had.flow.as_deref());
    let mut lines = match (own, has.flow.as_deref()) {
        (None | Some(None), None) => Vec::new(),
        (None, Some(grants)) => grants.beyond(&nothing),
        (Some(None), Some(grants)) => {
            let secrets = grants.secrets.clone();
            let grants = Grants {
                secrets,
                ..Grants::default()
            };
            grants.beyond(&nothing)
        }
        (Some(Some(before)), Some(grants)) => grants.beyond(before),
        (Some(Some(_)), None) => vec!["all else that the server's configuration allows".to_owned()],
    };
    for (name, _, grants) in &has.modules {
        let same = |(known, ..): &&(Arc<str>, Digest, Arc<Grants>)| known == name;
        let before = had.and_then(|had| had.modules.iter().find(same));
        let before = before.map_or(&nothing, |(_, _, grants)| &**grants);
        let beyond = grants.beyond(before).into_iter();
        lines.extend(beyond.map(|line| format!("module {name}: {line}")));
    }
    lines
}

fn info(index: &Index, name: &Arc<str>, version: u32, meta: &FlowMeta) -> FlowInfo {
    FlowInfo {
        name: name.clone(),
        version,
        published: meta.published,
        digest: meta.digest,
        definition: None,
        modules: meta.modules.clone(),
        mode: meta.mode,
        substitutions: meta.substitutions.clone(),
        resources: meta.resources.clone(),
        grants: meta.grants.flow.clone(),
        triggers: index
            .triggers
            .get(name)
            .map(TriggerRow::list)
            .unwrap_or_default(),
    }
}

/// Most modules among which a flow's data may choose.
const CHOICE_MAX: usize = 1_000;

/// What module names mean now, and which were asked for.
struct Names<'a> {
    index: &'a Index,
    store: &'a dyn ModuleStore,
    asked: RefCell<Vec<(Arc<str>, Digest)>>,
    /// What resources mean: the first map that says something.
    maps: [&'a ResourceMap; 2],
    bound: RefCell<BTreeMap<Arc<str>, Arc<str>>>,
    /// What is being published: it may start itself.
    own: Option<&'a str>,
    express: bool,
}

impl<'a> Names<'a> {
    fn new(
        index: &'a Index,
        store: &'a dyn ModuleStore,
        own: Option<&'a str>,
        maps: [&'a ResourceMap; 2],
    ) -> Names<'a> {
        Names {
            index,
            store,
            asked: RefCell::new(Vec::new()),
            maps,
            bound: RefCell::new(BTreeMap::new()),
            own,
            express: false,
        }
    }
}

impl Names<'_> {
    /// The manifests of modules as they are spelled, without empty ones. What the flow's own
    /// says of the configuration goes before what the modules' say.
    fn manifests(
        &self,
        modules: &[(Arc<str>, Digest)],
        own: Option<&Grants>,
    ) -> Result<Manifests, Error> {
        let bare = |spelled: &Arc<str>| spelled.split('@').next().map(str::to_owned);
        let mut all: Manifests = Vec::new();
        for (spelled, digest) in modules {
            let mut grants = self.manifest(spelled).unwrap_or_default();
            if let Some(own) = own.filter(|own| !own.config.is_empty()) {
                let config = own.config.clone();
                Arc::make_mut(&mut grants).config.extend(config);
            }
            let same = |(n, d, g): &&(Arc<str>, Digest, Arc<Grants>)| {
                d == digest && bare(n) == bare(spelled) && *g != grants
            };
            if let Some((other, ..)) = all.iter().find(same) {
                return Err(Error::BadGrants(format!(
                    "the flow uses {other} and {spelled}, which are the same bytes with other grants; use one of them"
                )));
            }
            all.push((spelled.clone(), *digest, grants));
        }
        all.retain(|(.., grants)| !grants.is_empty());
        Ok(all)
    }

    /// The manifest of a module as it is spelled.
    fn manifest(&self, spelled: &str) -> Option<Arc<Grants>> {
        let (name, version) = match spelled.split_once('@') {
            None => (spelled, None),
            Some((name, version)) => (name, version.parse::<usize>().ok()),
        };
        let versions = &self.index.modules.get(name)?.versions;
        let found = match version {
            None => versions.last(),
            Some(v) => versions.get(v.checked_sub(1)?),
        };
        found.map(|v| v.grants.clone())
    }
}

/// `name`, or `name@version`: how a row spells what a flow asked for.
fn spelled(name: &str, version: Option<&str>) -> Arc<str> {
    match version {
        None => name.into(),
        Some(v) => format!("{name}@{v}").into(),
    }
}

impl Resolve for Names<'_> {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        let available = || self.index.modules.keys().map(|k| k.to_string()).collect();
        let row = self.index.modules.get(name);
        let row = row.ok_or_else(|| Unresolved {
            message: format!("there is no module {name:?}"),
            available: available(),
        })?;
        let found = match version {
            None => row.versions.last(),
            Some(v) => v
                .parse::<usize>()
                .ok()
                .and_then(|v| row.versions.get(v.checked_sub(1)?)),
        };
        let found = found.ok_or_else(|| {
            let versions = 1..=row.versions.len();
            Unresolved {
                message: format!("module {name:?} has no such version"),
                available: versions.map(|v| v.to_string()).collect(),
            }
        })?;
        if !self.store.exports(found.digest, function) {
            return Err(Unresolved {
                message: format!("module {name:?} exports no such step"),
                available: found.exports.clone(),
            });
        }
        let pinned = (spelled(name, version), found.digest);
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&pinned) {
            asked.push(pinned);
        }
        Ok(found.digest)
    }

    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        let newest = self.index.modules.iter().filter_map(|(name, row)| {
            let digest = row.versions.last()?.digest;
            let runs = self.store.exports(digest, None);
            runs.then(|| (name.clone(), digest))
        });
        let all: Vec<_> = newest.take(CHOICE_MAX).collect();
        let mut asked = self.asked.borrow_mut();
        for pinned in &all {
            if !asked.contains(pinned) {
                asked.push(pinned.clone());
            }
        }
        all
    }

    fn flow(&self, name: &str, version: Option<u32>) -> Result<(), Unresolved> {
        if self.own == Some(name) && version.is_none() {
            return Ok(());
        }
        let Some(versions) = self.index.flows.get(name) else {
            return Err(Unresolved {
                message: format!("there is no flow {name:?}"),
                available: self.index.flows.keys().map(|k| k.to_string()).collect(),
            });
        };
        match version {
            Some(v) if !versions.contains_key(&v) => Err(Unresolved {
                message: format!("flow {name:?} has no version {v}"),
                available: versions.keys().map(u32::to_string).collect(),
            }),
            _ => Ok(()),
        }
    }

    fn express(&self) -> bool {
        self.express
    }

    fn name(&self) -> Option<&str> {
        self.own
    }

    fn advice(&self) -> Advice {
        Advice::Server
    }

    fn binding(&self, resource: &str) -> Option<Target> {
        let target = self.maps.iter().find_map(|map| map.get(resource))?;
        let mut bound = self.bound.borrow_mut();
        bound.insert(resource.into(), target.text().into());
        Some(target.clone())
    }
}

/// What names meant when a version was published.
struct Pinned<'a> {
    modules: &'a [(Arc<str>, Digest)],
    resources: &'a [(Arc<str>, Arc<str>)],
    /// Flows that it starts.
    starts: RefCell<BTreeSet<Arc<str>>>,
}

impl Resolve for Pinned<'_> {
    fn flow(&self, name: &str, _version: Option<u32>) -> Result<(), Unresolved> {
        self.starts.borrow_mut().insert(name.into());
        Ok(())
    }

    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        _function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        let spelled = spelled(name, version);
        let found = self.modules.iter().find(|(n, _)| *n == spelled);
        found.map(|(_, d)| *d).ok_or_else(|| Unresolved {
            message: format!("module {name:?} was not there when the flow was published"),
            available: Vec::new(),
        })
    }

    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        let newest = self.modules.iter().filter(|(name, _)| !name.contains('@'));
        newest.cloned().collect()
    }

    fn binding(&self, resource: &str) -> Option<Target> {
        let found = self.resources.iter().find(|(name, _)| **name == *resource);
        // It was read when the flow was published.
        found.and_then(|(_, target)| Target::parse(target).ok())
    }
}

/// Compiles a definition that was checked when it was published.
pub(super) fn compile_pinned(row: &FlowRow) -> Result<Compiled, Error> {
    let pinned = Pinned {
        modules: &row.modules,
        resources: &row.resources,
        starts: RefCell::default(),
    };
    let values = row.substitutions.iter();
    let values = values.map(|(name, value)| (name.to_string(), value.to_string()));
    let checked = compile_filled(&row.definition, &values.collect(), &pinned);
    let checked = checked.map_err(bad_filling)?;
    let mut program = checked.program.ok_or(Error::BadFlow(checked.diagnostics))?;
    if let Mode::Express(keep) = row.mode {
        program.make_express(keep);
    }
    program.grants = row.grants.clone();
    Ok(Compiled {
        program: Arc::new(program),
        starts: pinned.starts.take(),
        modules: row.modules.clone(),
        resources: row.resources.clone(),
        grants: row.grants.clone(),
        warnings: Vec::new(),
    })
}

/// How much text a definition is when it is filled in, about.
pub(super) fn text_bytes(definition: &str, substitutions: &[(Arc<str>, Arc<str>)]) -> usize {
    let values = substitutions.iter().map(|(_, value)| value.len());
    definition.len() + values.sum::<usize>()
}

fn bad_filling(bad: BadSubstitution) -> Error {
    Error::BadFilling(bad.to_string())
}

fn compile(
    definition: &str,
    values: &BTreeMap<String, String>,
    names: &Names<'_>,
    mode: Mode,
    own: Option<Arc<Grants>>,
) -> Result<Compiled, Error> {
    let checked = compile_filled(definition, values, names).map_err(bad_filling)?;
    let Some(mut program) = checked.program else {
        return Err(Error::BadFlow(checked.diagnostics));
    };
    if let Mode::Express(keep) = mode {
        program.make_express(keep);
    }
    if let Some(own) = &own {
        let missing = reach::ungranted(&program, own);
        if !missing.is_empty() {
            return Err(Error::Ungranted(missing));
        }
    }
    let mut warnings = checked.diagnostics;
    warnings.retain(|d| d.severity != Severity::Error);
    let mut modules = names.asked.take();
    modules.sort();
    program.grants = TaskGrants {
        modules: names.manifests(&modules, own.as_deref())?,
        flow: own,
    };
    Ok(Compiled {
        grants: program.grants.clone(),
        program: Arc::new(program),
        starts: BTreeSet::new(),
        modules,
        resources: names.bound.take().into_iter().collect(),
        warnings,
    })
}
