//! Where the storage is, and whether it is the right one.

use std::io::Cursor;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, BufReader};

use super::super::super::chunk::CHUNK;
use super::super::visit::LOOK_INTERVAL;
use super::*;
use crate::testing::{cut_off, image};

#[tokio::test]
async fn the_mux_switches_and_a_visit_ends_with_the_dut() {
    let (_folder, path) = card(CHUNK);
    let mux = Switch::default();
    let (storage, lent) = (storage(&path, &mux, json!({})), Lent::default());
    assert_eq!(storage.client(), "jumpstarter_driver_opendal.client.StorageMuxFlasherClient");
    for method in ["host", "dut", "off"] {
        lent.call(&storage, method, json!([])).await.unwrap();
    }
    write(&storage, "image").await.unwrap();
    read(&storage).await.unwrap();
    assert_eq!(
        mux.sides(),
        [
            [Side::Host, Side::Dut, Side::Off].as_slice(),
            &[Side::Host, Side::Dut],
            &[Side::Host, Side::Dut]
        ]
        .concat()
    );
}

#[tokio::test]
async fn a_client_that_goes_away_is_an_error_and_the_dut_has_the_card() {
    let (_folder, path) = card(4 * CHUNK);
    let mux = Switch::default();
    let (storage, lent) = (storage(&path, &mux, json!({})), Lent::default());
    let handle = lent.source(cut_off(image(2 * CHUNK)));
    let error = lent.call(&storage, "write", json!([handle])).await.unwrap_err();
    assert_eq!(error.to_string(), "receive the data: the client went away");
    assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_leaves_the_card_with_the_dut_and_usable() {
    let (_folder, path) = card(16 * CHUNK);
    let mux = Switch::default();
    let storage = storage(&path, &mux, json!({}));
    {
        // A client that stops sending, but stays.
        let (mut client, source) = tokio::io::duplex(CHUNK);
        let lent = Lent::default();
        let handle = lent.source(Box::pin(BufReader::new(source)));
        let call = lent.call(&storage, "write", json!([handle]));
        let mut image = Cursor::new(image(10 * CHUNK));
        let sent = tokio::io::copy(&mut image, &mut client);
        tokio::select! {
            done = call => panic!("without the end of the image it is not done: {done:?}"),
            sent = sent => drop(sent.unwrap()),
        }
    }
    storage.close().await;
    assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
    assert_eq!(fs::read(&path).unwrap()[11 * CHUNK], OLD);
    fs::File::open(&path).unwrap().try_lock().expect("nobody has it open any more");

    write(&storage, image(CHUNK)).await.unwrap();
    assert!(fs::read(&path).unwrap()[..CHUNK] == image(CHUNK));
}

#[tokio::test]
async fn a_read_that_is_given_up_leaves_the_card_with_the_dut() {
    let (_folder, path) = card(16 * CHUNK);
    let mux = Switch::default();
    let storage = storage(&path, &mux, json!({}));
    {
        let (sink, mut client) = tokio::io::duplex(CHUNK);
        let lent = Lent::default();
        let handle = lent.lend_sink(Box::pin(sink));
        let mut some = vec![0; CHUNK];
        tokio::select! {
            done = lent.call(&storage, "read", json!([handle])) => panic!("too early: {done:?}"),
            read = client.read_exact(&mut some) => drop(read.unwrap()),
        }
    }
    storage.close().await;
    assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
}

#[tokio::test(start_paused = true)]
async fn a_device_may_take_its_time_to_appear() {
    let (_folder, path) = card(CHUNK);
    let later = path.with_extension("later");
    fs::rename(&path, &later).unwrap();
    // It appears without a medium at first.
    fs::write(&path, "").unwrap();
    let storage = storage(&path, &Switch::default(), json!({"timeout": 10}));
    let appear = async {
        tokio::time::sleep(LOOK_INTERVAL * 7 / 2).await;
        fs::rename(&later, &path).unwrap();
    };
    let (written, ()) = tokio::join!(write(&storage, "image"), appear);
    written.unwrap();
    assert!(fs::read(&path).unwrap().starts_with(b"image"));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_appear_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let mux = Switch::default();
    let storage = storage(&path, &mux, json!({"timeout": 3}));
    let begun = tokio::time::Instant::now();
    let error = write(&storage, "image").await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let open = format!("open {}: No such file or directory (os error 2)", path.display());
    assert_eq!(error.to_string(), format!("{open}; it has not appeared on the host within 3s"));
    assert!(matches!(error, DriverError::Timeout(_)));
    assert!(!path.exists(), "what is no device must not become a file");

    fs::write(&path, "").unwrap();
    let error = write(&storage, "image").await.unwrap_err().to_string();
    assert!(error.contains("no medium, or an empty one"), "{error}");
    assert_eq!(mux.sides(), [Side::Host, Side::Dut].repeat(2));
}

#[tokio::test]
async fn a_device_of_another_size_after_the_mux_moved_is_left_alone() {
    let (_folder, path) = card(CHUNK);
    let other = path.with_extension("other");
    fs::write(&other, vec![OLD; CHUNK + 512]).unwrap();
    let mux = Switch { brings: Some((other.clone(), path.clone())), ..Switch::default() };
    let error = write(&storage(&path, &mux, json!({"size": CHUNK})), "image").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} has 1049088 bytes, and the configured device has 1048576; this is another one",
            path.display()
        )
    );
    assert!(fs::read(&other).unwrap().iter().all(|byte| *byte == OLD));
    assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
}

#[tokio::test]
async fn a_device_with_another_serial_number_is_left_alone() {
    let (_folder, path) = card(CHUNK);
    let storage = storage(&path, &Switch::default(), json!({"serial": "1206"}));
    let error = write(&storage, "image").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} has no serial number, and the configured device has 1206; this is another one",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_device_that_somebody_has_locked_is_busy() {
    let (_folder, path) = card(CHUNK);
    let file = fs::File::open(&path).unwrap();
    file.lock().unwrap();
    let storage = storage(&path, &Switch::default(), json!({}));
    let error = write(&storage, "image").await.unwrap_err();
    assert!(matches!(error, DriverError::Busy(_)), "{error}");
    drop(file);
    write(&storage, "image").await.unwrap();
}

#[tokio::test]
async fn what_is_no_device_is_refused() {
    let storage = storage(Path::new("/dev/null"), &Switch::default(), json!({}));
    let error = write(&storage, "image").await.unwrap_err();
    assert_eq!(error.to_string(), "/dev/null is neither a block device nor a file");
}

#[tokio::test]
async fn a_mux_that_fails_is_told_beside_what_else_failed() {
    let (_folder, path) = card(CHUNK);
    let stuck = |side| Switch { broken: Some(side), ..Switch::default() };
    let failed = async |mux: &Switch, image: Vec<u8>| {
        write(&storage(&path, mux, json!({})), image).await.unwrap_err().to_string()
    };
    let mux = stuck(Side::Dut);
    assert_eq!(
        failed(&mux, image(10)).await,
        "all is done, but the storage is not connected to the DUT: the relay is stuck"
    );
    assert_eq!(
        failed(&mux, vec![]).await,
        "the image is empty; and the storage is not connected to the DUT: the relay is stuck"
    );
    let mux = stuck(Side::Host);
    assert_eq!(failed(&mux, image(10)).await, "the relay is stuck");
    assert_eq!(mux.sides(), [Side::Host, Side::Dut], "it may have moved half way");
}

#[tokio::test]
async fn the_mux_of_a_configuration_is_the_driver_below() {
    use crate::tree::{DeviceSpec, Spec, Tree};
    let (_folder, path) = card(CHUNK);
    let device = |type_name: &str, config: Value, children| {
        Spec::Device(DeviceSpec {
            type_name: type_name.into(),
            config: config.as_object().unwrap().clone(),
            children,
            ..DeviceSpec::default()
        })
    };
    // The board's card is in no device, but its mux tells where it is.
    let board = device("hilt.simulated.Board", json!({}), vec![]);
    let mux = vec![("mux".to_owned(), Spec::Proxy("board.storage".into()))];
    let disk = device("hilt.storage.BlockDevice", json!({"device": path}), mux);
    let top = [("disk".to_owned(), disk), ("board".to_owned(), board)];
    let tree = Tree::build(None, &top).unwrap();
    tree.open().await.unwrap();
    let driver = |path: &str| {
        let places = tree.walk();
        let place = places.iter().find(|place| place.node.path == path).unwrap();
        Arc::clone(&place.node.driver)
    };
    let lent = Lent::default();
    lent.call(&*driver("disk"), "host", json!([])).await.unwrap();
    let card = driver("board.storage");
    lent.call(&*card, "write", json!([lent.bytes("on the host")])).await.unwrap();
    lent.call(&*driver("disk"), "write", json!([lent.bytes("image")])).await.unwrap();
    let error = lent.call(&*card, "write", json!([lent.bytes("x")])).await.unwrap_err();
    assert_eq!(error.to_string(), "the card is not connected to the host; call host first");
    assert!(fs::read(&path).unwrap().starts_with(b"image"));
    tree.close().await;
}
