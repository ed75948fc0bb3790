//! `cargo xtask tidy`: the house rules that a program can check, one file a rule.
//!
//! Refuses to mend anything: it names the place and the reason.

mod code;
pub(crate) mod rooms;
mod tree;

mod allows;
mod banned;
mod bindings;
mod clocks;
mod decisions;
mod edges;
mod errors;
mod guests;
mod headers;
mod homes;
mod layout;
mod manifests;
mod names;
mod outsiders;
mod pure;
mod safety;
mod size;
mod wit;

use anyhow::{Result, bail};

use tree::{Breach, Tree};

/// A rule's name and its check.
type Rule = (&'static str, fn(&Tree) -> Result<Vec<Breach>>);

const RULES: &[Rule] = &[
    ("allows", allows::check),
    ("banned", banned::check),
    ("bindings", bindings::check),
    ("clocks", clocks::check),
    ("decisions", decisions::check),
    ("edges", edges::check),
    ("errors", errors::check),
    ("guests", guests::check),
    ("headers", headers::check),
    ("homes", homes::check),
    ("layout", layout::check),
    ("manifests", manifests::check),
    ("names", names::check),
    ("outsiders", outsiders::check),
    ("pure", pure::check),
    ("safety", safety::check),
    ("size", size::check),
    ("wit", wit::check),
];

/// Checks every rule on this checkout and prints each breach.
///
/// # Errors
/// There is a breach, or the tree cannot be read.
pub fn run() -> Result<()> {
    let tree = Tree::read(&crate::place::root())?;
    let mut count = 0;
    for (name, check) in RULES {
        for breach in check(&tree)? {
            println!("{breach} [{name}]");
            count += 1;
        }
    }
    if count > 0 {
        bail!("tidy: {count} breaches of the house rules");
    }
    println!(
        "tidy: {} rules hold on {} files",
        RULES.len(),
        tree.files.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_folder_is_in_the_table() {
        let folder = crate::place::root().join("xtask/src/tidy");
        let mut files: Vec<String> = folder
            .read_dir()
            .expect("the rules' folder")
            .flatten()
            .filter_map(|e| Some(e.path().file_stem()?.to_string_lossy().into_owned()))
            .filter(|name| !["code", "rooms", "tree"].contains(&name.as_str()))
            .collect();
        files.sort();
        let names: Vec<&str> = RULES.iter().map(|rule| rule.0).collect();
        assert_eq!(names, files);
    }
}
