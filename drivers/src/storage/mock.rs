//! Storage without a device, for trying things out: images are kept until the lease ends.

use std::collections::HashMap;
use std::sync::Mutex;

use serde::Deserialize;

use super::image::Image;
use super::{Flasher, StorageMux, lock};
use crate::blocking;
use crate::registry::Build;
use crate::stream::{Sink, Source};
use crate::{DriverError, Result};

/// `jumpstarter_driver_opendal.driver.MockFlasher`: an image for each partition.
#[derive(Debug, Default)]
pub struct MockFlasher {
    partitions: Mutex<HashMap<String, Image>>,
}

/// `jumpstarter_driver_opendal.driver.MockStorageMux` and `MockStorageMuxFlasher`: one image, and a
/// switch that does nothing.
#[derive(Debug, Default)]
pub struct MockStorageMux {
    card: Mutex<Option<Image>>,
}

/// The mocks have no settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Build for MockFlasher {
    type Config = Config;

    fn build(_: Config) -> Result<Self> {
        Ok(Self::default())
    }
}

impl Flasher for MockFlasher {
    async fn flash(&self, source: Source, partition: Option<&str>) -> Result<()> {
        let name = partition_name(partition)?;
        let image = Image::receive(source).await?;
        let old = lock(&self.partitions).insert(name.to_owned(), image);
        blocking::discard(old);
        Ok(())
    }

    async fn dump(&self, sink: &mut Sink, partition: Option<&str>) -> Result<()> {
        let name = partition_name(partition)?;
        let image = lock(&self.partitions).get(name).cloned();
        let empty = || DriverError::NotFound(format!("nothing was flashed to partition '{name}'"));
        image.ok_or_else(empty)?.send(sink).await
    }

    async fn close(&self) {
        blocking::discard(std::mem::take(&mut *lock(&self.partitions)));
    }
}

/// The partition that is meant, if it is a name and not a path.
fn partition_name(partition: Option<&str>) -> Result<&str> {
    let name = partition.unwrap_or("default");
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(DriverError::InvalidArgument(format!("'{name}' is not a partition's name")));
    }
    Ok(name)
}

impl Build for MockStorageMux {
    type Config = Config;

    fn build(_: Config) -> Result<Self> {
        Ok(Self::default())
    }
}

impl StorageMux for MockStorageMux {
    async fn host(&self) -> Result<()> {
        tracing::info!("storage connected to the host");
        Ok(())
    }

    async fn dut(&self) -> Result<()> {
        tracing::info!("storage connected to the DUT");
        Ok(())
    }

    async fn off(&self) -> Result<()> {
        tracing::info!("storage disconnected");
        Ok(())
    }

    async fn write(&self, source: Source) -> Result<()> {
        let image = Image::receive(source).await?;
        let old = lock(&self.card).replace(image);
        blocking::discard(old);
        Ok(())
    }

    async fn read(&self, sink: &mut Sink) -> Result<()> {
        let image = lock(&self.card).clone();
        // A card that was never written is empty.
        match image {
            Some(image) => image.send(sink).await,
            None => Ok(()),
        }
    }

    async fn close(&self) {
        blocking::discard(lock(&self.card).take());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use std::sync::Arc;

    use super::*;
    use crate::Driver;
    use crate::encoding::{Encoding, decode, encode};
    use crate::registry::find;
    use crate::testing::{Lent, cut_off, image, sink, whole};

    fn build(name: &str) -> Arc<dyn Driver> {
        let entry = find(&format!("jumpstarter_driver_opendal.driver.{name}")).unwrap();
        entry.build(json!({})).unwrap().driver
    }

    /// Larger than all the memory of a copy.
    const LARGE: usize = 6_000_011;

    async fn received(driver: &dyn Driver, method: &str, mut args: Vec<Value>) -> Option<Vec<u8>> {
        let lent = Lent::default();
        let (handle, received) = lent.sink();
        args.insert(0, handle);
        lent.call(driver, method, json!(args)).await.ok()?;
        Some(received.complete().expect("because the call has succeeded"))
    }

    #[tokio::test]
    async fn an_image_is_kept_for_each_partition() {
        let (flasher, lent) = (build("MockFlasher"), Lent::default());
        let image = image(LARGE);
        for (partition, bytes) in
            [(Value::Null, &image[..]), (json!("uboot"), b"u-boot"), (json!("empty"), b"")]
        {
            let args = json!([lent.bytes(bytes), partition]);
            assert_eq!(lent.call(&*flasher, "flash", args).await.unwrap(), Value::Null);
        }
        assert!(received(&*flasher, "dump", vec![]).await.unwrap() == image);
        assert!(received(&*flasher, "dump", vec![json!("default")]).await.unwrap() == image);
        assert_eq!(received(&*flasher, "dump", vec![json!("uboot")]).await.unwrap(), b"u-boot");
        assert_eq!(received(&*flasher, "dump", vec![json!("empty")]).await.unwrap(), b"");

        flasher.close().await;
        assert_eq!(received(&*flasher, "dump", vec![]).await, None, "the lease is over");
    }

    #[tokio::test]
    async fn what_was_never_flashed_is_not_found() {
        let (flasher, lent) = (build("MockFlasher"), Lent::default());
        let (handle, received) = lent.sink();
        let error = lent.call(&*flasher, "dump", json!([handle, "uboot"])).await.unwrap_err();
        assert!(matches!(error, DriverError::NotFound(_)));
        assert_eq!(error.to_string(), "nothing was flashed to partition 'uboot'");
        assert_eq!(received.complete(), None);
    }

    #[tokio::test]
    async fn partitions_have_names_and_not_paths() {
        let (flasher, lent) = (build("MockFlasher"), Lent::default());
        for name in ["", ".", "..", "../a", "/etc/passwd", "a/b", "a\0b"] {
            let args = json!([lent.bytes("x"), name]);
            let error = lent.call(&*flasher, "flash", args).await.unwrap_err();
            assert_eq!(error.to_string(), format!("'{name}' is not a partition's name"));
            let error = lent.call(&*flasher, "dump", json!([lent.sink().0, name])).await;
            assert!(matches!(error, Err(DriverError::InvalidArgument(_))));
        }
    }

    #[tokio::test]
    async fn an_incomplete_image_leaves_the_previous_one() {
        let lent = Lent::default();
        for (driver, write, read) in
            [("MockFlasher", "flash", "dump"), ("MockStorageMux", "write", "read")]
        {
            let driver = build(driver);
            lent.call(&*driver, write, json!([lent.bytes("previous")])).await.unwrap();
            let compressed = b"\x28\xb5\x2f\xfd\x24\x06\x31\x00\x00hell";
            for (source, expected) in [
                (cut_off(image(LARGE)), "receive the data: the client went away"),
                (decode(Encoding::Zstd, whole(compressed)), "the zstd data ends early"),
            ] {
                let handle = lent.source(source);
                let error = lent.call(&*driver, write, json!([handle])).await.unwrap_err();
                assert_eq!(error.to_string(), expected);
                assert_eq!(received(&*driver, read, vec![]).await.unwrap(), b"previous");
            }
        }
    }

    #[tokio::test]
    async fn compressed_images_arrive_plain_and_leave_compressed() {
        let (flasher, lent) = (build("MockFlasher"), Lent::default());
        let image = image(300_000);
        lent.call(&*flasher, "flash", json!([lent.bytes(&image[..])])).await.unwrap();
        for encoding in Encoding::ALL {
            let (sink, compressed) = sink();
            let handle = lent.lend_sink(encode(encoding, sink));
            lent.call(&*flasher, "dump", json!([handle])).await.unwrap();
            let compressed = compressed.complete().unwrap();
            assert!(compressed.len() < image.len() / 2);

            let handle = lent.source(decode(encoding, whole(compressed)));
            lent.call(&*flasher, "flash", json!([handle, "copy"])).await.unwrap();
            assert!(received(&*flasher, "dump", vec![json!("copy")]).await.unwrap() == image);
        }
    }

    #[tokio::test]
    async fn a_mux_keeps_one_image_and_switches() {
        for (name, client) in [
            ("MockStorageMux", "StorageMuxClient"),
            ("MockStorageMuxFlasher", "StorageMuxFlasherClient"),
        ] {
            let (mux, lent) = (build(name), Lent::default());
            assert_eq!(mux.client(), format!("jumpstarter_driver_opendal.client.{client}"));
            assert_eq!(received(&*mux, "read", vec![]).await.unwrap(), b"", "an empty card");
            for bytes in [&image(LARGE)[..], b"shorter"] {
                for method in ["host", "write", "dut", "host", "off"] {
                    let args =
                        if method == "write" { json!([lent.bytes(bytes)]) } else { json!([]) };
                    assert_eq!(lent.call(&*mux, method, args).await.unwrap(), Value::Null);
                }
                assert!(received(&*mux, "read", vec![]).await.unwrap() == bytes);
            }
            mux.close().await;
            assert_eq!(received(&*mux, "read", vec![]).await.unwrap(), b"");
        }
    }

    #[tokio::test]
    async fn arguments_are_counted() {
        let lent = Lent::default();
        for (driver, method, most) in [
            ("MockStorageMux", "host", 0),
            ("MockStorageMux", "write", 1),
            ("MockStorageMux", "read", 1),
            ("MockFlasher", "flash", 2),
            ("MockFlasher", "dump", 2),
        ] {
            let driver = build(driver);
            let surplus = lent.call(&*driver, method, json!(vec!["x"; most + 1])).await;
            assert_eq!(
                surplus.unwrap_err().to_string(),
                format!("takes at most {most} arguments, but {} were given", most + 1)
            );
        }
    }

    #[test]
    fn there_are_no_settings() {
        let entry = find("jumpstarter_driver_opendal.driver.MockFlasher").unwrap();
        let error = entry.build(json!({"file": "x"})).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `file`"), "{error}");
    }
}
