//! What a component needs and offers: before it is compiled by its names, after it by its types.
//!
//! Refuses to run anything. The first look is linear in the file and runs in the compiling process.

use serde::{Deserialize, Serialize};
use stepwell_host_api::host::{DRAFTS, OFFERED};
use wasmparser::{BinaryReaderError, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Type};

use crate::error::{MissingImport, Refusal};

/// The interface of the generic step, without version.
const HANDLER: &str = "stepwell:step/handler";
/// The fields of its context, in order: another record is another world.
const CONTEXT: [&str; 7] = [
    "execution-id",
    "execution-name",
    "flow",
    "state",
    "attempt",
    "idempotency-key",
    "deadline-ms",
];

/// Most names at a component's surface, and most functions that could be run: a module's
/// description holds them all, and a page of modules a thousand descriptions.
const NAMES_MAX: usize = 1_000;
/// Most bytes in all of them.
const NAMES_BYTES_MAX: usize = 64 << 10;

/// Names at the surface of a component.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Surface {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// One function with the generic step's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepFunction {
    /// The exported interface that it is in; `None`: exported by itself.
    pub(crate) interface: Option<String>,
    pub(crate) name: String,
}

impl StepFunction {
    /// Whether this is the generic world's `run`.
    pub(crate) fn is_run(&self) -> bool {
        self.name == "run"
            && self
                .interface
                .as_deref()
                .is_some_and(|i| without_version(i) == HANDLER)
    }
}

/// Reads the surface of an uploaded file.
///
/// # Errors
/// It isn't a component, it needs what the host lacks, or it exports nothing.
pub(crate) fn surface(bytes: &[u8]) -> Result<Surface, Refusal> {
    if Parser::is_core_wasm(bytes) {
        return Err(Refusal::CoreModule);
    }
    if !Parser::is_component(bytes) {
        let begins: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
        return Err(Refusal::NotWasm {
            begins: if begins.is_empty() {
                "nothing".into()
            } else {
                begins.join(" ")
            },
        });
    }
    let surface = read(bytes)?;
    let missing: Vec<MissingImport> = surface
        .imports
        .iter()
        .filter(|name| !is_offered(name))
        .map(|name| MissingImport {
            name: name.clone(),
            closest: closest(name),
        })
        .collect();
    if !missing.is_empty() {
        return Err(Refusal::Imports { missing });
    }
    Ok(surface)
}

fn read(bytes: &[u8]) -> Result<Surface, Refusal> {
    let broken = |e: BinaryReaderError| Refusal::Invalid {
        detail: e.to_string(),
    };
    let mut surface = Surface::default();
    let mut names = Names::default();
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let name = import.map_err(broken)?.name.name;
                    names.add(name.len())?;
                    surface.imports.push(name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let name = export.map_err(broken)?.name.name;
                    names.add(name.len())?;
                    surface.exports.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

/// Counts names.
#[derive(Default)]
struct Names {
    count: usize,
    bytes: usize,
}

impl Names {
    /// One more, of so many bytes.
    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.count += 1;
        self.bytes += bytes;
        if self.count <= NAMES_MAX && self.bytes <= NAMES_BYTES_MAX {
            return Ok(());
        }
        Err(Refusal::Invalid {
            detail: format!(
                "it has more than {NAMES_MAX} imports and exports, or functions, or names of more than {NAMES_BYTES_MAX} bytes together"
            ),
        })
    }
}

/// Refuses more functions than a description may hold.
pub(crate) fn check_few(functions: &[StepFunction]) -> Result<(), Refusal> {
    let mut names = Names::default();
    functions.iter().try_for_each(|function| {
        let interface = function.interface.as_ref().map_or(0, String::len);
        names.add(interface + function.name.len())
    })
}

/// Every function of a compiled component that can be run as a generic step.
pub(crate) fn functions(engine: &Engine, component: &Component) -> Vec<StepFunction> {
    let ty = component.component_type();
    let mut found = Vec::new();
    for (name, export) in ty.exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(f) if is_step(&f) => found.push(StepFunction {
                interface: None,
                name: name.to_owned(),
            }),
            ComponentItem::ComponentInstance(instance) => {
                for (function, inner) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(f) = inner.ty
                        && is_step(&f)
                    {
                        found.push(StepFunction {
                            interface: Some(name.to_owned()),
                            name: function.to_owned(),
                        });
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a function is `func(context, string) -> result<string, failure>`.
fn is_step(function: &ComponentFunc) -> bool {
    let params: Vec<Type> = function.params().map(|(_, ty)| ty).collect();
    let results: Vec<Type> = function.results().collect();
    let ([Type::Record(context), Type::String], [Type::Result(result)]) =
        (&params[..], &results[..])
    else {
        return false;
    };
    let Some(Type::Record(failure)) = result.err() else {
        return false;
    };
    context.fields().map(|f| f.name).eq(CONTEXT)
        && result.ok() == Some(Type::String)
        && failure.fields().map(|f| f.name).eq(["error", "cause"])
}

/// Whether the host offers an import: the name, in a version that it can stand in for.
fn is_offered(name: &str) -> bool {
    let version = name.split_once('@').map_or("", |(_, version)| version);
    let draft = DRAFTS.iter().find(|(package, _)| name.starts_with(package));
    let fits = if let Some((_, only)) = draft {
        version == *only
    } else if name.starts_with("wasi:") {
        // Release candidates of 0.2.0 had other functions.
        version.starts_with("0.2.") && !version.contains('-')
    } else {
        version.starts_with("1.")
    };
    fits && OFFERED.contains(&without_version(name))
}

fn without_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(bare, _)| bare)
}

/// The offered name that is nearest by edit distance, if it is near at all.
fn closest(name: &str) -> Option<String> {
    let bare: String = without_version(name).chars().take(80).collect();
    let (distance, best) = OFFERED
        .iter()
        .map(|offered| (edits(&bare, offered), *offered))
        .min()?;
    (distance <= bare.len() / 2).then(|| {
        let draft = DRAFTS.iter().find(|(package, _)| best.starts_with(package));
        let version = if let Some((_, only)) = draft {
            only
        } else if best.starts_with("wasi:") {
            "0.2"
        } else {
            "1.0.0"
        };
        format!("{best}@{version}")
    })
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_offered_by_name_and_version() {
        let check = |name, offered| assert_eq!(is_offered(name), offered, "{name}");
        check("stepwell:log/log@1.0.0", true);
        check("stepwell:log/log@1.4.0", true);
        check("stepwell:log/log@2.0.0", false);
        check("stepwell:log/log", false);
        check("wasi:keyvalue/store@0.2.0-draft", true);
        check("wasi:keyvalue/store@0.2.0-draft2", false);
        check("wasi:keyvalue/store@0.2.0", false);
        check("wasi:keyvalue/watcher@0.2.0-draft", false);
        check("wasi:cli/stdout@0.2.6", true);
        check("wasi:cli/stdout@0.2.0-rc-2023-12-05", false);
        check("wasi:cli/stdout@0.3.0", false);
        check("wasi:http/outgoing-handler@0.2.6", true);
        check("wasi:http/incoming-handler@0.2.6", false);
    }

    #[test]
    fn damaged_components_are_read_or_refused() {
        const TEXT: &str = r#"(component
            (import "stepwell:log/log@1.0.0" (instance (export "f" (func))))
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func $run (canon lift (core func $i "run")))
            (instance $handler (export "run" (func $run)))
            (export "stepwell:step/handler@1.0.0" (instance $handler)))"#;
        let whole = wat::parse_str(TEXT).expect("a component");
        assert!(surface(&whole).is_ok());
        // Every byte in turn, to the values that lengths and kinds break at; every cut.
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            for value in [0, 1, 0x0d, 0x40, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
                bytes[at] = value;
                let _ = surface(&bytes);
            }
            let _ = surface(&whole[..at]);
        }
    }

    #[test]
    fn a_component_with_very_many_names_is_refused_briefly() {
        let importing = |count: usize| {
            let imports: String = (0..count)
                .map(|n| format!(r#"(import "a:b/c{n}@1.0.0" (instance))"#))
                .collect();
            let whole = wat::parse_str(format!("(component {imports})")).expect("a component");
            surface(&whole).expect_err("refused")
        };
        let many = importing(NAMES_MAX);
        assert_eq!(many.code(), "BOX0003");
        let said = many.to_string();
        assert!(said.ends_with("and 980 more"), "{said}");
        let more = importing(NAMES_MAX + 1);
        assert_eq!(more.code(), "BOX0008", "{more}");
        let long = "n".repeat(NAMES_BYTES_MAX + 1);
        let long = format!(r#"(component (import "{long}" (func)))"#);
        let long = surface(&wat::parse_str(long).expect("a component")).expect_err("refused");
        assert_eq!(long.code(), "BOX0008");
        let function = |n: usize| StepFunction {
            interface: Some("a:b/c".to_owned()),
            name: format!("f{n}"),
        };
        let functions: Vec<StepFunction> = (0..=NAMES_MAX).map(function).collect();
        assert!(check_few(&functions).is_err());
        assert!(check_few(&functions[1..]).is_ok());
    }

    #[test]
    fn a_missing_import_names_its_neighbour() {
        let check = |name, neighbour: Option<&str>| {
            assert_eq!(closest(name).as_deref(), neighbour, "{name}");
        };
        check("stepwell:logs/log@1.0.0", Some("stepwell:log/log@1.0.0"));
        check(
            "wasi:clocks/wall-clocks@0.2.1",
            Some("wasi:clocks/wall-clock@0.2"),
        );
        check("x", None);
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let check = |bytes: &[u8], code| {
            assert_eq!(
                surface(bytes).expect_err("refused").code(),
                code,
                "{bytes:?}"
            );
        };
        check(b"", "BOX0001");
        check(b"GIF89a", "BOX0001");
        check(b"\0asm", "BOX0001");
        check(b"\0asm\x01\0\0\0", "BOX0002");
        check(b"\0asm\x0d\0\x01\0\xff\xff", "BOX0008");
    }
}
