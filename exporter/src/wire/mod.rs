//! The wire: the generated messages and services, the values in them, and how images travel.

pub(crate) mod transfer;
pub mod value;

pub use self::generated::client::v1 as client;
pub use self::generated::v1::*;

/// What the files in `proto` describe. The packages refer to each other by these names.
mod generated {
    #![expect(missing_docs, reason = "generated; the .proto files document them")]
    #![allow(
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        clippy::too_many_lines,
        reason = "generated"
    )]

    pub mod v1 {
        tonic::include_proto!("jumpstarter.v1");
    }

    pub mod client {
        pub mod v1 {
            tonic::include_proto!("jumpstarter.client.v1");
        }
    }
}
