//! Which bytes are where afterwards.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::super::super::chunk::CHUNK;
use super::super::bmap::tests::bmap_of;
use super::*;
use crate::encoding::{Encoding, encode};
use crate::testing::{image, sink};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn an_image_of_any_length_is_written_and_the_rest_stays(
        length in prop_oneof![
            1_usize..6000,
            Just(CHUNK - 1), Just(CHUNK), Just(CHUNK + 1),
            1..12 * CHUNK,
        ],
        rest in prop_oneof![Just(0_usize), 1_usize..5000],
    ) {
        let image = image(length);
        let (_folder, path) = card(length + rest);
        block_on(write(&storage(&path, &Switch::default(), json!({})), &*image)).unwrap();
        let written = fs::read(&path).unwrap();
        prop_assert!(written[..length] == image);
        prop_assert!(written[length..].iter().all(|byte| *byte == OLD));
    }
}

async fn compressed(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
    let (sink, received) = sink();
    let mut sink = encode(encoding, sink);
    sink.write_all(plain).await.unwrap();
    sink.shutdown().await.unwrap();
    received.complete().unwrap()
}

#[tokio::test]
async fn compressed_images_are_recognised() {
    let image = image(CHUNK / 2 + 77);
    for encoding in Encoding::ALL {
        let (_folder, path) = card(image.len());
        let compressed = compressed(encoding, &image).await;
        write(&storage(&path, &Switch::default(), json!({})), &*compressed).await.unwrap();
        assert!(fs::read(&path).unwrap() == image, "{encoding}");

        let as_it_is = storage(&path, &Switch::default(), json!({"decompress": false}));
        write(&as_it_is, &*compressed).await.unwrap();
        assert!(fs::read(&path).unwrap().starts_with(&compressed), "{encoding}");
    }
}

#[tokio::test]
async fn a_compressed_image_that_is_cut_off_is_an_error_and_the_dut_has_the_card() {
    let image = image(CHUNK / 2);
    for encoding in Encoding::ALL {
        let (_folder, path) = card(image.len());
        let compressed = compressed(encoding, &image).await;
        let mux = Switch::default();
        let error = write(&storage(&path, &mux, json!({})), &compressed[..compressed.len() - 9])
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), format!("the {encoding} data ends early"));
        assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
    }
}

#[tokio::test]
async fn zeros_are_passed_over_if_asked_for() {
    const HOLE: usize = 512 * 1024;
    let mut image = image(2 * CHUNK);
    image[HOLE..2 * HOLE].fill(0);
    let (_folder, path) = card(image.len());
    write(&storage(&path, &Switch::default(), json!({})), &*image).await.unwrap();
    assert!(fs::read(&path).unwrap() == image);

    let (_folder, path) = card(image.len());
    let sparse = storage(&path, &Switch::default(), json!({"skip_zeros": true}));
    write(&sparse, &*image).await.unwrap();
    let mut expected = image;
    expected[HOLE..2 * HOLE].fill(OLD);
    assert!(fs::read(&path).unwrap() == expected);
}

#[tokio::test]
async fn only_what_the_block_map_has_is_written() {
    let image = image(2 * CHUNK + 5000);
    let map = bmap_of(&image, &[(0, 15), (256, 256), (513, 513)]);
    let (_folder, path) = card(image.len() + 1000);
    write_mapped(&storage(&path, &Switch::default(), json!({})), &image, &map).await.unwrap();
    let written = fs::read(&path).unwrap();
    let mapped = [0..65_536, CHUNK..CHUNK + 65_536, 2 * CHUNK..image.len()];
    for (place, byte) in written.iter().enumerate() {
        let is_mapped = mapped.iter().any(|range| range.contains(&place));
        assert_eq!(*byte, if is_mapped { image[place] } else { OLD }, "byte {place}");
    }
}

#[tokio::test]
async fn an_image_that_is_not_the_one_of_its_map_is_an_error() {
    let image = image(CHUNK);
    let map = bmap_of(&image, &[(0, 3)]);
    let (_folder, path) = card(CHUNK);
    let mux = Switch::default();
    let storage = storage(&path, &mux, json!({}));
    let mut damaged = image.clone();
    damaged[5000] ^= 1;
    let error = write_mapped(&storage, &damaged, &map).await.unwrap_err().to_string();
    assert!(error.starts_with("bytes 0 to 16384 of the image are not those"), "{error}");
    let error = write_mapped(&storage, &image[..CHUNK - 1], &map).await.unwrap_err().to_string();
    assert!(error.starts_with("the image has fewer than the 1048576 bytes"), "{error}");
    let error = write_mapped(&storage, &image, "<bmap").await.unwrap_err().to_string();
    assert!(error.starts_with("the block map can't be used: it is not XML"), "{error}");
    let long = " ".repeat(9 << 20);
    let error = write_mapped(&storage, &image, &long).await.unwrap_err().to_string();
    assert_eq!(error, "a block map has at most 8388608 bytes; this is longer");
    assert_eq!(mux.sides(), [Side::Host, Side::Dut].repeat(2), "no visit for a broken map");
}

#[tokio::test]
async fn an_image_must_fit_and_have_something_in_it() {
    let (_folder, path) = card(CHUNK + 10);
    let storage = storage(&path, &Switch::default(), json!({}));
    let expected =
        format!("the image does not fit on {}: the device has 1048586 bytes", path.display());
    let error = write(&storage, image(CHUNK + 11)).await.unwrap_err().to_string();
    assert_eq!(error, format!("{expected}, and the image has more"));
    assert_eq!(fs::metadata(&path).unwrap().len(), 1_048_586, "a file does not grow");

    fs::write(&path, vec![OLD; CHUNK + 10]).unwrap();
    let large = image(2 * CHUNK);
    let error = write_mapped(&storage, &large, &bmap_of(&large, &[(0, 0)])).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{expected}, and the image has 2097152 bytes"));
    assert!(fs::read(&path).unwrap() == vec![OLD; CHUNK + 10], "nothing was written");

    let error = write(&storage, "").await.unwrap_err();
    assert_eq!(error.to_string(), "the image is empty");
}

#[tokio::test]
async fn all_of_it_is_read() {
    let (_folder, path) = card(10);
    let image = image(4 * CHUNK + 5);
    fs::write(&path, &image).unwrap();
    let mux = Switch::default();
    assert!(read(&storage(&path, &mux, json!({}))).await.unwrap() == image);
    assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
}

#[tokio::test]
async fn a_card_that_is_half_written_can_not_be_taken_for_a_whole_one() {
    let image = image(4 * CHUNK);
    let (_folder, path) = card(8 * CHUNK);
    let storage = storage(&path, &Switch::default(), json!({}));
    let is_marked = || super::super::marker::is_marked(&fs::File::open(&path).unwrap());
    for end in [1, 2 * CHUNK + 5, 4 * CHUNK - 1] {
        let lent = Lent::default();
        let handle = lent.source(crate::testing::cut_off(&image[..end]));
        lent.call(&storage, "write", json!([handle])).await.unwrap_err();
        assert_eq!(is_marked(), end > CHUNK, "nothing is touched before the first chunk is whole");
        let written = fs::read(&path).unwrap();
        assert!(end < CHUNK || written[64..CHUNK].iter().all(|byte| *byte == 0));
    }
    write(&storage, &*image).await.unwrap();
    assert!(!is_marked());
    assert!(fs::read(&path).unwrap().starts_with(&image));
}

#[tokio::test]
async fn no_marker_stays_where_the_image_has_a_hole() {
    let image = image(3 * CHUNK);
    let (_folder, path) = card(3 * CHUNK);
    let map = bmap_of(&image, &[(32, 300)]);
    write_mapped(&storage(&path, &Switch::default(), json!({})), &image, &map).await.unwrap();
    assert!(fs::read(&path).unwrap()[..32 * 4096].iter().all(|byte| *byte == OLD));
}

#[tokio::test]
async fn an_image_of_the_wrong_map_leaves_the_card_as_it_was() {
    let image = image(3 * CHUNK);
    let (_folder, path) = card(3 * CHUNK);
    let map = bmap_of(&vec![7; 3 * CHUNK], &[(0, 0), (700, 700)]);
    let storage = storage(&path, &Switch::default(), json!({}));
    write_mapped(&storage, &image, &map).await.unwrap_err();
    assert!(fs::read(&path).unwrap().iter().all(|byte| *byte == OLD));
}

#[tokio::test]
async fn an_android_sparse_image_is_refused_also_compressed() {
    let mut sparse = image(2 * CHUNK);
    sparse[..8].copy_from_slice(&[0x3A, 0xFF, 0x26, 0xED, 1, 0, 0, 0]);
    let (_folder, path) = card(4 * CHUNK);
    let storage = storage(&path, &Switch::default(), json!({}));
    for image in [sparse.clone(), compressed(Encoding::Zstd, &sparse).await] {
        let error = write(&storage, image).await.unwrap_err();
        assert!(matches!(error, DriverError::InvalidArgument(_)));
        assert!(error.to_string().starts_with("the image is an Android sparse image"), "{error}");
    }
    assert!(fs::read(&path).unwrap().iter().all(|byte| *byte == OLD));
}

#[tokio::test]
async fn an_image_that_is_larger_than_the_card_is_refused() {
    let (_folder, path) = card(2 * CHUNK + 512);
    let storage = storage(&path, &Switch::default(), json!({}));
    let error = write(&storage, image(2 * CHUNK + 513)).await.unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
    // Without knowing its size, that is seen only when all that fits has been written.
    assert!(super::super::marker::is_marked(&fs::File::open(&path).unwrap()));
    write(&storage, image(2 * CHUNK + 512)).await.unwrap();

    let large = image(3 * CHUNK);
    let error = write_mapped(&storage, &large, &bmap_of(&large, &[(0, 0)])).await.unwrap_err();
    assert!(error.to_string().contains("the image has 3145728 bytes"), "{error}");
    assert!(fs::read(&path).unwrap() == image(2 * CHUNK + 512), "its map tells before");
}
