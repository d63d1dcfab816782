//! What runs on a simulated board: a boot loader, and a shell with a handful of commands.

use std::time::Duration;

use tokio::time::sleep;

use crate::console::Console;
use crate::storage::image::Image;

/// How long each step of the boot takes.
const STEP: Duration = Duration::from_millis(60);

/// How much of an image may be its name.
const NAME: usize = 80;

const PROMPT: &str = "# ";

/// What the boot loader finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Medium {
    /// No card, or an empty one.
    None,
    /// A card that can't be read.
    Broken(String),
    /// An image, by its first line.
    Image { name: String, bytes: u64 },
}

impl Medium {
    pub(super) async fn read(image: &Image) -> Self {
        match image.head(NAME).await {
            Ok((0, _)) => Self::None,
            Ok((bytes, head)) => Self::Image { name: name_of(&head), bytes },
            Err(error) => Self::Broken(error.to_string()),
        }
    }
}

/// The first line of an image, if it is text.
fn name_of(head: &[u8]) -> String {
    let line = head.split(|byte| matches!(byte, b'\n' | b'\r' | 0)).next().unwrap_or_default();
    match std::str::from_utf8(line) {
        Ok(name) if !name.is_empty() && name.chars().all(|c| !c.is_control()) => name.to_owned(),
        Ok(_) | Err(_) => "an unnamed image".to_owned(),
    }
}

/// Boots and serves the console, for as long as there is power.
pub(super) async fn run(medium: Medium, console: &Console) {
    console.discard().await;
    loop {
        for line in boot(&medium) {
            sleep(STEP).await;
            console.print(format!("{line}\r\n").as_bytes());
        }
        let Medium::Image { name, .. } = &medium else {
            return std::future::pending().await;
        };
        console.print(PROMPT.as_bytes());
        serve(name, console).await;
    }
}

/// What the boot loader says.
fn boot(medium: &Medium) -> Vec<String> {
    let mut lines = vec![
        "Simulated board, boot loader 1.0".to_owned(),
        "DRAM: 512 MiB".to_owned(),
        "Looking for an image on the SD card".to_owned(),
    ];
    match medium {
        Medium::None => lines.push("** no boot medium **".to_owned()),
        Medium::Broken(reason) => lines.push(format!("** the card can't be read: {reason} **")),
        Medium::Image { name, bytes } => {
            lines.push(format!("booting {name} ({bytes} bytes)"));
            lines.push(format!("Welcome to {name}. Type help for help."));
        }
    }
    lines
}

/// Serves the shell until it is asked to boot again.
async fn serve(name: &str, console: &Console) {
    let mut line = Vec::new();
    loop {
        for byte in console.read().await {
            match byte {
                b'\r' | b'\n' => {
                    console.print(b"\r\n");
                    let command = String::from_utf8_lossy(&line).trim().to_owned();
                    line.clear();
                    match answer(&command, name) {
                        Some(answer) => console.print(format!("{answer}{PROMPT}").as_bytes()),
                        None => return,
                    }
                }
                // Backspace, as terminals send it.
                0x7f | 0x08 if line.pop().is_some() => console.print(b"\x08 \x08"),
                byte if !byte.is_ascii_control() => {
                    line.push(byte);
                    console.print(&[byte]);
                }
                _ => {}
            }
        }
    }
}

/// What a command prints; none if it boots again.
fn answer(command: &str, name: &str) -> Option<String> {
    let text = match command {
        "" => return Some(String::new()),
        "help" => "help, version, echo TEXT, reboot".to_owned(),
        "version" => name.to_owned(),
        "reboot" => return None,
        other => match other.strip_prefix("echo ") {
            Some(text) => text.to_owned(),
            None => format!("{other}: not found"),
        },
    };
    Some(format!("{text}\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_called_by_its_first_line() {
        assert_eq!(name_of(b"Coffee 2.1\nmore"), "Coffee 2.1");
        assert_eq!(name_of(b"Coffee 2.1"), "Coffee 2.1");
        assert_eq!(name_of(b"\x7fELF\x02\x01"), "an unnamed image");
        assert_eq!(name_of(b"\xff\xfe"), "an unnamed image");
        assert_eq!(name_of(b""), "an unnamed image");
    }

    #[test]
    fn the_shell_knows_its_commands() {
        let answer = |command| answer(command, "Coffee 2.1");
        assert_eq!(answer("version").unwrap(), "Coffee 2.1\r\n");
        assert_eq!(answer("echo a b").unwrap(), "a b\r\n");
        assert_eq!(answer("make").unwrap(), "make: not found\r\n");
        assert_eq!(answer("").unwrap(), "");
        assert_eq!(answer("reboot"), None);
    }

    #[test]
    fn a_broken_card_is_told_from_a_missing_one() {
        let last = |medium| boot(&medium).pop().unwrap();
        assert_eq!(last(Medium::None), "** no boot medium **");
        let broken = Medium::Broken("EIO".into());
        assert_eq!(last(broken), "** the card can't be read: EIO **");
    }
}
