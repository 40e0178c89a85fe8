//! What the reader sees.

use std::io::{IsTerminal as _, Write as _};

/// Begins a chapter.
pub fn title(text: &str) {
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m== {text}\x1b[0m");
    } else {
        println!("\n== {text}");
    }
}

/// One line of the story.
pub fn say(text: &str) {
    println!("   {text}");
}

/// The state of a download: drawn over on a terminal, a line every tenth elsewhere.
#[derive(Default)]
pub struct Bar {
    shown: Option<u32>,
}

impl Bar {
    /// `fraction` is what the client printed: `0.250000`.
    pub fn show(&mut self, fraction: &str) {
        let Some(percent) = percent(fraction) else { return };
        let terminal = std::io::stdout().is_terminal();
        let step = if terminal { percent } else { percent / 20 };
        if self.shown.replace(step) == Some(step) {
            return;
        }
        let full = usize::try_from(percent / 4).unwrap_or(0);
        let line = format!("   downloading [{:<25}] {percent:>3} %", "#".repeat(full));
        if terminal {
            print!("\r{line}");
            // A terminal that is gone is noticed by the next println.
            let _ = std::io::stdout().flush();
        } else {
            println!("{line}");
        }
    }

    /// Leaves the bar's line.
    pub fn close(self) {
        if self.shown.is_some() && std::io::stdout().is_terminal() {
            println!();
        }
    }
}

/// Whole percents of a decimal fraction between 0 and 1, without floating point.
fn percent(fraction: &str) -> Option<u32> {
    let (whole, decimals) = fraction.split_once('.')?;
    let whole: u32 = whole.parse().ok()?;
    let hundredths: u32 = decimals.get(..2)?.parse().ok()?;
    Some(whole * 100 + hundredths)
}
