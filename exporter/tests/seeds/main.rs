//! The three pages whose hooks Hilt runs, sentence by sentence.
//!
//! | page | whose life | sentences | their own tests |
//! |---|---|---|---|
//! | Jumpstarter's hooks | a lease's | `jumpstarter.txt` | `jumpstarter.rs` |
//! | SkyPilot's lifecycle hooks | the exporter's | `skypilot.txt` | `skypilot.rs` |
//! | Chef's skill lifecycle hooks | a driver's | `chef.txt` | `chef.rs` |
//!
//! A `.txt` lists what a page says, in our words, and below each sentence the tests that show it,
//! wherever in the workspace they are, or why there is none. `page` reads these lists and finds each
//! test that they name in `suite`, so that none can be renamed or deleted unnoticed. The tests here
//! are of the sentences that nothing else shows: real scripts, run by real `hilt` processes. What the
//! examples of the pages use and a test has not got is a `stand_in`.
#![cfg(test)]

#[path = "../recovery/bench.rs"]
#[expect(dead_code, reason = "these tests need a part of it, and those of the recovery another")]
mod bench;
mod chef;
mod jumpstarter;
mod page;
mod record;
mod skypilot;
mod stand_in;
mod suite;
