//! A real server behind the filter.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::super::{AuthorityFilter, huffman};
use super::{PREFACE, decode_block, frame, headers, literal, string};

/// What the server says to a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// An HTTP status.
    Status(Vec<u8>),
    /// A RST_STREAM with an error code.
    Reset(u32),
}

/// Serves one connection: every call is answered as unimplemented, which is an HTTP success.
async fn serve(io: impl AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static) {
    let connections =
        tokio_stream::once(Ok::<_, std::io::Error>(io)).chain(tokio_stream::pending());
    Server::builder().add_routes(Routes::default()).serve_with_incoming(connections).await.unwrap();
}

/// Header blocks as gRPC clients send them. The first spells `:authority` out; the next two refer to
/// the entry that this has made; the fourth refers to its name and makes another, to which the last
/// refers.
fn requests() -> [Vec<u8>; 5] {
    // POST, http, and the path.
    let mut common = vec![0x83, 0x86, 0x04];
    string(&mut common, b"/jumpstarter.v1.ExporterService/GetStatus", false);

    let mut first = common.clone();
    first.extend(literal(0x40, b":authority", b"tmp%2Fjumpstarter-ab12%2Fsocket"));
    first.extend(literal(0x40, b"te", b"trailers"));
    first.extend(literal(0x40, b"content-type", b"application/grpc"));
    let second = [&common[..], &[0xC0, 0xBF, 0xBE]].concat();
    let third = second.clone();
    let mut fourth = [&common[..], &[0x7F, 0x01]].concat();
    string(&mut fourth, &huffman::encode(b"tmp%2Fanother%2Fsocket"), true);
    fourth.extend([0xC0, 0xBF]);
    let fifth = [&common[..], &[0xBE, 0xC0, 0xBF]].concat();
    [first, second, third, fourth, fifth]
}

/// Sends the requests one after the other.
async fn answers(mut client: UnixStream) -> Vec<Answer> {
    client.write_all(&[PREFACE, &frame(0x4, 0x0, 0, &[])].concat()).await.unwrap();
    let mut decoder = loona_hpack::Decoder::new();
    let mut answers = Vec::new();
    for (block, stream_id) in requests().iter().zip((1..).step_by(2)) {
        client.write_all(&headers(0x5, stream_id, block)).await.unwrap();
        answers.push(answer(&mut client, &mut decoder).await);
    }
    answers
}

/// Reads frames until one is the answer to a request.
async fn answer(client: &mut UnixStream, decoder: &mut loona_hpack::Decoder<'_>) -> Answer {
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        client.read_exact(&mut payload).await.unwrap();
        match head[3] {
            0x1 => {
                let mut fields = decode_block(decoder, &payload).into_iter();
                let (_, status) = fields.find(|(name, _)| name == b":status").unwrap();
                return Answer::Status(status);
            }
            0x3 => {
                return Answer::Reset(u32::from_be_bytes(payload.try_into().unwrap()));
            }
            _ => {}
        }
    }
}

async fn answers_of(
    server: impl AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    client: UnixStream,
) -> Vec<Answer> {
    let answers = timeout(Duration::from_secs(10), answers(client));
    tokio::select! {
        () = serve(server) => panic!("the server has stopped"),
        answers = answers => answers.expect("the server has not answered in time"),
    }
}

#[tokio::test]
async fn clients_of_a_unix_socket_are_served_behind_the_filter() {
    let (server, client) = UnixStream::pair().unwrap();
    let served: Vec<Answer> = requests().iter().map(|_| Answer::Status(b"200".to_vec())).collect();
    assert_eq!(answers_of(AuthorityFilter::new(server), client).await, served);
}

/// When this fails, h2 accepts such authorities, and the filter may go.
#[tokio::test]
async fn clients_of_a_unix_socket_are_refused_without_the_filter() {
    let (server, client) = UnixStream::pair().unwrap();
    let protocol_error = 0x1;
    let refused: Vec<Answer> = requests().iter().map(|_| Answer::Reset(protocol_error)).collect();
    assert_eq!(answers_of(server, client).await, refused);
}
