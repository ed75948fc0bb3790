//! The house table: each room, what it may import, and what kind of room it is.
//!
//! The one place that says so; every rule about rooms reads it.
//! Source: `ARCHITECTURE.md`, code map.

/// One crate of the workspace.
pub struct Room {
    /// Folder below the repository's root.
    pub folder: &'static str,
    /// Package name.
    pub package: &'static str,
    /// Packages of the workspace that it imports. Equal to its manifest.
    pub imports: Imports,
    /// Decides and touches nothing: no clock, randomness, environment, I/O, threads.
    pub pure: bool,
}

/// What a room may import from the workspace.
pub enum Imports {
    /// Exactly these.
    Only(&'static [&'static str]),
    /// Whatever it needs: it stands outside the house or wires it.
    Any,
}

const TYPES: &str = "stepwell-types";
const FLOW: &str = "stepwell-flow";
const STORE: &str = "stepwell-store";
const BUCKETS: &str = "stepwell-buckets";
const TRIGGER: &str = "stepwell-trigger";

const fn room(
    folder: &'static str,
    package: &'static str,
    imports: &'static [&'static str],
    pure: bool,
) -> Room {
    Room {
        folder,
        package,
        imports: Imports::Only(imports),
        pure,
    }
}

const fn outside(folder: &'static str, package: &'static str) -> Room {
    Room {
        folder,
        package,
        imports: Imports::Any,
        pure: false,
    }
}

/// Every room of the house.
pub const ROOMS: &[Room] = &[
    room("runtime/types", TYPES, &[], true),
    room("runtime/flow", FLOW, &[TYPES], true),
    room(
        "runtime/interpreter",
        "stepwell-interpreter",
        &[TYPES, FLOW],
        true,
    ),
    room("runtime/store", STORE, &[TYPES], true),
    room(
        "runtime/store-rocks",
        "stepwell-store-rocks",
        &[TYPES, STORE],
        false,
    ),
    room("host-api", "stepwell-host-api", &[TYPES, STORE], false),
    room(
        "runtime/sandbox",
        "stepwell-sandbox",
        &[TYPES, "stepwell-host-api"],
        false,
    ),
    room("runtime/buckets", BUCKETS, &[TYPES], false),
    room("runtime/trigger", TRIGGER, &[TYPES], true),
    room(
        "runtime/orchestrator",
        "stepwell-orchestrator",
        &[TYPES, FLOW, "stepwell-interpreter", STORE],
        false,
    ),
    room(
        "runtime/server",
        "stepwell-server",
        &[TYPES, TRIGGER, BUCKETS, "stepwell-orchestrator", STORE],
        false,
    ),
    outside("runtime/cli", "stepwell-cli"),
    outside("tests", "stepwell-tests"),
    outside("tests/cases", "stepwell-cases"),
    outside("tests/fuzz", "stepwell-fuzz"),
    outside("tests/shim", "stepwell-shim"),
    outside("bench", "stepwell-bench"),
    room("xtask", "xtask", &[], false),
];

/// Dependencies that only some rooms may name, by the start of their names.
pub const EXCLUSIVE: &[(&str, &[&str])] = &[
    (
        "wasmtime",
        &["stepwell-sandbox", "stepwell-host-api", "stepwell-bench"],
    ),
    ("rocksdb", &["stepwell-store-rocks"]),
    ("axum", &["stepwell-server"]),
];

/// What must not reach a pure room, not even through another crate.
pub const NEVER_PURE: &[&str] = &[
    "tokio",
    "wasmtime",
    "librocksdb-sys",
    "axum",
    "hyper",
    "reqwest",
];

/// The room of a package.
pub fn of(package: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.package == package)
}

/// Whether a source file belongs to a room's own code (`FOLDER/src/…`).
///
/// A `suite` beside it is test code that every backend's tests run.
pub fn owns(room: &Room, path: &str) -> bool {
    path.strip_prefix(room.folder)
        .and_then(|rest| rest.strip_prefix("/src/"))
        .is_some_and(|file| file != "suite.rs" && !file.starts_with("suite/") && !is_test(file))
}

/// Whether a file below `src/` holds unit tests: `foo/tests.rs`, `foo/tests/…`.
pub fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs" | "test.rs"))
}
