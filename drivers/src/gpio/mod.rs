//! GPIO lines of the exporter's host, through the kernel's character devices (`/dev/gpiochipN`, uAPI v2).
//!
//! ```text
//! DigitalOutput, PowerSwitch ──► Held ─┐
//!                                      ├──► Chips: the kernel, or a test's own board
//! DigitalInput ──────────────► Watched ┘
//! ```
//!
//! Many controllers forget the level of a line that nobody holds. So an output is requested when the
//! driver is first opened, and held until the driver is dropped: leases come and go, and the line
//! stays as it is. An input is held from opening to closing.
//!
//! The settings are explained in `drivers/docs/gpio.md`.

mod chip;
mod config;
#[cfg(test)]
mod fake;
mod held;
mod input;
mod output;
mod request;
mod switch;

pub use self::input::DigitalInput;
pub use self::output::DigitalOutput;
pub use self::switch::PowerSwitch;
