//! Rule: the WIT bindings of the host are generated in one place.

use anyhow::Result;

use super::tree::{Breach, Tree};

const PLACE: &str = "host-api/src/bindings.rs";

/// Looks for `bindgen!` outside its place, and for a second one in it.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        if !file.path.starts_with("runtime/") && !file.path.starts_with("host-api/") {
            continue;
        }
        for (count, line) in file.code().find("bindgen!").into_iter().enumerate() {
            if file.path != PLACE || count > 0 {
                let why = format!("`bindgen!` occurs once, in {PLACE}");
                breaches.push(Breach::at(&file.path, line, why));
            }
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn a_second_bindgen_is_found() {
        let call = "wasmtime::component::bindgen!({});\n";
        let twice = call.repeat(2);
        assert_eq!(planted(check, &[(PLACE, call)]), [""; 0]);
        assert_eq!(planted(check, &[(PLACE, &twice)]).len(), 1);
        assert_eq!(
            planted(check, &[("runtime/sandbox/src/lib.rs", call)]).len(),
            1
        );
    }
}
