//! What steps and flows may not do, as one table: each interface without a grant, each class of
//! address, each way out of a directory, and words that mean more than they say; by both doors.
//!
//! A row is one try on a real server with a real Podman and a real sshd, and the name by which it must
//! be refused. Rows that must go well stand between them, so that nothing is refused for another reason.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use anyhow::{Result, ensure};

#[path = "denials/elsewhere.rs"]
mod elsewhere;
#[path = "denials/files.rs"]
mod files;
#[path = "denials/house.rs"]
mod house;
#[path = "denials/http.rs"]
mod http;
#[path = "denials/kept.rs"]
mod kept;
#[path = "denials/manifests.rs"]
mod manifests;
#[path = "denials/objects.rs"]
mod objects;
#[path = "denials/signals.rs"]
mod signals;

use house::{House, Row};

/// What each table is about, and its rows.
type Table = (&'static str, fn(&House) -> Vec<Row>);

const TABLES: [Table; 12] = [
    ("interfaces without a grant", kept::without_a_grant),
    ("secrets, keys and values", kept::beyond_a_grant),
    ("HTTP: addresses, by a Task", http::addresses_by_task),
    ("HTTP: addresses, by a step", http::addresses_by_step),
    ("HTTP: names, redirects, rebinding", http::names),
    ("HTTP: beyond a manifest", http::beyond_a_grant),
    ("HTTP: injection and limits", http::injection),
    ("directories and buckets", files::escapes),
    ("objects of steps", objects::rows),
    ("signals, executions and tokens", signals::rows),
    ("containers and machines", elsewhere::rows),
    ("beyond a flow's own manifest", manifests::rows),
];

#[test]
fn what_was_not_granted_or_means_something_else_is_refused_by_name() -> Result<()> {
    let house = House::start()?;
    let (mut wrong, mut all) = (Vec::new(), 0);
    for (about, rows) in TABLES {
        let mut denied = 0;
        for row in rows(&house) {
            let got = house.attempt(&row)?;
            denied += usize::from(!row.error.is_empty());
            if got != row.error {
                wrong.push(format!(
                    "{about}: {}: {got:?}, not {:?}",
                    row.what, row.error
                ));
            }
        }
        println!("{denied:4} denials: {about}");
        all += denied;
    }
    println!("{all:4} denials in all");
    ensure!(
        wrong.is_empty(),
        "{}\n{} rows",
        wrong.join("\n"),
        wrong.len()
    );
    house.nothing_got_through()
}
