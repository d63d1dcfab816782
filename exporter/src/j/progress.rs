//! A bar for transfers, where somebody is looking.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar on stderr, or nothing if that is no terminal. Hooks run in a terminal that says it is
/// `dumb`.
pub(crate) fn bar(total: Option<u64>) -> ProgressBar {
    let attended = io::stderr().is_terminal()
        && std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
    if !attended {
        return ProgressBar::hidden();
    }
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_style(style(total)).with_finish(ProgressFinish::Abandon)
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = if total.is_some() {
        "{wide_bar} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {elapsed} (left: {eta})"
    } else {
        "{spinner} {bytes}  {binary_bytes_per_sec}  {elapsed}"
    };
    ProgressStyle::with_template(template).expect("because the templates are valid")
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    use super::*;

    #[test]
    fn both_bars_can_be_drawn() {
        for total in [None, Some(10)] {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            bar.with_style(style(total)).inc(5);
        }
    }
}
