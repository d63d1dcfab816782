//! The wire: the generated messages and services, and values in them.

pub mod value;

pub use self::generated::*;

/// What `proto/jumpstarter.proto` describes.
mod generated {
    #![expect(missing_docs, reason = "generated; the .proto file documents them")]
    #![allow(
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        clippy::too_many_lines,
        reason = "generated"
    )]

    tonic::include_proto!("jumpstarter.v1");
}
