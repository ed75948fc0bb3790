//! The OpenAPI document: as reviewed, and what it says of all operations is what the server does.

use std::collections::BTreeSet;

use serde_json::Value;
use stepwell_server::{Token, openapi};
use stepwell_types::{ExecutionId, ShardId, TaskToken, Timestamp};

use super::{House, block, house, read, request};

/// An operation of the document, with a path that leads to it.
struct Operation {
    method: String,
    path: String,
    about: Value,
}

impl Operation {
    fn all() -> Vec<Operation> {
        let document = serde_json::to_value(openapi()).unwrap();
        let execution = ExecutionId::new(Timestamp(1_795_000_000_000), ShardId(0), 7);
        let token = TaskToken {
            execution,
            entry: stepwell_types::EntryId(1),
            attempt: 0,
            proof: [0; 16],
        };
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let path = path
                .replace("{id}", &execution.to_string())
                .replace("{token}", &token.to_string());
            let parts = path.split('/');
            let parts = parts.map(|part| if part.starts_with('{') { "x" } else { part });
            let path = parts.collect::<Vec<_>>().join("/");
            for (method, about) in item.as_object().unwrap() {
                all.push(Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    about: about.clone(),
                });
            }
        }
        assert!(all.len() > 50, "{}", all.len());
        all
    }

    fn ask(&self, house: &House, query: &str, host: &str) -> (u16, Value) {
        let mut asked = request(&self.method, &format!("{}{query}", self.path), "");
        asked.headers_mut().insert("host", host.parse().unwrap());
        block(async { read(house.send(asked).await).await })
    }

    fn says(&self, status: &str) -> bool {
        self.about["responses"].get(status).is_some()
    }

    /// Neither a status page nor a page of errors.
    fn is_guarded(&self) -> bool {
        self.about.get("security").is_none()
    }
}

/// The document is the contract with every client: a change of it shows up in review.
/// `UPDATE_EXPECT=1` writes it anew.
#[test]
fn the_openapi_document_is_as_reviewed() {
    let document = openapi();
    assert_eq!(serde_json::to_value(&document).unwrap()["openapi"], "3.1.0");
    let text = document.to_pretty_json().unwrap() + "\n";
    expect_test::expect_file!["../openapi.json"].assert_eq(&text);
}

#[test]
fn no_two_operations_have_one_id() {
    let mut ids = BTreeSet::new();
    for one in Operation::all() {
        let id = one.about["operationId"].as_str();
        let id = id.unwrap_or_else(|| panic!("{} {} has no id", one.method, one.path));
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
    }
}

/// Checked of what answers in a house without anything in it.
#[test]
fn an_answer_is_of_the_kind_that_the_document_says() {
    let document = serde_json::to_value(openapi()).unwrap();
    let open = house(|_| {});
    let mut checked = 0;
    for one in Operation::all().iter().filter(|one| one.method == "GET") {
        let about = format!("{} {}", one.method, one.path);
        let (status, said) = one.ask(&open, "", "localhost");
        let content = &one.about["responses"][status.to_string()]["content"];
        let Some(mut schema) = content.pointer("/application~1json/schema") else {
            continue;
        };
        if let Some(place) = schema["$ref"].as_str() {
            schema = document.pointer(place.trim_start_matches('#')).unwrap();
        }
        let kind = schema["type"].as_str();
        assert!(
            kind.is_none() || (kind == Some("object")) == said.is_object(),
            "{about}: {said}"
        );
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            assert!(said.get(name).is_some(), "{about} has no {name}: {said}");
        }
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn an_operation_has_the_refusals_that_the_document_gives_to_all() {
    let open = house(|_| {});
    let closed = house(|o| o.token = Some(Token::new("correct-horse").unwrap()));
    for one in Operation::all() {
        let about = format!("{} {}", one.method, one.path);
        let guarded = one.is_guarded();
        let (status, said) = one.ask(&closed, "", "localhost");
        assert_eq!(status == 401, guarded, "{about}: {said}");
        assert_eq!(one.says("401"), guarded, "{about}");
        let (status, said) = one.ask(&open, "", "evil.example");
        assert_eq!(status == 403, guarded, "{about}: {said}");
        assert!(one.says("403") || !guarded, "{about}");
        assert!(one.says("500"), "{about}");
        if one.path.starts_with("/v1/") {
            let (status, said) = one.ask(&open, "?wrong=1", "localhost");
            assert_eq!(
                (status, said["code"].as_str()),
                (400, Some("API0004")),
                "{about}: {said}"
            );
            assert!(one.says("400"), "{about}");
        }
        if let Some(body) = one.about.get("requestBody") {
            for status in ["400", "408", "413", "415"] {
                assert!(one.says(status), "{about} {status}");
            }
            let json = body["content"].get("application/json").is_some();
            assert!(
                !json || body["required"] != true,
                "{about}: `{{}}` when empty"
            );
        }
    }
}
