//! Interfaces without a grant, and secrets, keys and values beyond one.

use serde_json::json;
use stepwell_tests::bridges::podman::IMAGE;

use super::house::{House, Row, ask, run};

const UNGRANTED: &str = "Stepwell.NotGranted";

/// Every interface, by each door that it has, with a manifest that grants nothing.
pub fn without_a_grant(house: &House) -> Vec<Row> {
    let url = format!("http://{}/", house.place.address);
    let job = |place: &str, name: &str| json!([{place: name, "command": ["true"]}]);
    let machine = json!({"machine": "worker", "command": ["true"]});
    let image = json!({"image": IMAGE, "command": ["true"]});
    let bearer = json!({"type": "bearer", "secret": "token"});
    let read = json!({"directory": "/shared", "path": "inside", "do": "read"});
    vec![
        run("http-none", "HTTP", json!({ "url": url }), UNGRANTED),
        run(
            "calls-none",
            "HTTP",
            json!({"calls": [{"url": url}]}),
            UNGRANTED,
        ),
        run("container-none", "a container", image, UNGRANTED),
        run("jobs-none", "a container", job("image", IMAGE), UNGRANTED),
        run("machine-none", "a machine", machine, UNGRANTED),
        run(
            "jobs-none",
            "a machine",
            job("machine", "worker"),
            UNGRANTED,
        ),
        run(
            "secrets-none",
            "a secret",
            json!({"read": ["token"]}),
            UNGRANTED,
        ),
        run(
            "http",
            "a secret",
            json!({"url": url, "authentication": bearer}),
            UNGRANTED,
        ),
        run(
            "keyvalue-none",
            "a namespace",
            json!({"namespace": "written", "do": []}),
            UNGRANTED,
        ),
        run("files-none", "a directory", read, "Files.no-directory"),
        // Nobody is refused what a manifest says nothing of: there is nothing.
        run("config-none", "configuration", json!(["unit"]), ""),
        // What no manifest can grant is refused with the module.
        ask(
            "PUT",
            "/v1/modules/serves",
            &imports("wasi:http/incoming-handler@0.2.0"),
            "BOX0003",
        ),
        ask(
            "PUT",
            "/v1/modules/spawns",
            &imports("wasi:process/spawn@0.1.0"),
            "BOX0003",
        ),
    ]
}

/// A component that imports an interface.
fn imports(interface: &str) -> Vec<u8> {
    let text = format!(r#"(component (import "{interface}" (instance (export "go" (func)))))"#);
    wat::parse_str(text).expect("a component")
}

/// What a manifest that grants something does not grant.
pub fn beyond_a_grant(_: &House) -> Vec<Row> {
    let mut rows = vec![
        run(
            "secrets-some",
            "what is granted",
            json!({"read": ["token"]}),
            "",
        ),
        run(
            "secrets-some",
            "another secret",
            json!({"read": ["other"]}),
            UNGRANTED,
        ),
        run(
            "secrets-some",
            "one that is not there",
            json!({"read": ["missing"]}),
            "Stepwell.SecretUnknown",
        ),
        run(
            "secrets-some",
            "a path",
            json!({"read": ["../token"]}),
            UNGRANTED,
        ),
        run(
            "secrets-some",
            "another case",
            json!({"read": ["TOKEN"]}),
            UNGRANTED,
        ),
        run(
            "secrets-some",
            "a NUL",
            json!({"read": ["token\u{0}"]}),
            UNGRANTED,
        ),
        run(
            "secrets-some",
            "a secret that slips out",
            json!({"read": ["token"], "slip": "output"}),
            "Stepwell.SecretInOutput",
        ),
    ];
    let refused = "Stepwell.KeyValueRefused";
    let mut space = |what: &str, namespace: &str, steps, error| {
        let input = json!({"namespace": namespace, "do": steps});
        rows.push(run("keyvalue-some", what, input, error));
    };
    space(
        "what is granted",
        "written",
        json!([{"set": ["a", "b"]}, {"get": "a"}]),
        "",
    );
    space("reading", "read", json!([{"get": "a"}]), "");
    for (what, step) in [
        (
            "writing where reading is granted",
            json!({"set": ["a", "b"]}),
        ),
        ("deleting there", json!({"delete": "a"})),
        ("counting there", json!({"increment": ["a", 1]})),
        ("writing many there", json!({"set_many": [["a", "b"]]})),
        ("deleting many there", json!({"delete_many": ["a"]})),
    ] {
        space(what, "read", json!([step]), UNGRANTED);
    }
    for name in [
        "other",
        "shared/written",
        "WRITTEN",
        "written/",
        "../written",
        "keyvalue-none/written",
        "keyvalue-some/written",
        "shared/",
        "*",
        "",
        "written\u{0}",
        "written\n",
        "ｗｒｉｔｔｅｎ",
        "written\u{202e}",
    ] {
        space(&format!("namespace {name:?}"), name, json!([]), UNGRANTED);
    }
    space(
        "an empty key",
        "written",
        json!([{"set": ["", "b"]}]),
        refused,
    );
    space(
        "too long a key",
        "written",
        json!([{"set": ["k".repeat(1_025), "b"]}]),
        refused,
    );
    space(
        "too long a namespace",
        &"n".repeat(4_096),
        json!([]),
        UNGRANTED,
    );
    for step in [
        json!({"get": ""}),
        json!({"delete": ""}),
        json!({"increment": ["k".repeat(1_025), 1]}),
        json!({"get_many": ["a", "k".repeat(1_025)]}),
        json!({"set_many": [["a", "b"], ["", "b"]]}),
    ] {
        let what = step.to_string().chars().take(40).collect::<String>();
        space(&what, "written", json!([step]), refused);
    }
    space(
        "too large a value",
        "written",
        json!([{"fill": ["a", "b", (1 << 20) + 1]}]),
        refused,
    );
    let write = json!({"namespace": "written", "do": [{"set": ["a", "b"]}]});
    rows.push(run(
        "keyvalue-express",
        "a write",
        write,
        "Stepwell.ExpressWrites",
    ));
    // Paths of the API that lead to no namespace.
    for name in [
        "written",
        "..%2fwritten",
        "keyvalue-some%2f..%2fx",
        "%00",
        "nobody%2fnone",
    ] {
        let path = format!("/v1/namespaces/{name}");
        rows.push(ask("GET", &path, b"", "RUN0040"));
        rows.push(ask("GET", &format!("{path}/value?key=a"), b"", "RUN0040"));
    }
    for name in ["..%2ftoken", "a%00b", "%0d%0ax", "-x"] {
        rows.push(ask(
            "PUT",
            &format!("/v1/secrets/{name}"),
            b"abcdefgh",
            "RUN0014",
        ));
    }
    rows
}
