//! The comparison of extensions: those that were merged, and are not.

use std::collections::BTreeSet;

use super::super::inventory::{ExtensionFacts, OfferState, UnitOrigin};
use super::super::record::{RecordedExtension, RecordedUnit};
use super::super::regression::{Regression, RegressionSubject, Regressions};
use super::{Comparison, RegressionFinding};

/// The extensions of one kind, before and now.
#[derive(Clone, Copy)]
struct ExtensionKind<'a> {
    recorded: &'a [RecordedExtension],
    unmerged: &'a [RecordedExtension],
    facts: &'a ExtensionFacts,
    /// The unit that merges them.
    merger: &'static str,
}

impl Comparison<'_> {
    /// Adds what is wrong with the extensions of one kind; gives the names of those that are lost
    /// for certain.
    pub(super) fn extensions<'a>(
        &'a self,
        subject: RegressionSubject,
        found: &mut Regressions,
    ) -> BTreeSet<&'a str> {
        let (before, now) = (self.before, self.now);
        let kind = match subject {
            RegressionSubject::Confext => ExtensionKind {
                recorded: &before.confexts,
                unmerged: &before.unmerged_confexts,
                facts: &now.confexts,
                merger: "systemd-confext.service",
            },
            _ => ExtensionKind {
                recorded: &before.extensions,
                unmerged: &before.unmerged_extensions,
                facts: &now.extensions,
                merger: "systemd-sysext.service",
            },
        };
        let ExtensionKind { recorded, facts, .. } = kind;
        let mut lost = BTreeSet::new();
        for extension in recorded
            .iter()
            .filter(|extension| !facts.merged.contains(&extension.name))
        {
            let regression = |now: String| Regression {
                subject,
                name: extension.name.clone(),
                before: "merged".to_owned(),
                now,
            };
            match self.extension(extension, kind) {
                Some(RegressionFinding::Certain(state)) => {
                    lost.insert(extension.name.as_str());
                    found.certain.push(regression(state));
                }
                Some(RegressionFinding::Perhaps(state)) => found.perhaps.push(regression(state)),
                None => {}
            }
        }
        lost
    }

    /// Whether no extension has gone from `/usr`, or become another one, but those in `lost`: what is
    /// missing there may have come with one that the operator has taken away.
    pub(super) fn is_usr_told_by(&self, lost: &BTreeSet<&str>) -> bool {
        let facts = &self.now.extensions;
        let mut recorded = self.before.extensions.iter();
        recorded.all(|extension| {
            let name = extension.name.as_str();
            let offer = facts.offered.get(name);
            let is_left_out_by_image =
                extension.is_images && offer.is_none_or(|offer| offer.state != OfferState::Masked);
            let is_as_before = facts.merged.contains(name) && !is_changed(extension, facts);
            lost.contains(name) || is_left_out_by_image || is_as_before
        })
    }

    /// What is wrong with an extension that isn't merged any more.
    fn extension(&self, extension: &RecordedExtension, kind: ExtensionKind<'_>) -> Option<RegressionFinding> {
        let ExtensionKind {
            recorded,
            unmerged,
            facts,
            merger,
        } = kind;
        let Some(offer) = facts.offered.get(&extension.name) else {
            let state = "not offered any more".to_owned();
            return extension.is_images.then_some(RegressionFinding::Perhaps(state));
        };
        let path = &offer.path;
        match offer.state {
            OfferState::Masked => return None,
            OfferState::Dangling => {
                let state = format!("not merged: {path} is a link that leads nowhere");
                return Some(RegressionFinding::Perhaps(state));
            }
            OfferState::There => {}
        }
        let state = format!("not merged, although {path} is there");
        let service = self.now.units.get(merger);
        let was_enabled = self.before.units.iter().find(|unit| unit.name == merger);
        if service.is_some_and(|service| was_enabled.is_some_and(|unit| unit.is_switched_off(service))) {
            return None;
        }
        let is_under_way = service.is_some_and(|service| service.has_job || service.active == "activating");
        if is_under_way {
            return Some(RegressionFinding::Perhaps(format!("not merged yet by {merger}")));
        }
        if is_changed(extension, facts) {
            return Some(RegressionFinding::Perhaps(format!(
                "{state}; it has changed since"
            )));
        }
        if let Some(other) = disturbing(facts, recorded, unmerged) {
            return Some(RegressionFinding::Perhaps(format!(
                "{state}; {other} is new or has changed, and may keep systemd from merging any"
            )));
        }
        match self.replacement(extension, facts, recorded) {
            Some(other) => Some(RegressionFinding::Perhaps(format!(
                "{state}; {other} has taken its place"
            ))),
            None => Some(RegressionFinding::Certain(state)),
        }
    }

    /// What has taken the place of an extension: another one of the same name but for its version,
    /// or whatever brings all of its units now.
    fn replacement(
        &self,
        extension: &RecordedExtension,
        facts: &ExtensionFacts,
        recorded: &[RecordedExtension],
    ) -> Option<String> {
        let is_new = |name: &&String| !recorded.iter().any(|known| known.name == **name);
        let is_like = |name: &&String| stem(name) == stem(&extension.name);
        if let Some(other) = facts.merged.iter().filter(is_new).find(is_like) {
            return Some(format!("extension {other}"));
        }
        let is_from_it = |unit: &&RecordedUnit| matches!(&unit.origin, UnitOrigin::Extension(name) | UnitOrigin::Confext(name) if *name == extension.name);
        let mut units = self.before.units.iter().filter(is_from_it).peekable();
        units.peek()?;
        let is_up = |unit: &RecordedUnit| {
            let found = self.now.units.get(&unit.name);
            found.is_some_and(|found| found.load == "loaded" && found.is_active())
        };
        units.all(is_up).then(|| "what runs its units now".to_owned())
    }
}

/// An extension that is offered and not merged, and was not so before: systemd gives a merge up as a
/// whole if it can't read one of them.
fn disturbing<'a>(
    facts: &'a ExtensionFacts,
    recorded: &[RecordedExtension],
    unmerged: &[RecordedExtension],
) -> Option<&'a str> {
    let is_as_before = |name: &str| {
        let mut known = recorded.iter().chain(unmerged);
        known.any(|known| known.name == *name && !is_changed(known, facts))
    };
    let mut offered = facts.offered.iter();
    let found = offered.find(|(name, offer)| {
        offer.state == OfferState::There && !facts.merged.contains(*name) && !is_as_before(name)
    });
    found.map(|(name, _)| name.as_str())
}

/// Whether the file of an extension is another one than when it was recorded.
pub(super) fn is_changed(extension: &RecordedExtension, facts: &ExtensionFacts) -> bool {
    let now = facts.offered.get(&extension.name).and_then(|offer| offer.stamp);
    let stamps = extension.stamp.zip(now);
    stamps.is_some_and(|(before, now)| before != now)
}

/// The name of an extension without a version at its end: `docker` of `docker-27.1`.
pub(super) fn stem(name: &str) -> &str {
    let begins_version = |(at, sign): &(usize, char)| {
        let rest = &name[at + sign.len_utf8()..];
        let rest = rest.strip_prefix('v').unwrap_or(rest);
        matches!(sign, '-' | '_' | '.') && rest.starts_with(|first: char| first.is_ascii_digit())
    };
    let end = name.char_indices().find(begins_version);
    end.map_or(name, |(at, _)| &name[..at])
}
