//! Containers and machines: what is not granted, words that an engine or a shell would read otherwise,
//! and ways out of a program's own files.

use serde_json::{Value, json};
use stepwell_tests::bridges::podman::IMAGE;

use super::house::{House, Row, run};

const UNGRANTED: &str = "Stepwell.NotGranted";
const TRANSFER: &str = "Stepwell.FileTransferFailed";

/// What makes a run another one.
fn with(base: &Value, change: &Value) -> Value {
    let mut run = base.clone();
    for (name, value) in change.as_object().into_iter().flatten() {
        run[name] = value.clone();
    }
    run
}

pub fn rows(_: &House) -> Vec<Row> {
    let mut rows = Vec::new();
    containers(&mut rows);
    machines(&mut rows);
    jobs(&mut rows);
    rows
}

fn containers(rows: &mut Vec<Row>) {
    let base = json!({"image": IMAGE, "command": ["true"]});
    let (invalid, ungranted, path) = (
        "Stepwell.ContainerInvalidRequest",
        "Stepwell.ContainerNotGranted",
        "Stepwell.ContainerPathRefused",
    );
    let mut check = |change: Value, error| {
        let what = change.to_string();
        rows.push(run("container", &what, with(&base, &change), error));
    };
    check(json!({}), "");
    for image in [
        "docker.io/library/alpine".to_owned(),
        format!("{IMAGE}:latest"),
        format!("{IMAGE}2"),
        IMAGE.to_uppercase(),
        format!("docker.io/{IMAGE}"),
    ] {
        check(json!({ "image": image }), ungranted);
    }
    for image in [
        "../../containers/x".to_owned(),
        format!("{IMAGE}/../x"),
        format!("{IMAGE}?all=true"),
        format!("{IMAGE}#"),
        format!("{IMAGE}%2fx"),
        format!("{IMAGE}\n"),
        format!("{IMAGE}\r\nx: y"),
        format!("{IMAGE}\u{0}"),
        format!("-v/:/host {IMAGE}"),
        String::new(),
    ] {
        check(json!({ "image": image }), invalid);
    }
    for network in [
        "host",
        "bridge",
        "container:x",
        "ns:/proc/1/ns/net",
        "podman",
        "none\n",
        "",
    ] {
        check(json!({ "network": network }), ungranted);
    }
    for name in ["A=B", "A B", "A\n", "1A", "", "A\u{0}", "A;id", "ä"] {
        check(json!({"environment": {name: "c"}}), invalid);
    }
    check(json!({"environment": {"A": "b\u{0}C=d"}}), invalid);
    check(json!({"environment": {"A": ["b"]}}), invalid);
    check(json!({"command": ["a\u{0}b"]}), invalid);
    check(json!({"command": "true; id"}), invalid);
    check(json!({"entrypoint": ["a\u{0}"]}), invalid);
    for user in [
        "0 --privileged",
        "0\n",
        "root:root:root /",
        "",
        "../0",
        "0;id",
        "0\u{0}",
    ] {
        check(json!({ "user": user }), invalid);
    }
    for field in [
        json!({"privileged": true}),
        json!({"mounts": ["/:/host"]}),
        json!({"volumes": ["/:/host"]}),
        json!({"cap_add": ["ALL"]}),
        json!({"devices": ["/dev/kmsg"]}),
        json!({"pid": "host"}),
        json!({"ports": ["80:80"]}),
        json!({"security_opt": ["seccomp=unconfined"]}),
    ] {
        check(field, invalid);
    }
    for field in [
        "memory_mib",
        "pids",
        "cpus",
        "timeout_ms",
        "stdout_bytes_max",
    ] {
        check(json!({ field: 0 }), invalid);
        check(json!({ field: 1u64 << 40 }), invalid);
    }
    for file in [
        "/../etc/x",
        "/a/../../x",
        "/proc/x",
        "/proc/1/root/x",
        "/sys/x",
        "/dev/x",
        "x",
        "",
        "/",
        "/a//b",
        "/a/",
        "/a\nb",
        "/a\u{0}",
    ] {
        check(json!({"files": [{"path": file, "content": ""}]}), path);
    }
    for output in ["/", "/out/..", "/proc", "out", "/a\u{0}"] {
        check(
            json!({"outputs": [{"path": output, "bucket": "out"}]}),
            path,
        );
    }
    for directory in ["tmp", "/tmp/..", "/a\u{0}b", "/a\nb", ""] {
        check(json!({ "working_directory": directory }), path);
    }
    transfers("/", &mut check);
}

fn machines(rows: &mut Vec<Row>) {
    let base = json!({"machine": "worker", "command": ["true"]});
    let (invalid, ungranted, path) = (
        "Stepwell.MachineInvalidRequest",
        "Stepwell.MachineNotGranted",
        "Stepwell.MachinePathRefused",
    );
    let mut check = |change: Value, error| {
        let what = change.to_string();
        rows.push(run("machine", &what, with(&base, &change), error));
    };
    check(json!({}), "");
    for machine in [
        "nonesuch",
        "WORKER",
        "worker ",
        "worker;id",
        "root@worker",
        "../worker",
        "-oProxyCommand=id",
        "127.0.0.1",
        "",
        "worker\u{0}",
    ] {
        check(json!({ "machine": machine }), ungranted);
    }
    for command in [
        json!([]),
        json!(["-c", "id"]),
        json!([""]),
        json!(["a\u{0}b"]),
        json!("id"),
        json!([["id"]]),
    ] {
        check(json!({ "command": command }), invalid);
    }
    check(json!({"command": vec!["a"; 1_001]}), invalid);
    check(json!({"command": ["a".repeat(100 << 10)]}), invalid);
    for name in [
        "A;id", "A=B", "$(id)", "`id`", "A B", "A\n", "", "1A", "A\u{0}", "A-B", "ä",
    ] {
        check(json!({"environment": {name: "c"}}), invalid);
    }
    check(json!({"environment": {"A": "\u{0}"}}), invalid);
    check(json!({"environment": {"A": {"b": 1}}}), invalid);
    for field in [
        json!({"host": "evil"}),
        json!({"port": 22}),
        json!({"user": "root"}),
        json!({"key_file": "/etc/shadow"}),
        json!({"options": ["ProxyCommand=id"]}),
    ] {
        check(field, invalid);
    }
    for field in ["timeout_ms", "stdout_bytes_max"] {
        check(json!({ field: 0 }), invalid);
        check(json!({ field: 1u64 << 40 }), invalid);
    }
    for file in [
        "../../x",
        "a/../../x",
        "./x",
        "",
        "a//b",
        "a/",
        "a\nb",
        "a\u{0}",
        "/proc/x",
        "/sys/x",
        "/dev/x",
        "/a/../x",
    ] {
        check(json!({"files": [{"path": file, "content": ""}]}), path);
    }
    for output in ["a/../..", "..", "", "/proc", "a\nb"] {
        check(
            json!({"outputs": [{"path": output, "bucket": "out"}]}),
            path,
        );
    }
    for directory in ["tmp", "/tmp/../etc", "/a;id\n", "/a\u{0}", "~", "", "$HOME"] {
        check(json!({ "working_directory": directory }), path);
    }
    transfers("", &mut check);
}

/// Objects that are brought and fetched: keys and links that lead elsewhere.
fn transfers(root: &str, check: &mut impl FnMut(Value, &'static str)) {
    let path = format!("{root}x");
    for (bucket, key) in [
        ("texts", "../outside"),
        ("texts", "/etc/passwd"),
        ("texts", "to-file"),
        ("texts", "to-system"),
        ("texts", "to-folder/outside"),
        ("texts", "a\u{0}"),
        ("../own", "inside"),
        ("nowhere", "inside"),
    ] {
        let file = json!({"path": path, "bucket": bucket, "key": key});
        check(json!({"files": [file]}), TRANSFER);
    }
    let out = format!("{root}out");
    for command in [
        format!("ln -s /etc/passwd {out}/x"),
        format!("ln -s ../../../etc/passwd {out}/x"),
        format!("ln -s /etc {out}/x"),
        format!("mkfifo {out}/x"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        check(
            json!({"command": words, "outputs": [{"path": out, "bucket": "out"}]}),
            TRANSFER,
        );
    }
    let leave = json!(["touch", format!("{out}/x")]);
    for (bucket, prefix) in [
        ("out", "../"),
        ("out", "/"),
        ("out", "a/../../"),
        ("texts", ""),
        ("nowhere2/", ""),
        ("out", "a\u{0}"),
    ] {
        let output = json!({"path": out, "bucket": bucket, "prefix": prefix});
        check(json!({"command": leave, "outputs": [output]}), TRANSFER);
    }
}

/// The same by the guest's door, where it reaches that far.
fn jobs(rows: &mut Vec<Row>) {
    for (place, name, kind) in [
        ("image", IMAGE, "Container"),
        ("machine", "worker", "Machine"),
    ] {
        let base = json!({place: name, "command": ["true"]});
        let invalid = if kind == "Machine" {
            "Stepwell.MachineInvalidRequest"
        } else {
            "Stepwell.ContainerInvalidRequest"
        };
        let path = if kind == "Machine" {
            "Stepwell.MachinePathRefused"
        } else {
            "Stepwell.ContainerPathRefused"
        };
        let mut check = |change: Value, error| {
            let what = format!("{place}: {change}");
            rows.push(run(
                "jobs-some",
                &what,
                json!([with(&base, &change)]),
                error,
            ));
        };
        check(json!({}), "");
        check(json!({place: "other"}), UNGRANTED);
        check(json!({place: format!("{name}2")}), UNGRANTED);
        check(json!({place: format!("{name}\u{0}")}), UNGRANTED);
        check(json!({"command": ["a\u{0}b"]}), invalid);
        for name in ["A=B", "A;id", "A\n", ""] {
            check(json!({"variable": [name, "c"]}), invalid);
        }
        check(json!({"variable": ["A", "\u{0}"]}), invalid);
        check(json!({"timeout_ms": 0}), invalid);
        check(json!({"timeout_ms": 1u64 << 40}), invalid);
        for file in ["/../x", "../x", "/proc/x", "", "/a\u{0}"] {
            check(json!({"file": [file, "b"]}), path);
        }
    }
}
