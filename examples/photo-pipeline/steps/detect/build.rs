//! Finds the detector's model, which ships inside the crate `rustface`, and hands
//! its path to the compiler. Refuses to go on without it.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=Cargo.toml");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "rustface")
        .and_then(|package| package["manifest_path"].as_str())
        .expect("rustface among the packages");
    let model = std::path::Path::new(manifest).with_file_name("model/seeta_fd_frontal_v1.0.bin");
    assert!(model.exists(), "no model at {}", model.display());
    println!("cargo:rustc-env=FACE_MODEL={}", model.display());
}
