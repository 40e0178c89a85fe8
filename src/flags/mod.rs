//! Command lines in the dialect of gflags, which units, scripts and documents use for the daemon
//! and its client. Pure.
//!
//! One dash or two; `-` equals `_` within a name; a switch is `-name`, `-noname` or
//! `-name=true|t|yes|y|1|false|f|no|n|0`; other flags take their value after `=` or as the next
//! argument; the last occurrence wins; flags may follow other arguments; `--` ends them.
//! `-undefok=a,b` names flags that need not exist. The flags of glog are accepted too, since
//! command lines carry them. Left out, because no caller of an update engine is known to use them:
//! `-flagfile`, `-fromenv`, `-tryfromenv` and tab completion.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};

mod parser;
mod standard;

use parser::Parser;

/// Definition of a flag.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Name, with underscores, without dashes.
    pub name: &'static str,
    /// Type of its value.
    pub kind: FlagKind,
    /// One sentence for `--help`.
    pub help: &'static str,
}

/// Type of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// On or off.
    Switch,
    /// A signed 32-bit number.
    Number,
    /// Any text.
    Text,
}

impl FlagKind {
    /// Name of the type in gflags' messages.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "bool",
            Self::Number => "int32",
            Self::Text => "string",
        }
    }
}

/// Request of a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum FlagRequest {
    /// To run.
    Run(CommandLine),
    /// To print [`help`]; gflags' exit status is 1.
    Help,
    /// To print the program's name; the exit status is 0.
    Version,
}

/// The flags and arguments given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    values: BTreeMap<&'static str, String>,
    /// The arguments that are no flags, in order.
    pub arguments: Vec<String>,
}

impl CommandLine {
    /// Whether the switch `name` is on; off unless given.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The value of the flag `name`, if given.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of the number `name`, if given.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i32> {
        self.text(name)?.parse().ok()
    }
}

/// Error of one flag, in gflags' words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// Unknown flag.
    #[error("ERROR: unknown command line flag '{0}'")]
    Unknown(String),
    /// A value that the flag's type does not have.
    #[error("ERROR: illegal value '{value}' specified for {} flag '{flag}'", kind.as_str())]
    IllegalValue {
        /// Name of the flag.
        flag: &'static str,
        /// Type of its value.
        kind: FlagKind,
        /// The value given.
        value: String,
    },
    /// `-noname` of a flag that is no switch.
    #[error("ERROR: boolean value ({given}) specified for {} command line flag", kind.as_str())]
    NotASwitch {
        /// The flag as given.
        given: String,
        /// Type of its value.
        kind: FlagKind,
    },
    /// The line ends before the flag's value.
    #[error("ERROR: flag '{flag}' is missing its argument; flag description: {help}")]
    MissingValue {
        /// Name of the flag.
        flag: &'static str,
        /// Description of the flag.
        help: &'static str,
    },
    /// An argument that is no text.
    #[error("ERROR: the argument {0:?} is not valid UTF-8")]
    NotUtf8(OsString),
}

/// All errors of a command line, one line each. The exit status is 1.
#[derive(Debug, PartialEq, Eq)]
pub struct FlagErrors(pub Vec<FlagError>);

impl fmt::Display for FlagErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FlagErrors {}

/// Reads `arguments`, without the program's name, given the program's own `flags`.
///
/// # Errors
/// Everything that is wrong, at once. A request for help wins over errors, as in gflags.
pub fn parse(
    flags: &'static [Flag],
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<FlagRequest, FlagErrors> {
    let mut parser = Parser::new(flags);
    parser.read(arguments.into_iter());
    parser.finish()
}

/// The text of `--help`.
#[must_use]
pub fn help(program: &str, about: &str, flags: &[Flag]) -> String {
    let mut text = format!("{program}: {about}\n\n  Flags:\n");
    for Flag { name, kind, help } in flags {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    -{name} ({help}) type: {}", kind.as_str());
    }
    text
}

#[cfg(test)]
mod tests;
