//! A whole driver against a server, over TCP.

use serde_json::json;
use tokio::net::TcpListener;

use super::fake::{Line, Manners, Server};
use crate::DriverError;
use crate::driver::Driver as _;
use crate::serial::tests::{call, connect, read, serial};

#[tokio::test]
async fn a_port_is_set_and_every_byte_passes_in_both_directions() {
    let server = Server::start(Manners::Good).await;
    let driver = serial(json!({"url": server.url, "baudrate": 1_500_000, "check_present": false}));
    let mut stream = connect(&driver).await;
    let line = server.sees(|line| line.purged == 1).await;
    let expected = Line {
        baudrate: 1_500_000,
        data_bits: 8,
        parity: 1,
        stop_bits: 1,
        dtr: true,
        rts: true,
        purged: 1,
        connections: 1,
        written: vec![],
    };
    assert_eq!(line, expected);
    let every: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (_, heard) = tokio::join!(
        async {
            stream.writer.write(every.clone().into()).await.unwrap();
            server.sees(|line| line.written == every).await;
        },
        async {
            server.says(&every);
            read(&mut *stream.reader, every.len()).await
        },
    );
    assert!(heard == every, "without the banner, and with every escaped byte");
}

#[tokio::test]
async fn modem_lines_are_the_servers() {
    let server = Server::start(Manners::Good).await;
    let driver = serial(json!({"url": server.url}));
    let _stream = connect(&driver).await;
    for (method, level) in [("set_dtr", false), ("set_rts", false), ("set_dtr", true)] {
        call(&driver, method, json!([level])).await.unwrap();
    }
    server.sees(|line| line.dtr && !line.rts).await;
}

#[tokio::test]
async fn what_was_written_arrives_although_the_stream_ends() {
    let server = Server::start(Manners::Good).await;
    let driver = serial(json!({"url": server.url, "check_present": false}));
    for _ in 0..3 {
        let mut stream = connect(&driver).await;
        stream.writer.write("reboot\n".into()).await.unwrap();
        drop(stream);
        driver.close().await;
    }
    let line = server.sees(|line| line.written.len() == 21).await;
    assert_eq!(line.connections, 3);
}

#[tokio::test]
async fn a_server_that_hangs_up_ends_the_streams_and_is_found_again() {
    let server = Server::start(Manners::Good).await;
    let driver = serial(json!({"url": server.url, "check_present": false}));
    let mut stream = connect(&driver).await;
    server.says(b"last");
    assert_eq!(read(&mut *stream.reader, 4).await, b"last");
    server.hang_up();
    let error = stream.reader.read().await.unwrap_err().to_string();
    assert_eq!(error, format!("{} was disconnected", server.url));
    let mut stream = connect(&driver).await;
    server.says(b"again");
    assert_eq!(read(&mut *stream.reader, 5).await, b"again");
}

#[tokio::test]
async fn data_is_held_back_while_the_server_wants_it() {
    let server = Server::start(Manners::Good).await;
    let driver = serial(json!({"url": server.url, "check_present": false}));
    let mut stream = connect(&driver).await;
    server.signals(&[255, 250, 44, 108, 255, 240]);
    // What the server says after it shows that the word has arrived.
    server.says(b"!");
    read(&mut *stream.reader, 1).await;
    stream.writer.write("held".into()).await.unwrap();
    call(&driver, "set_rts", json!([false])).await.unwrap();
    assert_eq!(server.sees(|line| !line.rts).await.written, b"");
    server.signals(&[255, 250, 44, 109, 255, 240]);
    server.sees(|line| line.written == b"held").await;
}

/// What opening the port says, with the server's address left out.
async fn said(manners: Manners, options: &str) -> String {
    let server = Server::start(manners).await;
    let url = format!("{}{options}", server.url);
    match serial(json!({"url": url, "baudrate": 921_600})).open().await {
        Ok(()) => "opened".into(),
        Err(error) => error.to_string().replace(&server.url, "URL"),
    }
}

#[tokio::test]
async fn a_server_that_can_not_do_it_is_refused_with_the_reason() {
    assert_eq!(
        said(Manners::RefusesOption, "").await,
        "connect to URL: the server refuses RFC 2217 (telnet option 44); if it serves plain TCP, \
         write socket://"
    );
    assert_eq!(
        said(Manners::FastestBaudrate(115_200), "").await,
        "connect to URL: the server set the baud rate to 115200 instead of 921600"
    );
    for manners in [Manners::Silent, Manners::Plain] {
        assert_eq!(
            said(manners, "?timeout=0.2").await,
            "connect to URL: the server still owes an answer to the offer of RFC 2217 (telnet \
             option 44) after 200ms; if it serves plain TCP, write socket://"
        );
    }
    let silent = said(Manners::KeepsControlToItself, "?timeout=0.2").await;
    assert!(silent.contains("still owes flow control or a modem line after"), "{silent}");
    let put_up_with = said(Manners::KeepsControlToItself, "?ign_set_control").await;
    assert_eq!(put_up_with, "opened");
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_said_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rfc2217://{}", listener.local_addr().unwrap());
    let driver = serial(json!({"url": url}));
    let (opened, accepted) = tokio::join!(driver.open(), async {
        let (mut client, _) = listener.accept().await.unwrap();
        tokio::io::AsyncReadExt::read(&mut client, &mut [0; 64]).await.unwrap();
    });
    let () = accepted;
    let error = opened.unwrap_err();
    assert!(matches!(error, DriverError::Disconnected(_)));
    assert!(error.to_string().contains("the server hung up"), "{error}");
}

#[tokio::test]
async fn garbage_ends_the_streams() {
    let server = Server::start(Manners::Good).await;
    let driver = serial(json!({"url": server.url, "check_present": false}));
    let mut stream = connect(&driver).await;
    server.signals(&[&[255, 250][..], &[0; 300]].concat());
    let error = stream.reader.read().await.unwrap_err().to_string();
    assert_eq!(error, format!("{} was disconnected", server.url));
}
