//! Real block devices: loop devices, which only root can make.

use std::process::Command;

use super::super::super::chunk::CHUNK;
use super::*;
use crate::testing::image;

/// A loop device on a file.
struct Loop(PathBuf);

impl Loop {
    fn attach(file: &Path) -> Option<Self> {
        Self::attach_with(file, &["--direct-io=on"])
    }

    fn attach_with(file: &Path, more: &[&str]) -> Option<Self> {
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show"]).args(more).arg(file);
        output(&mut losetup).map(|path| Self(path.into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        output(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

/// What a command prints; says why if there is nothing.
fn output(command: &mut Command) -> Option<String> {
    match command.output() {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        }
        Ok(output) => {
            eprintln!("skipped: {command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
            None
        }
        Err(error) => {
            eprintln!("skipped: {command:?}: {error}");
            None
        }
    }
}

#[tokio::test]
async fn a_loop_device_is_written_past_the_page_cache() {
    let (_folder, path) = card(8 * CHUNK);
    let Some(device) = Loop::attach(&path) else { return };
    let storage = storage(&device.0, &Switch::default(), json!({"size": 8 * CHUNK}));
    let image = image(5 * CHUNK + 700);
    write(&storage, &*image).await.unwrap();
    let written = read(&storage).await.unwrap();
    assert!(written[..image.len()] == image);
    assert!(written[image.len()..].iter().all(|byte| *byte == OLD));
    assert!(fs::read(&path).unwrap() == written);

    let error = write(&storage, vec![1; 8 * CHUNK + 1]).await.unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
}

#[tokio::test]
async fn a_device_that_can_only_be_read_is_told_and_read() {
    let (_folder, path) = card(2 * CHUNK);
    let Some(device) = Loop::attach_with(&path, &["--read-only"]) else { return };
    let mux = Switch::default();
    let storage = storage(&device.0, &mux, json!({}));
    let error = write(&storage, image(CHUNK)).await.unwrap_err();
    assert!(matches!(error, DriverError::PermissionDenied(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "{} can only be read: the slider of an SD card says so, or one that is worn out does",
            device.0.display()
        )
    );
    assert_eq!(read(&storage).await.unwrap().len(), 2 * CHUNK);
    assert_eq!(mux.sides(), [Side::Host, Side::Dut].repeat(2));
}

#[tokio::test]
async fn a_device_that_the_host_has_mounted_stays_with_it() {
    let (folder, path) = card(8 * CHUNK);
    let Some(device) = Loop::attach(&path) else { return };
    let place = folder.path().join("mnt");
    fs::create_dir(&place).unwrap();
    if output(Command::new("mkfs.ext4").arg("-q").arg(&device.0)).is_none()
        || output(Command::new("mount").arg(&device.0).arg(&place)).is_none()
    {
        return;
    }
    let (mux, lent) = (Switch::default(), Lent::default());
    let storage = storage(&device.0, &mux, json!({}));
    lent.call(&storage, "host", json!([])).await.unwrap();
    let taken = [
        lent.call(&storage, "dut", json!([])).await.map(drop),
        lent.call(&storage, "off", json!([])).await.map(drop),
        write(&storage, image(CHUNK)).await,
    ];
    output(Command::new("umount").arg(&place)).expect("because it was just mounted");
    for taken in taken {
        let error = taken.unwrap_err();
        assert!(matches!(error, DriverError::Busy(_)), "{error}");
    }
    assert_eq!(mux.sides(), [Side::Host, Side::Host], "it was never given away");
    lent.call(&storage, "dut", json!([])).await.unwrap();
}

#[tokio::test]
async fn a_mounted_device_is_left_alone() {
    let (folder, path) = card(8 * CHUNK);
    let Some(device) = Loop::attach(&path) else { return };
    let place = folder.path().join("mounted here");
    fs::create_dir(&place).unwrap();
    if output(Command::new("mkfs.ext4").arg("-q").arg(&device.0)).is_none()
        || output(Command::new("mount").arg(&device.0).arg(&place)).is_none()
    {
        return;
    }
    let storage = storage(&device.0, &Switch::default(), json!({}));
    let error = write(&storage, image(CHUNK)).await;
    output(Command::new("umount").arg(&place)).expect("because it was just mounted");
    let error = error.unwrap_err();
    assert!(matches!(error, DriverError::Busy(_)));
    let name = device.0.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is in use: {name} is mounted on {}; unmount it, and keep automounters off the bench",
            device.0.display(),
            place.display()
        )
    );
    write(&storage, image(CHUNK)).await.unwrap();
}
