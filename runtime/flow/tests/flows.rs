//! Flows beside what the compiler says of them: `flows/ok` compile (the text
//! shows the program), `flows/err` do not (it shows the diagnostics).
//! `UPDATE_EXPECT=1` writes the expectations anew; read them before you commit.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use stepwell_flow::program::{Kind, Next, Program};
use stepwell_flow::{AnyModule, Checked, Resolve, Severity, Unresolved, compile};
use stepwell_types::Digest;

/// A shelf with a few modules.
struct Shelf;

impl Resolve for Shelf {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        _function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        let shelf = ["echo", "fetch", "greet", "one", "x"];
        if !shelf.contains(&name) {
            return Err(Unresolved {
                message: format!("there is no module {name:?}"),
                available: shelf.map(str::to_owned).to_vec(),
            });
        }
        if version.is_some_and(|v| v != "1.2.0") {
            return Err(Unresolved {
                message: format!("the module {name:?} has no such version"),
                available: vec!["1.2.0".to_owned()],
            });
        }
        Ok(Digest::of(name.as_bytes()))
    }

    fn flow(&self, name: &str, version: Option<u32>) -> Result<(), Unresolved> {
        let message = match (name, version) {
            ("pay", None | Some(1)) => return Ok(()),
            ("pay", Some(v)) => format!("flow \"pay\" has no version {v}"),
            _ => format!("there is no flow {name:?}"),
        };
        Err(Unresolved {
            message,
            available: vec!["pay".to_owned()],
        })
    }
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/flows")
        .join(folder);
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json" || e == "yaml"))
        .collect();
    all.sort();
    all
}

/// Compares with the file beside the source.
fn check(source: &Path, actual: &str) {
    let mut expected = source.as_os_str().to_owned();
    expected.push(".expected");
    expect_file![PathBuf::from(expected)].assert_eq(actual);
}

fn diagnostics(checked: &Checked) -> String {
    checked
        .diagnostics
        .iter()
        .fold(String::new(), |all, d| all + &d.to_string() + "\n")
}

/// What matters of a program, in a stable order.
fn show(program: &Program) -> String {
    let mut out = format!(
        "{:?}, timeout {:?}\n",
        program.comment, program.timeout_seconds
    );
    for (i, graph) in program.graphs.iter().enumerate() {
        let mut names: Vec<_> = graph.by_name.iter().map(|(n, s)| (s.0, n)).collect();
        names.sort();
        writeln!(out, "graph {i} starts at {}: {names:?}", graph.start.0).unwrap();
    }
    for (i, state) in program.states.iter().enumerate() {
        let next = match state.next {
            Next::State(to) => format!("to {}", to.0),
            other => format!("{other:?}"),
        };
        writeln!(out, "\nstate {i} {:?}: {next}", state.name).unwrap();
        match &state.kind {
            Kind::Task(task) => writeln!(out, "  {task:?}").unwrap(),
            kind => writeln!(out, "  {kind:?}").unwrap(),
        }
        writeln!(out, "  {:?}", state.data).unwrap();
        if let Some(assign) = &state.assign {
            writeln!(out, "  assign {assign:?}").unwrap();
        }
        for retrier in &state.retry {
            writeln!(out, "  {retrier:?}").unwrap();
        }
        for catcher in &state.catch {
            writeln!(out, "  {catcher:?}").unwrap();
        }
    }
    out
}

#[test]
fn good_flows() {
    for source in sources("ok") {
        let checked = compile(&std::fs::read_to_string(&source).unwrap(), &Shelf);
        let said = diagnostics(&checked);
        let program = checked
            .program
            .unwrap_or_else(|| panic!("{source:?}\n{said}"));
        check(&source, &(said + &show(&program)));
    }
}

#[test]
fn bad_flows() {
    for source in sources("err") {
        let checked = compile(&std::fs::read_to_string(&source).unwrap(), &Shelf);
        assert!(checked.program.is_none(), "{source:?} compiles");
        check(&source, &diagnostics(&checked));
        // The file is named after a code that it must show.
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        let code = format!("FLOW{}", name.get(..4).unwrap());
        assert!(
            checked.diagnostics.iter().any(|d| d.code == code),
            "{name} without {code}"
        );
    }
}

/// Every code has a page, and a flow here (or a test of limits) that shows it.
#[test]
fn every_code_is_shown_and_explained() {
    let by_hand = ["FLOW0002", "FLOW0027", "FLOW0031"];
    let mut shown: BTreeSet<String> = by_hand.iter().map(|&c| c.to_owned()).collect();
    for source in [sources("err"), sources("ok")].concat() {
        let checked = compile(&std::fs::read_to_string(&source).unwrap(), &Shelf);
        shown.extend(checked.diagnostics.iter().map(|d| d.code.to_owned()));
    }
    let all: BTreeSet<String> = (1..=37)
        .chain(42..=46)
        .chain(101..=104)
        .map(|n| format!("FLOW{n:04}"))
        .collect();
    assert_eq!(shown, all);
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in all {
        let page = std::fs::read_to_string(pages.join(format!("{code}.md")));
        assert!(page.is_ok_and(|p| p.contains(&code)), "{code} has no page");
    }
}

/// The flows that this repository shows to its users are good ones.
#[test]
fn example_flows() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for example in std::fs::read_dir(examples).into_iter().flatten().flatten() {
        for name in ["flow.json", "flow.yaml"] {
            let Ok(text) = std::fs::read_to_string(example.path().join(name)) else {
                continue;
            };
            let mut checked = compile(&text, &AnyModule);
            // Notes say how it is, not that something is wrong.
            checked.diagnostics.retain(|d| d.severity != Severity::Note);
            assert_eq!(checked.diagnostics, [], "{:?}", example.path());
            seen += 1;
        }
    }
    println!("{seen} example flows");
    assert!(seen >= 3, "the examples moved");
}
