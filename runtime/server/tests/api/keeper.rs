//! Deleting what steps keep, while clients go and steps write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_orchestrator::Error;
use stepwell_orchestrator::ports::{Answer, Keeper};
use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Key, NamespaceSize, Quota, Reader as _, Writer as _, namespace};
use stepwell_types::{Effects, Growth, Held, Hold, KeyValueWrite};

use super::{House, block, house_with};

/// Removes what it is told to, and notes whether it was done.
#[derive(Clone, Default)]
struct Noting {
    landed: Arc<AtomicBool>,
    given_up: Arc<AtomicBool>,
    /// A step writes to every key, always.
    hot: bool,
}

/// What is held; dropped with the hold.
struct Once(Noting);

impl Held for Once {
    fn landed(&self) {
        self.0.landed.store(true, Ordering::Release);
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if !self.0.landed.load(Ordering::Acquire) {
            self.0.given_up.store(true, Ordering::Release);
        }
    }
}

impl Keeper for Noting {
    fn quota(&self, _: &str) -> Quota {
        Quota { keys: 9, bytes: 99 }
    }

    fn remove(&self, of: Arc<str>, keys: Vec<Arc<str>>) -> Answer<'_, Option<Effects>> {
        Box::pin(async move {
            if self.hot {
                std::future::pending::<()>().await;
            }
            let growth = Growth {
                namespace: of.clone(),
                keys: -(keys.len() as i64),
                bytes: 0,
            };
            let writes = keys.into_iter().map(|key| KeyValueWrite {
                namespace: of.clone(),
                key,
                value: None,
            });
            Ok(Some(Effects {
                writes: writes.collect(),
                growth: vec![growth],
                objects: Vec::new(),
                hold: Hold::new(Once(self.clone())),
            }))
        })
    }
}

const NAME: &str = "shared/n";

fn row() -> Key {
    Key::KeyValue {
        namespace: namespace::from_shown(NAME),
        key: "k".into(),
    }
}

fn kept(keeper: &Noting) -> (Memory, House) {
    let memory = Memory::new();
    let mut rows = Batch::default();
    rows.put(row(), b"v".to_vec());
    let size = Key::NamespaceSize {
        namespace: namespace::from_shown(NAME),
        writer: 0,
    };
    let one = NamespaceSize { keys: 1, bytes: 2 };
    rows.put(size, one.to_row());
    memory.writer().commit(&[rows]).unwrap();
    let house = house_with(memory.clone(), Arc::new(keeper.clone()), |_| {});
    (memory, house)
}

#[test]
fn a_client_that_goes_away_ends_no_removal_half_way() {
    let keeper = Noting::default();
    let (memory, house) = kept(&keeper);
    block(async {
        let deletion = house.orchestrator.empty_namespace(NAME);
        tokio::select! {
            biased;
            _ = deletion => panic!("it was not even committed"),
            () = std::future::ready(()) => {}
        }
        // It is dropped here. What was begun comes about, and only then are its keys let go.
        while !keeper.landed.load(Ordering::Acquire) {
            assert!(
                !keeper.given_up.load(Ordering::Acquire),
                "given back before it is durable"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(memory.get(&row()).unwrap(), None);
    assert!(
        house.orchestrator.namespace(NAME).is_err(),
        "its size is counted"
    );
}

#[test]
fn a_key_that_steps_write_all_the_time_is_told_of_and_keeps_nobody_waiting() {
    let keeper = Noting {
        hot: true,
        ..Noting::default()
    };
    let (memory, house) = kept(&keeper);
    block(async {
        let deletion = house.orchestrator.empty_namespace(NAME);
        let deletion = std::pin::pin!(deletion);
        let published = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let flow = r#"{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}"#;
            let publish = house.ask("PUT", "/v1/flows/f", flow);
            tokio::time::timeout(Duration::from_secs(3), publish).await
        };
        let (deleted, published) = tokio::join!(deletion, published);
        let (status, _) = published.expect("nothing is locked meanwhile");
        assert!(status < 300, "{status}");
        let refused = deleted.unwrap_err();
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        assert!(refused.retry());
    });
    assert!(memory.get(&row()).unwrap().is_some());
}
