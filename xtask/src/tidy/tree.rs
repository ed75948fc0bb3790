//! A checkout as the rules see it: its text files and its packages.
//!
//! Refuses to follow links, and to look into build output.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};

use super::code::Code;

/// Folders that hold nothing of ours.
const FOREIGN: &[&str] = &["target", ".git", "node_modules", ".cargo-home"];
/// Endings of files whose text the rules read.
const TEXT: &[&str] = &[
    "rs", "toml", "md", "wit", "yaml", "yml", "json", "sh", "svg", "html", "c", "txt", "csv", "run",
];

/// One text file.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    /// As it is on disk.
    pub text: String,
    code: OnceCell<Code>,
}

impl Source {
    /// Rust with comments, strings and unit tests blanked out.
    pub fn code(&self) -> &Code {
        self.code.get_or_init(|| Code::of(&self.text))
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The folders of its path, the file's own name last.
    pub fn parts(&self) -> Vec<&str> {
        self.path.split('/').collect()
    }
}

/// A checkout.
pub struct Tree {
    /// Where it lies.
    pub root: PathBuf,
    /// Sorted by path.
    pub files: Vec<Source>,
    packages: OnceCell<BTreeMap<String, Package>>,
}

/// A member of the workspace, as cargo resolves it.
pub struct Package {
    /// Names of what its manifest depends on, tests and build scripts apart.
    pub direct: BTreeSet<String>,
    /// The same for its tests.
    pub for_tests: BTreeSet<String>,
    /// Everything that it is linked with, tests apart.
    pub reaches: BTreeSet<String>,
}

/// A place where a rule is broken.
pub struct Breach {
    path: String,
    line: usize,
    why: String,
}

impl Breach {
    /// A breach at a line (from 1; 0 for the whole file).
    pub fn at(path: &str, line: usize, why: impl Into<String>) -> Breach {
        Breach {
            path: path.to_owned(),
            line,
            why: why.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.why),
            line => write!(f, "{}:{line}: {}", self.path, self.why),
        }
    }
}

impl Tree {
    /// Reads every text file below `root`.
    ///
    /// # Errors
    /// A folder or file cannot be read.
    pub fn read(root: &Path) -> Result<Tree> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Tree {
            root: root.to_path_buf(),
            files,
            packages: OnceCell::new(),
        })
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The workspace's packages by name, from `cargo metadata`.
    ///
    /// # Errors
    /// Cargo cannot resolve the workspace.
    pub fn packages(&self) -> Result<&BTreeMap<String, Package>> {
        if let Some(packages) = self.packages.get() {
            return Ok(packages);
        }
        let packages = resolve(&self.root)?;
        Ok(self.packages.get_or_init(|| packages))
    }
}

fn walk(root: &Path, folder: &Path, into: &mut Vec<Source>) -> Result<()> {
    for entry in folder
        .read_dir()
        .with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
            walk(root, &path, into)?;
        } else if kind.is_file()
            && name
                .rsplit_once('.')
                .is_some_and(|(_, end)| TEXT.contains(&end))
        {
            let bytes = std::fs::read(&path)?;
            into.push(Source {
                path: path
                    .strip_prefix(root)?
                    .to_string_lossy()
                    .replace('\\', "/"),
                text: String::from_utf8_lossy(&bytes).into_owned(),
                code: OnceCell::new(),
            });
        }
    }
    Ok(())
}

fn resolve(root: &Path) -> Result<BTreeMap<String, Package>> {
    let metadata = MetadataCommand::new().current_dir(root).exec()?;
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let mut normal: BTreeMap<&PackageId, Vec<&PackageId>> = BTreeMap::new();
    let graph = metadata
        .resolve
        .as_ref()
        .context("cargo resolved nothing")?;
    for node in &graph.nodes {
        let linked = node.deps.iter().filter(|dep| {
            dep.dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal)
        });
        normal.insert(&node.id, linked.map(|dep| &dep.pkg).collect());
    }
    let mut packages = BTreeMap::new();
    for package in metadata.workspace_packages() {
        let of_kind = |kind: DependencyKind| {
            let same = package.dependencies.iter().filter(|d| d.kind == kind);
            same.map(|d| d.name.clone()).collect::<BTreeSet<String>>()
        };
        let mut reaches = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![&package.id];
        while let Some(id) = open.pop() {
            for next in normal.get(id).into_iter().flatten().copied() {
                if seen.insert(next) {
                    reaches.extend(names.get(next).map(|name| (*name).to_owned()));
                    open.push(next);
                }
            }
        }
        let seen = Package {
            direct: of_kind(DependencyKind::Normal),
            for_tests: of_kind(DependencyKind::Development),
            reaches,
        };
        packages.insert(package.name.to_string(), seen);
    }
    Ok(packages)
}

/// Writes a small tree to disk for a rule's test and returns what the rule says.
#[cfg(test)]
pub fn planted(check: fn(&Tree) -> Result<Vec<Breach>>, files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }
    let tree = Tree::read(dir.path()).expect("a tree");
    let breaches = check(&tree).expect("a verdict");
    breaches.iter().map(Breach::to_string).collect()
}
