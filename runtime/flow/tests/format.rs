//! The formatter: what it makes of a text, and that it changes nothing else, on every
//! definition at hand and on the same ones written as untidy YAML.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stepwell_flow::{AnyModule, compile, format};

fn laid_out(text: &str) -> String {
    let all = |e: Vec<stepwell_flow::Diagnostic>| {
        e.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    match format(text) {
        Ok(out) => out,
        Err(e) => panic!("{}\n{text}", all(e)),
    }
}

/// What a definition compiles to, with what is said about it but not where.
fn meaning(text: &str) -> String {
    let mut checked = compile(text, &AnyModule);
    // A hash map, shown in any order; the states themselves have their names.
    let graphs = checked.program.iter_mut().flat_map(|p| &mut p.graphs);
    graphs.for_each(|graph| graph.by_name.clear());
    let mut said: Vec<_> = checked
        .diagnostics
        .iter()
        .map(|d| (d.code, d.pointer.clone()))
        .collect();
    said.sort();
    format!("{said:?} {:?}", checked.program)
}

fn same_meaning(text: &str) -> String {
    let out = laid_out(text);
    assert_eq!(meaning(text), meaning(&out), "\n{text}\n---\n{out}");
    assert_eq!(laid_out(&out), out, "formatting twice differs:\n{text}");
    out
}

#[test]
fn yaml_is_laid_out() {
    let text = r##"# The header stays.

# So does this.
States:
    B:
        End: true   # the end
        # about the type
        Type: Pass
        Result: {z: 1,
                 a: "#no comment"}   # data
        # Next: C


    A:
      Next:   B
      Comment: |
          Two lines,
            one further in.

      Type: Task
      Resource: 'wasm:a'
      Parameters:
        z: >+
           kept

        a:
        - 0x10
        -   1.50
        # between
        - - x
          - y
        -
          # inside
          k: "a
             b"
        - # beside the dash
          v: ~
      Retry:
      - MaxAttempts: 2
        ErrorEquals: [States.ALL]


# The flow begins here.
StartAt: A
# The end.

"##;
    let expected = r##"# The header stays.

# So does this.
# The flow begins here.
StartAt: A
States:
  B:
    # about the type
    Type: Pass
    Result: {z: 1,
             a: "#no comment"}   # data
    End: true   # the end
    # Next: C

  A:
    Type: Task
    Comment: |
      Two lines,
        one further in.
    Resource: 'wasm:a'
    Parameters:
      z: >+
        kept

      a:
        - 0x10
        - 1.50
        # between
        - - x
          - y
        - # inside
          k: "a
             b"
        - # beside the dash
          v: ~
    Retry:
      - ErrorEquals: [States.ALL]
        MaxAttempts: 2
    Next: B
# The end.
"##;
    assert_eq!(same_meaning(text), expected);
    assert_eq!(
        same_meaning(&text.replace('\n', "\r\n")),
        expected,
        "line ends of Windows"
    );
}

#[test]
fn json_is_laid_out() {
    let text = r#"{"States":{"A":{"End":true,"Result":{"z":1.0e2,"a":"\u00e9\/"},"Type":"Pass"},

        "W":{"Type":"Wait","Seconds":1,"Next":"A", "Retry" : [ ],
        "Parameters": {"long": ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 1],
        "short":[1,
        2],"o":[{}]}}},"StartAt":"W"}"#;
    let expected = r#"{
  "StartAt": "W",
  "States": {
    "A": {
      "Type": "Pass",
      "Result": {
        "z": 1.0e2,
        "a": "\u00e9\/"
      },
      "End": true
    },

    "W": {
      "Type": "Wait",
      "Seconds": 1,
      "Parameters": {
        "long": [
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
          1
        ],
        "short": [1, 2],
        "o": [
          {}
        ]
      },
      "Retry": [],
      "Next": "A"
    }
  }
}
"#;
    assert_eq!(same_meaning(text), expected);
}

#[test]
fn a_documents_end_and_empty_lines_are_kept() {
    let state = "StartAt: A\nStates:\n  A:\n    Type: Pass\n";
    let check = |text: String, expected: String| assert_eq!(same_meaning(&text), expected);
    let same = |text: String| check(text.clone(), text);
    same(format!("{state}    End: true\n...\n"));
    same(format!("{state}    End: true\n# c\n...\n"));
    same(format!("{state}    End: true\n\n# c\n\n...\n# after\n"));
    // A scalar that keeps its empty lines, and has no others.
    same(format!("{state}    Result: |+\n\n\n    End: true\n"));
    same(format!("{state}    Result: |+\n    End: true\n"));
    check(
        format!("{state}    End: true\n    Result:\n      a: >+\n   \n \n"),
        format!("{state}    Result:\n      a: >+\n\n\n    End: true\n"),
    );
}

#[test]
fn an_anchor_stays_before_its_alias() {
    let text = "StartAt: A\nStates:\n  A:\n    Next: &n B\n    Type: Pass\n  B:\n    Type: Pass\n    Result: *n\n    End: true\n";
    assert_eq!(same_meaning(text), text);
}

#[test]
fn what_cannot_be_laid_out_is_refused_with_its_place() {
    let check = |text: &str, code: &str, line: u32, says: &str| {
        let said = format(text).expect_err(text);
        let first = said.first().unwrap();
        assert_eq!((first.code, first.line), (code, line), "{first}");
        assert!(first.message.contains(says), "{first}");
    };
    check(
        "StartAt: A\n? States\n: {}\n",
        "FLOW0041",
        2,
        "does not begin its line",
    );
    check("A:\n  &x\n  B: 1\n", "FLOW0041", 2, "on a line of its own");
    check("A:\n  |\n  text\n", "FLOW0041", 1, "| or >");
    let said = format("A: 1\nB:\n  C:\n    &x\n    D: 1\n").expect_err("a lone anchor");
    assert_eq!(said.first().map(|d| d.pointer.as_str()), Some("/B/C"));
    check("A: 1\nA: 2\n", "FLOW0004", 2, "twice");
    check("A: [\n", "FLOW0001", 2, "");
    let cut = "carriage return";
    check("# c\n{\n\r\r\n\"A\": 1}\n", "FLOW0041", 3, cut);
    check("{\"A\": 1,}", "FLOW0001", 1, "");
    check("[1]", "FLOW0041", 1, "an object");
    check("just text", "FLOW0041", 1, "an object");
    check(&format!("A: {}", "x".repeat(1 << 20)), "FLOW0002", 1, "");
}

fn files(folder: &Path, endings: &[&str], out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
            files(&path, endings, out);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            out.push(path);
        }
    }
    out.sort();
}

/// Definitions of the suites and of the repository.
fn definitions() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    let mut all = Vec::new();
    for folder in ["examples", "runtime", "tests", "bench"] {
        files(&root.join(folder), &[".yaml", ".yml", ".json"], &mut found);
    }
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        all.push((path.display().to_string(), text));
    }
    let mut runs = Vec::new();
    files(
        &root.join("runtime/interpreter/tests"),
        &[".run"],
        &mut runs,
    );
    for path in runs {
        let text = std::fs::read_to_string(&path).unwrap();
        if let Some((definition, _)) = text.split_once("\n---") {
            all.push((path.display().to_string(), definition.to_owned()));
        }
    }
    let mut cases = Vec::new();
    files(&root.join("tests/cases/asl"), &[".json"], &mut cases);
    for path in cases {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let definition = &case["definition"];
        let text = definition
            .as_str()
            .map_or(definition.to_string(), str::to_owned);
        all.push((path.display().to_string(), text));
    }
    all
}

#[test]
fn every_definition_keeps_its_meaning() {
    let (mut formatted, mut refused) = (0, Vec::new());
    for (name, text) in definitions() {
        if format(&text).is_ok() {
            same_meaning(&text);
            formatted += 1;
        } else {
            refused.push(format!("{name}: {}", format(&text).unwrap_err()[0]));
        }
    }
    println!("formatted {formatted}, refused {}", refused.len());
    // Those are not readable as definitions, or were written to be refused.
    for why in &refused {
        assert!(
            !why.contains("FLOW0041") || why.contains("an object"),
            "{why}"
        );
    }
    assert!(formatted >= 100, "only {formatted}");
}

/// The same definitions as YAML with any indentation, comments and empty lines.
#[test]
fn untidy_yaml_keeps_its_meaning_and_its_comments() {
    let mut tried = 0;
    for (i, (name, text)) in definitions().into_iter().enumerate() {
        let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        let mut untidy = Untidy {
            seed: i as u64 + 1,
            comments: 0,
            out: String::new(),
        };
        untidy.map(&value, 0);
        let text = untidy.out;
        let read = compile(&text, &AnyModule);
        let unreadable = ["FLOW0001", "FLOW0002", "FLOW0003", "FLOW0005"];
        let unreadable = read
            .diagnostics
            .iter()
            .find(|d| unreadable.contains(&d.code));
        assert!(unreadable.is_none(), "{name}: {unreadable:?}\n{text}");
        let out = same_meaning(&text);
        let found = out.matches("# note ").count();
        assert_eq!(
            found, untidy.comments,
            "{name}: comments\n{text}\n---\n{out}"
        );
        assert!(!out.contains("\n\n\n"), "{name}: empty lines\n{out}");
        tried += 1;
    }
    println!("{tried} definitions as untidy YAML");
    assert!(tried >= 50, "only {tried}");
}

/// Writes a value as block YAML, in ways drawn from its seed.
struct Untidy {
    seed: u64,
    comments: usize,
    out: String,
}

impl Untidy {
    fn draw(&mut self, below: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 33) % below
    }

    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# note {} '\"- x: |", self.comments)
    }

    /// Perhaps comments and empty lines, somewhere around this column.
    fn noise(&mut self, column: usize) {
        for _ in 0..self.draw(3) {
            match self.draw(6) {
                0 => self.out.push('\n'),
                1 => {
                    let comment = self.comment();
                    let at = column + self.draw(3) as usize;
                    let _ = writeln!(self.out, "{:at$}{comment}", "");
                }
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        if self.draw(8) == 0 {
            let comment = self.comment();
            let _ = write!(self.out, " {comment}");
        }
        self.out.push('\n');
    }

    /// What stands behind `key:` or `-`, which is at `column`.
    fn value(&mut self, value: &Value, column: usize, dash: bool) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                let inner = column + 2 + self.draw(3) as usize;
                if dash && self.draw(3) > 0 {
                    let _ = write!(self.out, "{:width$}", "", width = inner - column - 1);
                    self.map_from(value, inner, true);
                } else {
                    self.end_line();
                    self.map(value, inner);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                self.end_line();
                let inner = column + usize::from(dash) + self.draw(3) as usize;
                for item in items {
                    self.noise(inner);
                    let _ = write!(self.out, "{:inner$}-", "");
                    self.value(item, inner, true);
                }
            }
            Value::String(text) if self.draw(2) == 0 && lines(text) => {
                let sign = ["|", ">"][self.draw(2) as usize];
                // Folding keeps single lines only.
                let sign = if text.contains('\n') { "|" } else { sign };
                let digit = 2 + self.draw(4) as usize;
                let chomp = if text.ends_with('\n') { "" } else { "-" };
                let header = match self.draw(2) {
                    0 => format!(" {sign}{chomp}"),
                    _ => format!(" {sign}{digit}{chomp}"),
                };
                self.out.push_str(&header);
                self.end_line();
                for line in text.lines() {
                    let at = if line.is_empty() { 0 } else { column + digit };
                    let _ = writeln!(self.out, "{:at$}{line}", "");
                }
            }
            Value::String(text) if self.draw(3) == 0 && text.contains(' ') && quotable(text) => {
                // A quoted scalar that goes on in the next line.
                let (a, b) = text.split_once(' ').unwrap();
                let _ = writeln!(self.out, " '{}", a.replace('\'', "''"));
                let at = column + 1 + self.draw(4) as usize;
                let _ = write!(self.out, "{:at$}{}'", "", b.replace('\'', "''"));
                self.end_line();
            }
            _ => {
                // JSON is YAML, whatever it holds.
                let gap = 1 + self.draw(3) as usize;
                let _ = write!(self.out, "{:gap$}{value}", "");
                self.end_line();
            }
        }
    }

    fn map(&mut self, value: &Value, column: usize) {
        self.map_from(value, column, false);
    }

    fn map_from(&mut self, value: &Value, column: usize, mut behind_dash: bool) {
        for (key, value) in value.as_object().unwrap() {
            if !behind_dash {
                self.noise(column);
                let _ = write!(self.out, "{:column$}", "");
            }
            behind_dash = false;
            let _ = write!(self.out, "{}:", Value::from(key.as_str()));
            self.value(value, column, false);
        }
    }
}

/// Whether a text can stand in a block scalar as it is.
fn lines(text: &str) -> bool {
    let clean = |line: &str| line.is_empty() || !line.starts_with([' ', '\t']);
    !text.trim().is_empty()
        && !text.starts_with('\n')
        && !text.ends_with("\n\n")
        && text.lines().all(clean)
        && text.chars().all(|c| c == '\n' || !c.is_control())
}

fn quotable(text: &str) -> bool {
    let parts = text.split_once(' ');
    parts.is_some_and(|(a, b)| {
        !a.is_empty()
            && !b.is_empty()
            && !b.starts_with([' ', '#'])
            && !text.chars().any(char::is_control)
            && !b.trim().is_empty()
            && !a.ends_with(' ')
    })
}
