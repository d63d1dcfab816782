//! A driver, to be called.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tonic::{Status, Streaming};

use super::connection::Connection;
use super::error::{Error, Result};
use super::report::Driver;
use super::stream::{self, ByteStream, Incoming};
use crate::wire::StreamingDriverCallResponse;
use crate::wire::value::from_wire;

/// One driver over a connection.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    connection: &'a Connection,
    driver: &'a Driver,
}

/// What a [`Client::items`] call yields.
#[derive(Debug)]
pub(crate) struct Items<'a> {
    client: &'a Client<'a>,
    method: &'a str,
    responses: Streaming<StreamingDriverCallResponse>,
}

impl<'a> Client<'a> {
    /// The client of `driver`.
    pub(crate) fn new(connection: &'a Connection, driver: &'a Driver) -> Self {
        Self { connection, driver }
    }

    /// What the driver is called in messages.
    pub(crate) fn name(&self) -> String {
        self.driver.name()
    }

    /// Calls a method.
    pub(crate) async fn call(&self, method: &str, args: Vec<Value>) -> Result<Value> {
        let answer = self.connection.call(&self.driver.uuid, method, args).await;
        answer.map_err(|status| self.failed(method, status))
    }

    /// Calls a method that returns a `T`; `expected` is what that is called in a message.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        args: Vec<Value>,
        expected: &'static str,
    ) -> Result<T> {
        let answer = self.call(method, args).await?;
        self.understand(method, answer, expected)
    }

    /// Calls a method that yields items.
    pub(crate) async fn items(&'a self, method: &'a str, args: Vec<Value>) -> Result<Items<'a>> {
        let responses = self.connection.items(&self.driver.uuid, method, args).await;
        let responses = responses.map_err(|status| self.failed(method, status))?;
        Ok(Items { client: self, method, responses })
    }

    /// Opens the device's byte stream.
    pub(crate) async fn connect(&self) -> Result<ByteStream> {
        self.open("connect").await
    }

    /// Opens a byte stream of the device.
    pub(crate) async fn open(&self, method: &str) -> Result<ByteStream> {
        let request = json!({"kind": "driver", "uuid": self.driver.uuid, "method": method});
        let (outgoing, frames) = stream::outgoing();
        let response = self.connection.stream(&request, frames).await;
        let response = response.map_err(|status| self.failed(method, status))?;
        Ok(ByteStream { outgoing, incoming: Incoming::new(response.into_inner()) })
    }

    /// Opens a stream whose other end the driver gets as an argument: the second value.
    pub(crate) async fn resource(&self, encoding: Option<&str>) -> Result<(ByteStream, Value)> {
        let request = json!({
            "kind": "resource",
            "uuid": self.driver.uuid,
            "x_jmp_content_encoding": encoding,
        });
        let (outgoing, frames) = stream::outgoing();
        let response = self.connection.stream(&request, frames).await;
        let response = response.map_err(|status| self.failed("resource", status))?;
        // An exporter that leaves the answer out expects plain data, in spite of what was
        // announced.
        if encoding.is_some() && !response.metadata().contains_key("x_jmp_accept_encoding") {
            let words = "the exporter does not take compressed files";
            return Err(self.failed("resource", Status::unimplemented(words)));
        }
        let handle = response.metadata().get("resource").map(|handle| handle.as_bytes());
        let handle = handle.and_then(|handle| serde_json::from_slice(handle).ok());
        let handle = handle.ok_or_else(|| {
            self.failed("resource", Status::internal("the exporter's answer names no resource"))
        })?;
        Ok((ByteStream { outgoing, incoming: Incoming::new(response.into_inner()) }, handle))
    }

    /// A failure of a method of this driver.
    pub(crate) fn failed(&self, method: &str, status: Status) -> Error {
        Error::Call { driver: self.name(), method: method.to_owned(), status }
    }

    fn understand<T: DeserializeOwned>(
        &self,
        method: &str,
        answer: Value,
        expected: &'static str,
    ) -> Result<T> {
        let shown = answer.to_string();
        serde_json::from_value(answer).map_err(|_| Error::Answer {
            driver: self.name(),
            method: method.to_owned(),
            expected,
            answer: shown,
        })
    }
}

impl Items<'_> {
    /// The next item; `None` after the last. `expected` is what a `T` is called in a message.
    pub(crate) async fn next<T: DeserializeOwned>(
        &mut self,
        expected: &'static str,
    ) -> Result<Option<T>> {
        let item = self.responses.message().await;
        let item = item.map_err(|status| self.client.failed(self.method, status))?;
        let understand = |item: StreamingDriverCallResponse| {
            self.client.understand(self.method, from_wire(item.result), expected)
        };
        item.map(understand).transpose()
    }
}
