//! A manual page.

use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use update_engine::flags::{Flag, FlagKind};

/// A page of the manual: what a command line takes, then sections in words.
pub(crate) struct Page {
    name: String,
    section: &'static str,
    roff: Roff,
    body: Vec<u8>,
}

impl Page {
    /// What `command` says of itself: its name, synopsis, options and subcommands.
    pub(crate) fn of_command(command: &Command, section: &'static str) -> Self {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name())
            .to_owned();
        let man = Man::new(command.clone());
        let mut body = Vec::new();
        // Writing to a vector can't fail.
        let _ = man
            .render_name_section(&mut body)
            .and_then(|()| man.render_synopsis_section(&mut body))
            .and_then(|()| man.render_description_section(&mut body))
            .and_then(|()| man.render_options_section(&mut body));
        if command.has_subcommands() {
            let _ = man.render_subcommands_section(&mut body);
        }
        Self::with_body(name, section, body)
    }

    /// A page that no command line is behind.
    pub(crate) fn of_file(name: &str, section: &'static str, about: &str) -> Self {
        let mut roff = Roff::new();
        roff.control("SH", ["NAME"]);
        roff.text([roman(format!("{name} - {about}"))]);
        Self::with_body(name.to_owned(), section, roff.to_roff().into_bytes())
    }

    fn with_body(name: String, section: &'static str, body: Vec<u8>) -> Self {
        Self {
            name,
            section,
            roff: Roff::new(),
            body,
        }
    }

    /// A section of paragraphs.
    pub(crate) fn section(mut self, heading: &str, paragraphs: &[&str]) -> Self {
        self.roff.control("SH", [heading]);
        for (index, paragraph) in paragraphs.iter().enumerate() {
            if index > 0 {
                self.roff.control("PP", []);
            }
            self.roff.text([roman(*paragraph)]);
        }
        self
    }

    /// A section of terms and what they mean.
    pub(crate) fn terms(mut self, heading: &str, terms: impl IntoIterator<Item = (String, String)>) -> Self {
        self.roff.control("SH", [heading]);
        for (term, meaning) in terms {
            self.roff.control("TP", []);
            self.roff.text([bold(term)]);
            self.roff.text([roman(meaning)]);
        }
        self
    }

    /// What the file is called.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    /// The source of the page, as of `date`: YYYY-MM-DD.
    pub(crate) fn to_roff(&self, date: &str) -> Vec<u8> {
        let version = concat!("update-engine ", env!("CARGO_PKG_VERSION"));
        let mut title = Roff::new();
        title.control(
            "TH",
            [
                &self.name.to_uppercase(),
                self.section,
                date,
                version,
                "update-engine",
            ],
        );
        let mut source = title.to_roff().into_bytes();
        source.extend_from_slice(&self.body);
        source.extend_from_slice(self.roff.to_roff().as_bytes());
        source
    }
}

/// A command line in gflags' dialect, as clap would describe it.
pub(crate) fn dialect(name: &'static str, about: &'static str, flags: &[Flag]) -> Command {
    let argument = |flag: &Flag| {
        let argument = Arg::new(flag.name).long(flag.name).help(flag.help);
        match flag.kind {
            FlagKind::Switch => argument.action(ArgAction::SetTrue),
            FlagKind::Number => argument.value_name("N"),
            FlagKind::Text => argument.value_name("TEXT"),
        }
    };
    Command::new(name)
        .about(about)
        .disable_help_flag(true)
        .args(flags.iter().map(argument))
}
