//! A recorded port against real pseudo terminals and a real directory.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::driver::{Driver, Items};
use crate::recording::Mark;
use crate::serial::PySerial;
use crate::serial::tests::{Board, connect, read, serial, with_call};
use crate::{DriverError, Result};

fn recorded(url: &str, directory: &Path) -> PySerial {
    let driver = serial(json!({"url": url, "check_present": false, "record": {"size": "64K"}}));
    driver.recorder().unwrap().start(directory.to_owned());
    driver
}

async fn log(driver: &PySerial, args: Value) -> Result<Items> {
    with_call("log", args, async |call| driver.items(call).await).await
}

/// What the log has, with data as text and marks in brackets, up to one that ends with `last`.
async fn until(items: &mut Items, last: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(last) {
        let item = items.next().await.unwrap().unwrap();
        match (&item["data"], &item["mark"]) {
            (Value::String(data), _) => {
                text.push_str(&String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap());
            }
            (_, Value::String(mark)) => text.push_str(&format!("[{mark}]")),
            _ => text.push_str(&format!("({})", item["note"].as_str().unwrap())),
        }
    }
    text
}

async fn follow(driver: &PySerial) -> Items {
    log(driver, json!([null, true])).await.unwrap()
}

fn part(key: &str) -> Mark {
    Mark::Part { key: key.into(), text: format!("part {key}") }
}

#[tokio::test]
async fn what_is_said_is_kept_whether_anybody_listens_or_not() {
    let (board, folder) = (Board::new(), tempfile::tempdir().unwrap());
    let directory = folder.path().join("console");
    let driver = recorded(&board.path, &directory);
    let mut items = follow(&driver).await;
    until(&mut items, "is open]").await;
    board.says(b"early boot\r\n").await;
    until(&mut items, "early boot\r\n").await;
    let mut stream = connect(&driver).await;
    board.says(b"login: ").await;
    assert_eq!(read(&mut *stream.reader, 7).await, b"login: ");
    driver.close().await;
    assert!(stream.reader.read().await.unwrap().is_none());
    assert!(stream.writer.write("x".into()).await.is_err());
    board.says(b"after the lease").await;
    until(&mut items, "after the lease").await;
    // The next has it, to write as well.
    connect(&driver).await.writer.write("ls\n".into()).await.unwrap();
    assert_eq!(board.hears(3).await, b"ls\n");
    drop(driver);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("0000000001.log")), 0o600);
}

#[tokio::test]
async fn marks_divide_the_recording_and_only_the_present_part_is_shown() {
    let (board, folder) = (Board::new(), tempfile::tempdir().unwrap());
    let driver = recorded(&board.path, folder.path());
    let mark = |mark| driver.recorder().unwrap().mark(mark);
    let mut operator = follow(&driver).await;
    until(&mut operator, "is open]").await;
    mark(part("a"));
    mark(Mark::PowerOn("power".into()));
    board.says(b"secret of a").await;
    until(&mut operator, "secret of a").await;
    mark(part(""));
    mark(part("b"));
    let mut items = log(&driver, json!(["boot"])).await.unwrap();
    let note = "(the bench was switched on before this begins, for somebody else)";
    assert_eq!(until(&mut items, "b]").await, format!("{note}[part b]"));
    mark(Mark::PowerOff("power".into()));
    mark(Mark::PowerOn("power".into()));
    board.says(b"U-Boot").await;
    until(&mut operator, "U-Boot").await;
    let mut items = log(&driver, json!(["boot"])).await.unwrap();
    assert_eq!(until(&mut items, "U-Boot").await, "[power: power on]U-Boot");
    assert!(items.next().await.is_none());
    let mut items = log(&driver, json!([])).await.unwrap();
    let all = "[part b][power: power off][power: power on]U-Boot";
    assert_eq!(until(&mut items, "U-Boot").await, all);
    let error = log(&driver, json!(["yesterday"])).await.err().unwrap();
    assert!(matches!(error, DriverError::InvalidArgument(_)), "{error}");
}

#[tokio::test]
async fn a_device_that_was_unplugged_is_recorded_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("console");
    let driver = recorded(link.to_str().unwrap(), &folder.path().join("log"));
    let mut items = follow(&driver).await;
    for words in ["first life", "second life"] {
        let board = Board::new();
        symlink(&board.path, &link).unwrap();
        until(&mut items, "is open]").await;
        board.says(words.as_bytes()).await;
        until(&mut items, words).await;
        std::fs::remove_file(&link).unwrap();
        drop(board);
        until(&mut items, "was disconnected]").await;
    }
}

#[tokio::test]
async fn a_loan_is_recorded() {
    let (board, folder) = (Board::new(), tempfile::tempdir().unwrap());
    let driver = recorded(&board.path, folder.path());
    let mut items = follow(&driver).await;
    until(&mut items, "is open]").await;
    let loan = Driver::connect(&driver, "borrow").await.unwrap();
    until(&mut items, "[lent to another program]").await;
    drop(loan);
    until(&mut items, "[given back by the other program]").await;
    board.says(b"flashed").await;
    until(&mut items, "flashed").await;
}

#[tokio::test]
async fn a_recording_goes_on_in_the_next_life_of_the_exporter() {
    let (board, folder) = (Board::new(), tempfile::tempdir().unwrap());
    for life in ["one", "two"] {
        let driver = recorded(&board.path, folder.path());
        let mut items = follow(&driver).await;
        board.says(life.as_bytes()).await;
        until(&mut items, life).await;
    }
    let driver = recorded(&board.path, folder.path());
    let text = until(&mut follow(&driver).await, "two").await;
    assert!(text.contains("one"), "{text}");
}

#[tokio::test]
async fn a_disk_that_fails_stops_nobody_and_the_gap_is_counted() {
    let (board, folder) = (Board::new(), tempfile::tempdir().unwrap());
    let directory = folder.path().join("console");
    // Where the directory is to be, there is a file.
    std::fs::write(&directory, "").unwrap();
    let driver = recorded(&board.path, &directory);
    let mut stream = connect(&driver).await;
    board.says(b"lost").await;
    assert_eq!(read(&mut *stream.reader, 4).await, b"lost");
    // The recorder may not listen to the port yet, but it has heard of this when it is asked for its log.
    driver.recorder().unwrap().mark(Mark::PowerOn("power".into()));
    // Nothing is written; that the attempt was made shows in what comes next.
    assert!(log(&driver, json!([])).await.is_err());
    std::fs::remove_file(&directory).unwrap();
    // Whether the recorder listens by now can't be seen, so the board has to repeat itself.
    let repeated = async {
        loop {
            board.says(b"kept").await;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let heard = async { until(&mut follow_when_there(&driver).await, "kept").await };
    let text = tokio::select! {
        text = heard => text,
        () = repeated => unreachable!(),
    };
    assert!(text.contains("bytes could not be recorded here]"), "{text}");
}

/// Follows the log as soon as there is one.
async fn follow_when_there(driver: &PySerial) -> Items {
    loop {
        match log(driver, json!([null, true])).await {
            Ok(items) => return items,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn what_is_not_recorded_has_no_log() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    assert!(driver.recorder().is_none());
    assert!(driver.methods().iter().all(|method| method.name != "log"));
    let driver = serial(json!({"url": board.path, "record": true}));
    let error = log(&driver, json!([])).await.err().unwrap().to_string();
    assert!(error.contains("that is done by `hilt run`"), "{error}");
}
