//! The handles by which a driver call names what its client lends.

use std::collections::BTreeMap;

use drivers::encoding::Encoding;
use drivers::{DriverError, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A resource, as a call's argument names it.
#[derive(Debug, Clone, PartialEq)]
pub enum Handle {
    /// A stream that the client has opened beside the call.
    ClientStream {
        /// Its id, given out when the stream was opened.
        id: Uuid,
        /// How its bytes are compressed.
        encoding: Option<Encoding>,
    },
    /// A place in an object store that the exporter is to use itself.
    Presigned(PresignedRequest),
}

/// A request that carries its authorization in itself. Its URL is a secret.
#[derive(Clone, PartialEq, Deserialize)]
pub struct PresignedRequest {
    /// The URL, to be used to the letter.
    pub url: String,
    /// GET or PUT.
    pub method: String,
    /// Headers that belong to it.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// What a client asks for when it opens a stream: the metadata `request`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum StreamRequest {
    /// A stream to a device.
    Driver {
        /// The driver.
        uuid: String,
        /// Its method.
        method: String,
    },
    /// A resource that the client lends to a driver.
    Resource {
        /// The driver.
        uuid: String,
        /// How the bytes will be compressed.
        #[serde(default)]
        x_jmp_content_encoding: Option<String>,
    },
}

/// What the client is told of the resource that it has opened: the metadata `resource`, and the
/// argument that it will pass on.
#[derive(Debug, Serialize)]
pub struct ClientStream {
    kind: &'static str,
    uuid: Uuid,
    x_jmp_content_encoding: Option<String>,
}

impl ClientStream {
    /// The handle of a stream that was just opened.
    pub fn new(id: Uuid, encoding: Option<String>) -> Self {
        Self { kind: "client_stream", uuid: id, x_jmp_content_encoding: encoding }
    }
}

impl Handle {
    /// Reads a handle from an argument.
    pub fn parse(argument: &Value) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        enum Raw {
            ClientStream { uuid: Uuid, x_jmp_content_encoding: Option<String> },
            PresignedRequest(PresignedRequest),
        }
        let raw = Raw::deserialize(argument).map_err(|error| {
            DriverError::InvalidArgument(format!("not a resource handle: {error}"))
        })?;
        match raw {
            Raw::ClientStream { uuid, x_jmp_content_encoding } => {
                let encoding = x_jmp_content_encoding.map(|name| name.parse()).transpose();
                let encoding = encoding.map_err(|error: drivers::encoding::UnknownEncoding| {
                    DriverError::InvalidArgument(error.to_string())
                })?;
                Ok(Self::ClientStream { id: uuid, encoding })
            }
            Raw::PresignedRequest(request) => Ok(Self::Presigned(request)),
        }
    }

    /// The streams that the arguments of a call name.
    pub fn streams_in(arguments: &[Value]) -> Vec<Uuid> {
        let id = |argument: &Value| match Self::parse(argument) {
            Ok(Self::ClientStream { id, .. }) => Some(id),
            Ok(Self::Presigned(_)) | Err(_) => None,
        };
        arguments.iter().filter(|argument| argument.is_object()).filter_map(id).collect()
    }
}

impl PresignedRequest {
    /// The URL without its query, which is where the secret is.
    pub fn shown_url(&self) -> String {
        match self.url.split_once('?') {
            Some((url, _)) => format!("{url}?[REDACTED]"),
            None => self.url.clone(),
        }
    }
}

impl std::fmt::Debug for PresignedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.shown_url())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "0d6f1f30-6b35-4f09-9a2c-2a44b9d0b1c3";

    #[test]
    fn both_kinds_of_handles_are_understood() {
        let id = Uuid::parse_str(ID).unwrap();
        let parse = |value| Handle::parse(&value).map_err(|error| error.to_string());
        assert_eq!(
            parse(json!({"kind": "client_stream", "uuid": ID, "x_jmp_content_encoding": "gzip"})),
            Ok(Handle::ClientStream { id, encoding: Some(Encoding::Gzip) })
        );
        assert_eq!(
            parse(json!({"kind": "client_stream", "uuid": ID})),
            Ok(Handle::ClientStream { id, encoding: None })
        );
        let request = json!({"kind": "presigned_request", "url": "http://h/x", "method": "GET"});
        assert!(matches!(parse(request), Ok(Handle::Presigned(_))));
    }

    #[test]
    fn what_is_no_handle_is_named() {
        let error = |value| Handle::parse(&value).unwrap_err().to_string();
        assert_eq!(
            error(json!({"kind": "floppy"})),
            "not a resource handle: unknown variant `floppy`, expected `client_stream` or \
             `presigned_request`"
        );
        assert!(error(json!("x")).starts_with("not a resource handle: "));
        assert!(error(json!({"kind": "client_stream", "uuid": "x"})).contains("UUID"));
        assert!(
            error(json!({"kind": "client_stream", "uuid": ID, "x_jmp_content_encoding": "lzma"}))
                .contains("gzip, xz, bz2")
        );
    }

    #[test]
    fn the_streams_of_a_call_are_found_among_its_arguments() {
        let handle = json!({"kind": "client_stream", "uuid": ID});
        let arguments = [json!("fd"), handle, json!({"kind": "other"}), Value::Null];
        assert_eq!(Handle::streams_in(&arguments), [Uuid::parse_str(ID).unwrap()]);
    }

    #[test]
    fn the_secret_of_a_presigned_url_is_not_shown() {
        let request = PresignedRequest {
            url: "https://store/image?X-Amz-Signature=secret".into(),
            method: "GET".into(),
            headers: BTreeMap::new(),
        };
        assert_eq!(format!("{request:?}"), "GET https://store/image?[REDACTED]");
    }
}
