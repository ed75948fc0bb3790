//! Objects in buckets, put and got over HTTP.

use serde_json::json;
use stepwell_buckets::{Buckets, Grant};

use super::{block, house};

#[test]
fn objects_are_put_got_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("given.csv"), "a,b").unwrap();
    let buckets = Buckets::open(&stepwell_buckets::Options {
        kept: Some(dir.path().join("kept")),
        granted: vec![Grant {
            name: "given".into(),
            path: dir.path().into(),
            write: false,
        }],
        object_bytes_max: 1_000_000,
        instance: String::new(),
    });
    let buckets = buckets.unwrap();
    let house = house(|options| options.buckets = buckets.clone());
    let at = "/v1/buckets/data/objects";
    let one = "/v1/buckets/data/objects/a/b%20c.csv";
    house.check("GET", one, "", 404, "BUCKET0001");
    house.check(
        "PUT",
        one,
        "x,y\n1,2\n",
        201,
        r#""key":"a/b c.csv","size":8"#,
    );
    house.check("PUT", one, "x", 200, r#""new":false"#);
    house.check("GET", one, "", 200, "x");
    house.check("PUT", "/v1/buckets/data/objects/a", "", 409, "BUCKET0007");
    house.check(
        "PUT",
        "/v1/buckets/data/objects/..%2Fa",
        "",
        400,
        "BUCKET0003",
    );
    house.check(
        "PUT",
        "/v1/buckets/da%2Fta/objects/a",
        "",
        400,
        "BUCKET0003",
    );
    let big = "x".repeat(1_000_001);
    house.check("PUT", one, &big, 413, "API0006");
    house.check(
        "PUT",
        &format!("{at}/big"),
        &big[1..],
        201,
        r#""size":1000000"#,
    );
    let (status, page) = block(house.ask("GET", &format!("{at}?limit=1"), ""));
    assert_eq!(
        (status, &page["next"]),
        (200, &json!("a/b c.csv")),
        "{page}"
    );
    let second = format!("{at}?limit=1&after=a/b%20c.csv");
    let (_, page) = block(house.ask("GET", &second, ""));
    assert_eq!(
        (&page["objects"][0]["key"], page.get("next")),
        (&json!("big"), None)
    );
    house.check("GET", &format!("{at}?prefix=c"), "", 200, r#""objects":[]"#);
    house.check("GET", "/v1/buckets/given/objects/given.csv", "", 200, "a,b");
    house.check("PUT", "/v1/buckets/given/objects/x", "", 403, "BUCKET0004");
    house.check(
        "DELETE",
        "/v1/buckets/given/objects/given.csv",
        "",
        403,
        "BUCKET0004",
    );
    house.check(
        "GET",
        "/v1/buckets",
        "",
        200,
        r#"{"name":"given","origin":"granted","write":false}"#,
    );
    house.check("DELETE", one, "", 204, "");
    house.check("GET", one, "", 404, "BUCKET0002");
}
