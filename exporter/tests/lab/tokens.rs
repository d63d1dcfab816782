//! Tokens: wrong, foreign, altered, replayed and outdated ones, in the controller's codes and words.

use exporter::lab::store::Database;
use exporter::wire::client::{GetExporterRequest, RotateTokenRequest};
use jiff::SignedDuration;
use tonic::{Code, Request, Status};

use crate::lab_under_test::{Client, LabUnderTest};

const BENCH: &[(&str, &str)] = &[("bench", "")];

fn question() -> GetExporterRequest {
    let name = "namespaces/default/exporters/bench".into();
    GetExporterRequest { name, show_hidden_labels: false }
}

async fn ask(client: &Client, request: Request<GetExporterRequest>) -> Result<(), Status> {
    client.service().get_exporter(request).await.map(drop)
}

/// The code and the words of a refusal.
async fn refused(client: &Client, request: Request<GetExporterRequest>) -> (Code, String) {
    let status = ask(client, request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn a_request_says_who_it_is_from() {
    let lab = LabUnderTest::start(BENCH).await;
    let ann = lab.client("ann").await;
    ask(&ann, ann.says(question())).await.unwrap();
    let said = |code, words: &str| (code, words.to_owned());
    let mut wrong = Vec::new();
    for (key, code, words) in [
        ("authorization", Code::Unauthenticated, "missing authorization header"),
        ("jumpstarter-kind", Code::InvalidArgument, "missing metadata: jumpstarter-kind"),
        ("jumpstarter-namespace", Code::InvalidArgument, "missing metadata: jumpstarter-namespace"),
        (
            "jumpstarter-name",
            Code::InvalidArgument,
            "resource name required for pre-existing authentication",
        ),
    ] {
        let mut request = ann.says(question());
        request.metadata_mut().remove(key);
        wrong.push((request, said(code, words)));
        let mut request = ann.says(question());
        let value = request.metadata().get(key).unwrap().clone();
        request.metadata_mut().append(key, value);
        let words = match key {
            "authorization" => "multiple authorization headers".to_owned(),
            key => format!("multiple metadata: {key}"),
        };
        wrong.push((request, (Code::InvalidArgument, words)));
    }
    for (key, value, code, words) in [
        ("authorization", "Basic x", Code::InvalidArgument, "malformed authorization header"),
        ("authorization", "Bearer x", Code::Unknown, "failed to authenticate token"),
        ("jumpstarter-kind", "Exporter", Code::InvalidArgument, "object kind mismatch"),
        ("jumpstarter-kind", "client", Code::InvalidArgument, "object kind mismatch"),
    ] {
        let mut request = ann.says(question());
        request.metadata_mut().insert(key, value.parse().unwrap());
        wrong.push((request, said(code, words)));
    }
    for (request, expected) in wrong {
        assert_eq!(refused(&ann, request).await, expected);
    }
    lab.stop().await;
}

#[tokio::test]
async fn a_token_is_its_clients_alone() {
    let lab = LabUnderTest::start(BENCH).await;
    let (ann, bob) = (lab.client("ann").await, lab.client("bob").await);
    let posing = Client { name: "bob".into(), ..ann.clone() };
    let (code, words) = refused(&posing, posing.says(question())).await;
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(words, "permission denied for client \"default\"/\"bob\"");
    let nobody = Client { name: "carol".into(), ..ann.clone() };
    let (code, words) = refused(&nobody, nobody.says(question())).await;
    assert_eq!((code, words.contains("not found")), (Code::Unknown, true), "{words}");
    ask(&bob, bob.says(question())).await.unwrap();
    lab.stop().await;
}

#[tokio::test]
async fn a_token_whose_life_is_over_says_so() {
    let lab = LabUnderTest::start(BENCH).await;
    let ann = lab.client_for("ann", SignedDuration::from_secs(-1)).await;
    let said = refused(&ann, ann.says(question())).await;
    assert_eq!(said, (Code::Unknown, "token is expired".to_owned()));
    lab.stop().await;
}

#[tokio::test]
async fn a_client_that_is_removed_is_gone_at_once() {
    let lab = LabUnderTest::start(BENCH).await;
    let ann = lab.client("ann").await;
    ask(&ann, ann.says(question())).await.unwrap();
    Database::open(&lab.directory()).unwrap().remove_client("ann").unwrap();
    let (code, words) = refused(&ann, ann.says(question())).await;
    assert_eq!((code, words.contains("not found")), (Code::Unknown, true), "{words}");
    let anew = lab.client("ann").await;
    ask(&anew, anew.says(question())).await.unwrap();
    let (code, _) = refused(&ann, ann.says(question())).await;
    assert_eq!(code, Code::PermissionDenied, "the old token is another client's");
    lab.stop().await;
}

#[tokio::test]
async fn a_rotated_token_takes_the_place_of_the_old_one() {
    let lab = LabUnderTest::start(BENCH).await;
    let ann = lab.client("ann").await;
    let rotate = |client: Client| async move {
        let request = client.says(RotateTokenRequest { parent: "namespaces/default".into() });
        client.service().rotate_token(request).await.map(tonic::Response::into_inner)
    };
    let token = rotate(ann.clone()).await.unwrap().token;
    let first = Client { token, ..ann.clone() };
    ask(&first, first.says(question())).await.unwrap();
    ask(&ann, ann.says(question())).await.expect("what runs with the old one goes on");
    let replayed = rotate(ann.clone()).await.unwrap_err();
    assert_eq!(replayed.code(), Code::PermissionDenied, "but it makes no new ones");
    let token = rotate(first.clone()).await.unwrap().token;
    let second = Client { token, ..ann.clone() };
    ask(&second, second.says(question())).await.unwrap();
    let (code, words) = refused(&ann, ann.says(question())).await;
    assert_eq!((code, words.contains("a newer token")), (Code::PermissionDenied, true), "{words}");
    lab.stop().await;
}

#[tokio::test]
async fn another_namespace_is_nobodys() {
    let lab = LabUnderTest::start(BENCH).await;
    let ann = lab.client("ann").await;
    let name = "namespaces/other/exporters/bench".into();
    let request = ann.says(GetExporterRequest { name, show_hidden_labels: false });
    let said = refused(&ann, request).await;
    assert_eq!(said, (Code::PermissionDenied, "namespace mismatch".to_owned()));
    lab.stop().await;
}
