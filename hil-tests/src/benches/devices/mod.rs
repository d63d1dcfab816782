//! The emulated devices of a bench, and what a case does to them.

mod card;
mod console;
mod dutlink;
mod host;
mod hub;
mod outlet;

pub(crate) use self::card::Card;
pub(crate) use self::console::Console;
pub(crate) use self::host::Host;
pub(crate) use self::hub::Hub;
pub(crate) use self::outlet::Outlet;
