//! What every driver is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde_json::Value;

use crate::recording::Recorder;
use crate::stream::{ByteStream, Sink, Source};
use crate::{Args, DriverError, Result};

/// One device of a bench, or a group of them.
///
/// A driver is built once and lives as long as its exporter. Between [`open`](Driver::open) and
/// [`close`](Driver::close), which come around every lease, it may hold its device; calls come only
/// in between, and concurrently: a driver does its own locking.
#[async_trait]
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// The class path of the Python client for this driver, as in the label
    /// `jumpstarter.dev/client`. `j` picks its verbs by it, too.
    fn client(&self) -> &'static str;

    /// The category that log records carry as `driver_type`.
    fn category(&self) -> &'static str {
        "other"
    }

    /// Everything that can be called, and how.
    fn methods(&self) -> &'static [Method];

    /// Descriptions of the client's commands that come from the driver's own configuration.
    fn methods_description(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The nodes below this one that it works with. The tree makes sure that those that are there can
    /// do what is needed, and opens them before this driver and closes them after it.
    fn uses(&self) -> &'static [Use] {
        &[]
    }

    /// Takes one of the drivers that it [uses](Driver::uses). Comes before each
    /// [`open`](Driver::open), as it may be another one by then.
    fn adopt(&self, _name: &'static str, _driver: Arc<dyn Driver>) {}

    /// What keeps what the device says, if the driver's configuration asks for it.
    fn recorder(&self) -> Option<&dyn Recorder> {
        None
    }

    /// A lease begins. Fails if the device can't be used.
    async fn open(&self) -> Result<()> {
        Ok(())
    }

    /// The lease is over: let go of the device, and take back what calls have left behind.
    async fn close(&self) {}

    /// Calls a [`Shape::Unary`] method.
    async fn call(&self, call: Call<'_>) -> Result<Value> {
        Err(call.no_such_method())
    }

    /// Calls a [`Shape::Items`] method. The stream stops when it is dropped.
    async fn items(&self, call: Call<'_>) -> Result<Items> {
        Err(call.no_such_method())
    }

    /// Opens a [`Shape::Bytes`] method.
    async fn connect(&self, method: &str) -> Result<ByteStream> {
        Err(DriverError::NoSuchMethod(method.to_owned()))
    }
}

/// A driver that another one works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Its name below the other.
    pub name: &'static str,
    /// The methods that it must have, all of them [`Shape::Unary`].
    pub methods: &'static [&'static str],
}

/// The values that a [`Shape::Items`] method yields.
pub type Items = BoxStream<'static, Result<Value>>;

/// One call of a method.
#[derive(Clone)]
pub struct Call<'a> {
    /// The method's name.
    pub method: &'a str,
    /// Its positional arguments.
    pub args: Args,
    /// What the client lends the driver for this call.
    pub resources: &'a dyn Resources,
}

impl Call<'_> {
    /// The error for a method that the driver doesn't have.
    pub fn no_such_method(&self) -> DriverError {
        DriverError::NoSuchMethod(self.method.to_owned())
    }

    /// Opens the resource that argument `index` is a handle of, for reading.
    pub async fn source(&self, index: usize) -> Result<Source> {
        self.resources.source(&self.args.required(index, "source")?).await
    }

    /// Opens the resource that argument `index` is a handle of, for writing.
    pub async fn sink(&self, index: usize) -> Result<Sink> {
        self.resources.sink(&self.args.required(index, "target")?).await
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).field("args", &self.args).finish()
    }
}

/// Turns the handles that clients pass as arguments into byte streams.
#[async_trait]
pub trait Resources: Send + Sync {
    /// Opens a handle for reading.
    async fn source(&self, handle: &Value) -> Result<Source>;

    /// Opens a handle of what there may be for reading; none if there is nothing.
    async fn source_if_any(&self, handle: &Value) -> Result<Option<Source>> {
        self.source(handle).await.map(Some)
    }

    /// Opens a handle for writing.
    async fn sink(&self, handle: &Value) -> Result<Sink>;
}

/// A callable method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    /// How it is called.
    pub shape: Shape,
}

impl Method {
    /// A method that returns one value.
    pub const fn unary(name: &'static str) -> Self {
        Self { name, shape: Shape::Unary }
    }

    /// A method that yields values.
    pub const fn items(name: &'static str) -> Self {
        Self { name, shape: Shape::Items }
    }

    /// A method that opens a byte stream.
    pub const fn bytes(name: &'static str) -> Self {
        Self { name, shape: Shape::Bytes }
    }
}

/// How a method is called; a name has one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Arguments to one value.
    Unary,
    /// Arguments to a sequence of values.
    Items,
    /// No arguments; a bidirectional byte stream.
    Bytes,
}

impl Shape {
    /// What the reference calls the mark of a method of this shape; clients see it in errors.
    const fn marker(self) -> &'static str {
        match self {
            Self::Unary => "marker_drivercall",
            Self::Items => "marker_streamingdrivercall",
            Self::Bytes => "marker_streamcall",
        }
    }
}

/// Checks that `driver` has `method` and that it is called as its shape wants.
///
/// # Errors
///
/// [`DriverError::NoSuchMethod`] or [`DriverError::WrongShape`].
pub fn check_method(driver: &dyn Driver, method: &str, shape: Shape) -> Result<()> {
    match driver.methods().iter().find(|known| known.name == method) {
        Some(known) if known.shape == shape => Ok(()),
        Some(_) => {
            Err(DriverError::WrongShape { method: method.to_owned(), marker: shape.marker() })
        }
        None => Err(DriverError::NoSuchMethod(method.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::PowerDriver;
    use crate::power::mock::MockPower;

    #[test]
    fn a_method_is_called_as_its_shape_wants() {
        let power = PowerDriver(MockPower);
        let check = |method, shape| check_method(&power, method, shape).map_err(|e| e.to_string());
        assert_eq!(check("on", Shape::Unary), Ok(()));
        assert_eq!(
            check("read", Shape::Unary),
            Err("method read missing marker marker_drivercall".into())
        );
        assert_eq!(
            check("on", Shape::Bytes),
            Err("method on missing marker marker_streamcall".into())
        );
        assert_eq!(
            check("levitate", Shape::Items),
            Err("method levitate not found on driver".into())
        );
    }
}
