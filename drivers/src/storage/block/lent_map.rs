//! The block map that a client lends beside its image.

use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::bmap::Bmap;
use crate::driver::Call;
use crate::{DriverError, Result, Source};

/// The longest block map, in bytes: some 70,000 ranges. Real ones have a few hundred.
const LONGEST: u64 = 8 << 20;

/// Reads the second argument: a resource; or a list of resources that there may be, of which the
/// first is taken that there is. None without any.
pub(super) async fn read(call: &Call<'_>) -> Result<Option<Bmap>> {
    match call.args.optional::<Value>(1, "bmap")? {
        None => Ok(None),
        Some(Value::Array(maybe)) => first(call, maybe).await,
        Some(handle) => {
            let text = text(call.resources.source(&handle).await?).await?;
            Ok(Some(Bmap::parse(&text)?))
        }
    }
}

async fn first(call: &Call<'_>, maybe: Vec<Value>) -> Result<Option<Bmap>> {
    for handle in maybe {
        let Some(source) = call.resources.source_if_any(&handle).await? else { continue };
        let text = text(source).await?;
        // Some servers have a page for everything.
        if text.starts_with(XML) {
            tracing::info!("with the block map that is beside the image");
            return Ok(Some(Bmap::parse(&text)?));
        }
    }
    Ok(None)
}

/// How every block map begins.
const XML: &str = "<?xml";

async fn text(source: Source) -> Result<String> {
    let mut text = String::new();
    let received = source.take(LONGEST + 1).read_to_string(&mut text).await;
    received.map_err(|error| DriverError::io("receive the block map", error))?;
    if text.len() as u64 > LONGEST {
        let message = format!("a block map has at most {LONGEST} bytes; this is longer");
        return Err(DriverError::InvalidArgument(message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Args;
    use crate::storage::block::bmap::tests::bmap_of;
    use crate::testing::{Lent, image};

    async fn read_of(lent: &Lent, argument: Value) -> Result<Option<Bmap>> {
        let args = Args::new(vec![json!("image"), argument]);
        read(&Call { method: "write", args, resources: lent }).await
    }

    #[tokio::test]
    async fn of_those_that_there_may_be_the_first_is_taken() {
        let lent = Lent::default();
        let map = |blocks: usize| bmap_of(&image(4096 * blocks), &[(0, blocks - 1)]);
        let (small, large) = (lent.bytes(map(1)), lent.bytes(map(2)));
        let page = lent.bytes("<!doctype html><title>Not here</title>");
        let found = read_of(&lent, json!(["missing", page, large, small])).await.unwrap();
        assert_eq!(found.unwrap().image_size, 8192);
        assert!(read_of(&lent, json!(["missing"])).await.unwrap().is_none());
        assert!(read_of(&lent, Value::Null).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn one_that_was_named_has_to_be_there_and_to_be_one() {
        let lent = Lent::default();
        let error = read_of(&lent, json!("missing")).await.unwrap_err();
        assert!(matches!(error, DriverError::NotFound(_)), "{error}");
        for argument in [lent.bytes("no map"), json!([lent.bytes("<?xml version='1.0'?><a/>")])] {
            assert!(read_of(&lent, argument).await.is_err());
        }
    }
}
