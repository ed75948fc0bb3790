//! Rule: nothing unfinished, nothing left from debugging, no test switched off.

use anyhow::Result;

use super::tree::{Breach, Tree};

const WORDS: &[(&str, &str)] = &[
    (
        "#[ignore",
        "a test is switched off: assert today's behaviour instead",
    ),
    ("todo!", "unfinished"),
    ("unimplemented!", "unfinished"),
    ("dbg!", "left from debugging"),
];

/// Looks for the words in code, unit tests included.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        // Unit tests too: `#[ignore]` stands there if anywhere.
        for (number, line) in file.text.lines().enumerate() {
            let line = line.trim_start();
            let word = WORDS.iter().find(|(word, _)| {
                line.starts_with(word) || (word.ends_with('!') && called(line, word))
            });
            if let Some((word, why)) = word {
                breaches.push(Breach::at(
                    &file.path,
                    number + 1,
                    format!("`{word}`: {why}"),
                ));
            }
        }
    }
    Ok(breaches)
}

/// Whether a macro is called in this line, outside comments and quotes.
fn called(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.find(name).is_some_and(|at| {
        let before = &code[..at];
        let inside = before.matches('"').count() % 2 == 1;
        !inside && code[at + name.len()..].starts_with('(')
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn unfinished_code_is_found() {
        let text = "fn a() { todo!() }\nfn b() { dbg!(1); }\n#[test]\n#[ignore]\nfn c() {}\nfn d() { unimplemented!() }\n// todo!()\n";
        let lines: Vec<String> = planted(check, &[("a.rs", text)])
            .iter()
            .filter_map(|breach| breach.split(": ").next().map(str::to_owned))
            .collect();
        assert_eq!(lines, ["a.rs:1", "a.rs:2", "a.rs:4", "a.rs:6"]);
    }
}
