//! The services of the lab's port: one short function for each thing that can be asked.

mod clients;
mod controller;
pub mod limits;
mod login;
mod router;
mod tickets;

pub use self::clients::Clients;
pub use self::controller::Controller;
pub use self::login::Login;
pub use self::router::Router;
pub use self::tickets::Tickets;

use tonic::Response;

type Reply<T> = Result<Response<T>, tonic::Status>;

/// The `HOST:PORT` by which a client has reached the lab, so that it is sent back the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority(pub String);
