//! A serial port server that keeps the state of its port, and can misbehave.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::telnet::{self, Decoder, Event, Verb};

/// The port behind the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) baudrate: u32,
    pub(crate) data_bits: u8,
    pub(crate) parity: u8,
    pub(crate) stop_bits: u8,
    pub(crate) dtr: bool,
    pub(crate) rts: bool,
    pub(crate) purged: u32,
    pub(crate) connections: u32,
    /// What has been written to the port.
    pub(crate) written: Vec<u8>,
}

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    Good,
    /// It knows telnet, but not the option.
    RefusesOption,
    /// It takes the connection, and that is all.
    Silent,
    /// It is no telnet server: it sends what its port says.
    Plain,
    /// It can't do more than this.
    FastestBaudrate(u32),
    /// It never answers about modem lines and flow control.
    KeepsControlToItself,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    line: watch::Receiver<Line>,
    says: mpsc::UnboundedSender<Order>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
enum Order {
    Data(Vec<u8>),
    Raw(Vec<u8>),
    HangUp,
}

impl Server {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rfc2217://{}", listener.local_addr().unwrap());
        let (line, seen) = watch::channel(Line::default());
        let (says, orders) = mpsc::unbounded_channel();
        #[expect(clippy::disallowed_methods, reason = "the handle is the task's owner")]
        let task = tokio::spawn(serve(listener, manners, line, orders));
        Self { url, line: seen, says, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits until the port is as `wanted`.
    pub(crate) async fn sees(&self, wanted: impl FnMut(&Line) -> bool) -> Line {
        self.line.clone().wait_for(wanted).await.unwrap().clone()
    }

    /// The port says something.
    pub(crate) fn says(&self, data: &[u8]) {
        self.says.send(Order::Data(data.to_vec())).unwrap();
    }

    /// The server says something that is no data, to the letter.
    pub(crate) fn signals(&self, raw: &[u8]) {
        self.says.send(Order::Raw(raw.to_vec())).unwrap();
    }

    pub(crate) fn hang_up(&self) {
        self.says.send(Order::HangUp).unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    manners: Manners,
    line: watch::Sender<Line>,
    orders: mpsc::UnboundedReceiver<Order>,
) {
    let orders = Arc::new(tokio::sync::Mutex::new(orders));
    loop {
        let (client, _) = listener.accept().await.unwrap();
        line.send_modify(|line| line.connections += 1);
        let connection = Connection { manners, line: &line, decoder: Decoder::default() };
        connection.run(client, &mut *orders.lock().await).await;
    }
}

struct Connection<'a> {
    manners: Manners,
    line: &'a watch::Sender<Line>,
    decoder: Decoder,
}

impl Connection<'_> {
    async fn run(mut self, mut client: TcpStream, orders: &mut mpsc::UnboundedReceiver<Order>) {
        client.write_all(b"fake port server\r\n").await.unwrap();
        loop {
            let mut input = [0; 777];
            let mut output = BytesMut::new();
            tokio::select! {
                length = client.read(&mut input) => match length {
                    Ok(0) | Err(_) => return,
                    Ok(length) => self.hear(&input[..length], &mut output),
                },
                Some(order) = orders.recv() => match order {
                    Order::Data(data) => telnet::put_data(&data, &mut output),
                    Order::Raw(raw) => output.put_slice(&raw),
                    Order::HangUp => return,
                },
            }
            if client.write_all(&output).await.is_err() {
                return;
            }
        }
    }

    fn hear(&mut self, input: &[u8], output: &mut BytesMut) {
        if matches!(self.manners, Manners::Silent | Manners::Plain) {
            return;
        }
        let mut data = BytesMut::new();
        for event in self.decoder.decode(input, &mut data) {
            match event {
                Event::Option(Verb::Will, 44) if self.manners == Manners::RefusesOption => {
                    telnet::put_option(Verb::Dont, 44, output);
                }
                Event::Option(Verb::Will, option) => telnet::put_option(Verb::Do, option, output),
                Event::Option(Verb::Do, option) => telnet::put_option(Verb::Will, option, output),
                Event::Option(Verb::Wont | Verb::Dont, _) => {}
                Event::Subnegotiation(text) => self.obey(&text, output),
                Event::Endless => panic!("the client sends garbage"),
            }
        }
        self.line.send_modify(|line| line.written.extend_from_slice(&data));
    }

    fn obey(&self, text: &[u8], output: &mut BytesMut) {
        let [44, command, value @ ..] = text else { panic!("unknown option: {text:?}") };
        let mut answer = value.to_vec();
        self.line.send_modify(|line| match (command, value) {
            (1, value) => {
                let asked = u32::from_be_bytes(value.try_into().unwrap());
                line.baudrate = if let Manners::FastestBaudrate(most) = self.manners {
                    asked.min(most)
                } else {
                    asked
                };
                answer = line.baudrate.to_be_bytes().to_vec();
            }
            (2, [bits]) => line.data_bits = *bits,
            (3, [parity]) => line.parity = *parity,
            (4, [bits]) => line.stop_bits = *bits,
            (5, [1]) => {}
            (5, [control @ (8 | 9)]) => line.dtr = *control == 8,
            (5, [control @ (11 | 12)]) => line.rts = *control == 11,
            (12, [3]) => line.purged += 1,
            other => panic!("unknown command: {other:?}"),
        });
        if *command != 5 || self.manners != Manners::KeepsControlToItself {
            let text = [&[command + 100][..], &answer].concat();
            telnet::put_subnegotiation(44, &text, output);
        }
    }
}
