//! Parser of arguments into a [`FlagRequest`].

use std::ffi::OsString;

use super::standard::STANDARD;
use super::{CommandLine, Flag, FlagError, FlagErrors, FlagKind, FlagRequest};

/// Parser state.
pub(super) struct Parser {
    flags: &'static [Flag],
    line: CommandLine,
    errors: Vec<FlagError>,
}

impl Parser {
    pub(super) fn new(flags: &'static [Flag]) -> Self {
        Self {
            flags,
            line: CommandLine::default(),
            errors: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, mut arguments: impl Iterator<Item = OsString>) {
        while let Some(argument) = self.next_text(&mut arguments) {
            if argument == "--" {
                while let Some(rest) = self.next_text(&mut arguments) {
                    self.line.arguments.push(rest);
                }
                return;
            }
            match argument.strip_prefix("--").or(argument.strip_prefix('-')) {
                Some(flag) if !flag.is_empty() => {
                    if let Err(error) = self.read_flag(flag, &mut arguments) {
                        self.errors.push(error);
                    }
                }
                _ => self.line.arguments.push(argument),
            }
        }
    }

    /// The next argument that is text; others are errors.
    fn next_text(&mut self, arguments: &mut impl Iterator<Item = OsString>) -> Option<String> {
        for argument in arguments {
            match argument.into_string() {
                Ok(text) => return Some(text),
                Err(raw) => self.errors.push(FlagError::NotUtf8(raw)),
            }
        }
        None
    }

    fn read_flag(
        &mut self,
        given: &str,
        arguments: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), FlagError> {
        let (name, value) = match given.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (given, None),
        };
        let (flag, value) = match (self.find(name), value) {
            (Some(flag), Some(value)) => (flag, value),
            (Some(flag), None) if flag.kind == FlagKind::Switch => (flag, "true".to_owned()),
            (Some(flag), None) => {
                let Flag { name, help, .. } = *flag;
                let value = self.next_text(arguments);
                (flag, value.ok_or(FlagError::MissingValue { flag: name, help })?)
            }
            // Whatever stands after `=` in `-noname=…` is ignored there, and here.
            (None, _) => (self.find_negated(name)?, "false".to_owned()),
        };
        self.set(flag, value)
    }

    fn find(&self, given: &str) -> Option<&'static Flag> {
        let name = given.replace('-', "_");
        self.flags.iter().chain(STANDARD).find(|flag| flag.name == name)
    }

    fn find_negated(&self, given: &str) -> Result<&'static Flag, FlagError> {
        let flag = given
            .strip_prefix("no")
            .and_then(|name| self.find(name))
            .ok_or_else(|| FlagError::Unknown(given.to_owned()))?;
        match flag.kind {
            FlagKind::Switch => Ok(flag),
            kind => Err(FlagError::NotASwitch {
                given: given.to_owned(),
                kind,
            }),
        }
    }

    fn set(&mut self, flag: &'static Flag, value: String) -> Result<(), FlagError> {
        let checked = match flag.kind {
            FlagKind::Switch => switch_value(&value).map(|on| on.to_string()),
            FlagKind::Number => value.parse::<i32>().ok().map(|number| number.to_string()),
            FlagKind::Text => Some(value.clone()),
        };
        let value = checked.ok_or(FlagError::IllegalValue {
            flag: flag.name,
            kind: flag.kind,
            value,
        })?;
        self.line.values.insert(flag.name, value);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<FlagRequest, FlagErrors> {
        let Self { line, mut errors, .. } = self;
        let asks = |flag: &Flag| match flag.kind {
            FlagKind::Switch => line.is_on(flag.name),
            _ => line.text(flag.name).is_some(),
        };
        if STANDARD
            .iter()
            .any(|flag| flag.name.starts_with("help") && asks(flag))
        {
            return Ok(FlagRequest::Help);
        }
        if line.is_on("version") {
            return Ok(FlagRequest::Version);
        }
        let may_be_undefined: Vec<&str> = line.text("undefok").unwrap_or("").split(',').collect();
        errors.retain(
            |error| !matches!(error, FlagError::Unknown(name) if may_be_undefined.contains(&name.as_str())),
        );
        if errors.is_empty() {
            Ok(FlagRequest::Run(line))
        } else {
            Err(FlagErrors(errors))
        }
    }
}

fn switch_value(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "n" | "no" => Some(false),
        _ => None,
    }
}
