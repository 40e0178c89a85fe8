//! Serial console: logged to a file, with waits for its lines.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

use super::patience::{LOOK, Pulse};

#[derive(Default)]
struct Said {
    text: String,
    ended: bool,
}

/// Output of a machine so far.
#[derive(Clone)]
pub(crate) struct Console {
    said: Arc<(Mutex<Said>, Condvar)>,
    pulse: Pulse,
    log: PathBuf,
}

impl Console {
    /// Follows `output` to its end, in a thread of its own.
    pub(super) fn follow(mut output: impl Read + Send + 'static, log: &Path, pulse: &Pulse) -> Result<Self> {
        let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let (shared, alive) = (Arc::clone(&said), pulse.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let len = output.read(&mut buffer).unwrap_or(0);
                // A full disk of the host must not stop the machine.
                let _ = file.write_all(&buffer[..len]);
                alive.beat();
                let (said, changed) = &*shared;
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.text.push_str(&String::from_utf8_lossy(&buffer[..len]));
                said.ended = len == 0;
                changed.notify_all();
                if said.ended {
                    return;
                }
            }
        });
        Ok(Self {
            said,
            pulse: pulse.clone(),
            log: log.to_owned(),
        })
    }

    /// All that was printed since the machine was switched on.
    pub(crate) fn text(&self) -> String {
        let (said, _) = &*self.said;
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.text.clone()
    }

    /// Waits until `words` have been printed since the machine was switched on, and returns them
    /// with the rest of the line.
    ///
    /// # Errors
    /// If the machine ends without them, or the time-out passes.
    pub(crate) fn wait_for(&self, words: &str) -> Result<String> {
        let wait = self.pulse.wait();
        let (said, changed) = &*self.said;
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let found = said.text.find(words).map(|at| &said.text[at..]);
            if let Some((line, _)) = found.and_then(|text| text.split_once('\n')) {
                return Ok(line.trim_end().to_owned());
            }
            if said.ended || wait.is_over() {
                let why = if said.ended { "ended" } else { "went on" };
                bail!(
                    "the machine {why} without saying {words:?}; see {}",
                    self.log.display()
                );
            }
            (said, _) = changed
                .wait_timeout(said, LOOK)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
