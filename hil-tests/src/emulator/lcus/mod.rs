//! LCUS's relay boards, which NOYITO sells: of two relays behind a serial adapter, and of four as an
//! HID device.
//!
//! Their leaflets have the frames: A0, the relay, its position, and the sum of these; and one that
//! asks, which is answered with a line of text for each relay.

mod hid;
mod serial;

pub(crate) use self::hid::HidRelays;
pub(crate) use self::serial::SerialRelays;

/// Does what a frame says.
fn obey(frame: &[u8], relays: &mut [bool]) {
    if let [0xa0, relay, level @ (0 | 1), sum] = *frame
        && sum == 0xa0_u8.wrapping_add(relay).wrapping_add(level)
        && let Some(place) = usize::from(relay).checked_sub(1).and_then(|at| relays.get_mut(at))
    {
        *place = level == 1;
    }
}

/// A line for each relay.
fn lines(relays: &[bool]) -> String {
    let line = |(number, on)| format!("CH{number}: {}\r\n", if on { "ON" } else { "OFF" });
    (1..).zip(relays.iter().copied()).map(line).collect()
}
