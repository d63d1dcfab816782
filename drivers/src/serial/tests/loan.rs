//! A port that is borrowed, and given back.

use super::*;

async fn borrow(driver: &PySerial) -> Result<ByteStream> {
    Driver::connect(driver, "borrow").await
}

#[tokio::test]
async fn a_borrowed_port_is_closed_and_its_streams_wait() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let mut stream = connect(&driver).await;
    for _ in 0..2 {
        let mut loan = borrow(&driver).await.unwrap();
        let terms = loan.reader.read().await.unwrap().unwrap();
        let terms: Value = serde_json::from_slice(&terms).unwrap();
        assert_eq!(terms["port"], json!(board.path));
        assert_eq!(terms["boot_id"].as_str().unwrap().len(), 36);
        assert!(!is_open(&board));
        let other = TTYPort::open(&serialport::new(&board.path, 9600)).unwrap();
        let busy = borrow(&driver).await.err().unwrap();
        assert!(matches!(busy, DriverError::Busy(_)));
        assert!(matches!(call(&driver, "set_dtr", json!([true])).await, Err(DriverError::Busy(_))));
        // Another may join meanwhile, and waits as well.
        let mut joined = connect(&driver).await;
        drop(other);
        let (written, ()) = tokio::join!(stream.writer.write("ls\n".into()), async { drop(loan) });
        written.unwrap();
        assert_eq!(board.hears(3).await, b"ls\n");
        board.says(b"boot").await;
        assert_eq!(read(&mut *stream.reader, 4).await, b"boot");
        assert_eq!(read(&mut *joined.reader, 4).await, b"boot");
        stream.writer.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_listener_hears_of_a_loan_that_began_before_it_was_asked() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let listener = driver.console.port(Duration::ZERO).await.unwrap().listen();
    let _loan = borrow(&driver).await.unwrap();
    assert!(listener.states().has_changed().unwrap());
}

#[tokio::test]
async fn a_port_without_streams_can_be_borrowed_and_stays_closed_after() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let loan = borrow(&driver).await.unwrap();
    assert!(!is_open(&board));
    drop(loan);
    driver.close().await;
    assert!(!is_open(&board));
    connect(&driver).await;
}

#[tokio::test]
async fn a_borrowed_device_that_does_not_come_back_ends_its_streams() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path, "reconnect_timeout": 0}));
    let mut stream = connect(&driver).await;
    let loan = borrow(&driver).await.unwrap();
    let path = board.path.clone();
    drop(board);
    drop(loan);
    let error = stream.reader.read().await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{path} was lent and did not come back: ")), "{error}");
}

#[tokio::test]
async fn a_loan_ends_with_the_lease() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let mut loan = borrow(&driver).await.unwrap();
    loan.reader.read().await.unwrap();
    let (ended, ()) = tokio::join!(
        async {
            let ended = loan.reader.read().await.unwrap();
            drop(loan);
            ended
        },
        driver.close()
    );
    assert!(ended.is_none());
}
