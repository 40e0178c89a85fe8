//! The health gate's decision, held against histories of real machines, recorded and mutated.
//!
//! `tests/fixtures/systemd-histories` has them; whoever wrote the mutations did not know the rule.
//! Rates of false alarm and of catching are printed, for rollbacks and for reports.

mod decision;
mod good;
mod mutation;
mod outages;
mod recording;

use std::collections::BTreeMap;

use test_support::random::Random;

use self::decision::{MERGERS, Verdict, judge};
use self::good::{HARMLESS, WORSE};
use self::mutation::{Mutation, Pair, one_of};
use self::outages::OUTAGES;
use self::recording::{Snapshot, machine};

/// Histories, before and after, of good updates.
const UPDATED: [(&str, &str); 2] = [("debian-12", "debian-12-good"), ("debian-13", "debian-13-good")];
/// Those of an update that lost an extension, and the program of a unit with it.
const LOST: [(&str, &str); 2] = [
    ("debian-12", "debian-12-to-13-lost"),
    ("debian-13", "debian-13-lost"),
];
/// Good updates with up to six mutations of any kind, and with harmless ones alone.
const GOOD: u64 = 1000;
const HARMLESSLY: u64 = 300;
/// How often each outage is put into a good update.
const EACH: usize = 12;

/// Pairs of what was well at some moment at which the node had been up for five minutes, and each
/// moment of a later boot at which an update could be judged.
fn pairs(before: &[Snapshot], after: &[Snapshot]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for before in before.iter().filter(|snapshot| snapshot.uptime >= 300) {
        for after in after {
            let judged = ["at-10s", "at-45s", "settled"]
                .iter()
                .any(|end| after.name.ends_with(end));
            if judged {
                pairs.push(Pair {
                    before: before.clone(),
                    after: after.clone(),
                });
            }
        }
    }
    assert!(!pairs.is_empty());
    pairs
}

fn good_pairs() -> Vec<Pair> {
    UPDATED
        .iter()
        .flat_map(|(before, after)| pairs(&machine(before), &machine(after)))
        .collect()
}

/// Applies up to `count` of `mutations`, at least one, and names them.
fn mutate(
    pair: &mut Pair,
    mutations: &[&'static Mutation],
    count: u64,
    random: &mut Random,
) -> Vec<&'static str> {
    let mut words = Vec::new();
    let wanted = 1 + random.next() % count;
    for _ in 0..wanted {
        let mutation = one_of(random, mutations).unwrap();
        if (mutation.apply)(pair, random) {
            words.push(mutation.words);
        }
    }
    words
}

#[test]
fn no_good_update_is_rolled_back() {
    let originals = good_pairs();
    let verdicts: Vec<Verdict> = originals.iter().map(judge).collect();
    for (pair, verdict) in originals.iter().zip(&verdicts) {
        assert_eq!(verdict.certain, [""; 0], "{}, unmutated", names(pair));
    }
    let reported = verdicts
        .iter()
        .filter(|verdict| !verdict.worse.is_empty())
        .count();
    println!(
        "recorded updates and restarts, all good: {}; rolled back 0; reported {reported}",
        originals.len()
    );

    let harmless: Vec<&Mutation> = HARMLESS.iter().collect();
    let any: Vec<&Mutation> = HARMLESS.iter().chain(&WORSE).collect();
    for (kind, count, mutations) in [("harmless", HARMLESSLY, harmless), ("any", GOOD, any)] {
        let (mut reports, mut rollbacks) = (Vec::new(), Vec::new());
        for seed in 0..count {
            let mut random = Random::new(seed);
            let numbers: Vec<usize> = (0..originals.len()).collect();
            let number = *one_of(&mut random, &numbers).unwrap();
            let mut pair = originals[number].clone();
            let words = mutate(&mut pair, &mutations, 6, &mut random);
            let verdict = judge(&pair);
            // What the recorded update alone is reported for isn't the mutations' doing.
            let known = &verdicts[number].worse;
            let new: Vec<&String> = verdict
                .worse
                .iter()
                .filter(|told| !known.contains(told))
                .collect();
            if !new.is_empty() {
                reports.push(format!("seed {seed}: {}: {words:?}: {new:?}", names(&pair)));
            }
            if !verdict.certain.is_empty() {
                rollbacks.push(format!(
                    "seed {seed}: {}: {words:?}: {:?}",
                    names(&pair),
                    verdict.certain
                ));
            }
        }
        println!(
            "good updates with {kind} mutations: {count}; rolled back {} ({:.2} %); reported for the \
             mutations {} ({:.1} %)",
            rollbacks.len(),
            percent(rollbacks.len(), count),
            reports.len(),
            percent(reports.len(), count)
        );
        for report in reports.iter().take(3) {
            println!("    such as {report}");
        }
        assert!(rollbacks.is_empty(), "{}", rollbacks.join("\n"));
        // What the operator removed beneath a link of his own is told.
        assert!(kind == "any" || reports.len() * 10 < HARMLESSLY.try_into().unwrap());
    }
}

#[test]
fn each_known_outage_is_certain() {
    for (before, after) in LOST {
        for pair in pairs(&machine(before), &machine(after)) {
            let verdict = judge(&pair);
            assert!(
                !verdict.certain.is_empty(),
                "{}: {:?}",
                names(&pair),
                verdict.worse
            );
        }
    }
    // Beside an extension that the operator has taken away, a program that is missing may have been
    // that one's: it is reported, and the slot kept.
    let is_told_apart =
        |mutation: &&Mutation| !mutation.words.starts_with("the operator removed an extension");
    let all: Vec<&Mutation> = HARMLESS.iter().chain(&WORSE).filter(is_told_apart).collect();
    let rates = rates(&OUTAGES, &all, |before, after| {
        after.certain.len() > before.certain.len()
    });
    assert_eq!(print("outages rolled back", &rates), 0);
}

#[test]
fn what_is_worse_perhaps_is_reported() {
    let rates = rates(&WORSE, &[], |before, after| {
        after.worse.len() > before.worse.len()
    });
    // The rest is told by other means, or waited for: a slow start, a generator's own decision.
    let tried: usize = rates.values().map(|rate| rate.0).sum();
    assert!(print("worse, and reported", &rates) * 4 < tried);
}

/// Of each of `mutations`: how often it could be put into a good pair, which of those `caught` holds
/// for, and a pair for which it doesn't.
type Rates = BTreeMap<&'static str, (usize, usize, String)>;

fn rates(
    mutations: &'static [Mutation],
    noise: &[&'static Mutation],
    caught: fn(&Verdict, &Verdict) -> bool,
) -> Rates {
    let originals = good_pairs();
    let mut rates = Rates::new();
    for (number, mutation) in (0u64..).zip(mutations) {
        let rate = rates.entry(mutation.words).or_default();
        for seed in 0..2000 {
            if rate.0 == EACH {
                break;
            }
            let mut random = Random::new(number << 32 | seed);
            let original = one_of(&mut random, &originals).unwrap();
            let mut pair = original.clone();
            let mut words = Vec::new();
            if !noise.is_empty() && random.chance(6) {
                words = mutate(&mut pair, noise, 3, &mut random);
            }
            // What merges extensions was masked, or is still at work: that they are gone is no outage.
            let state = |pair: &Pair, name: &str| pair.after.units.get(name).cloned();
            if MERGERS
                .iter()
                .any(|name| state(&pair, name) != state(original, name))
            {
                continue;
            }
            let before = judge(&pair);
            if !(mutation.apply)(&mut pair, &mut random) {
                continue;
            }
            let after = judge(&pair);
            rate.0 += 1;
            if caught(&before, &after) {
                rate.1 += 1;
            } else {
                let told = after.certain.iter().chain(&after.worse);
                let known: Vec<&String> = before.certain.iter().chain(&before.worse).collect();
                let new: Vec<&String> = told.filter(|told| !known.contains(told)).collect();
                rate.2 = format!("seed {seed}: {}: {words:?}: {new:?}", names(&pair));
            }
        }
        assert!(rate.0 > 0, "no pair has: {}", mutation.words);
    }
    rates
}

/// Prints the rates, and how many were missed.
fn print(title: &str, rates: &Rates) -> usize {
    let (tried, caught) = rates
        .values()
        .fold((0, 0), |(tried, caught), rate| (tried + rate.0, caught + rate.1));
    println!("{title}: {caught} of {tried}");
    for (words, (tried, caught, missed)) in rates {
        println!("  {caught:>3} of {tried:>3}  {words}");
        if caught < tried {
            println!("              such as {missed}");
        }
    }
    tried - caught
}

fn names(pair: &Pair) -> String {
    format!("{} -> {}", pair.before.name, pair.after.name)
}

#[allow(clippy::cast_precision_loss, reason = "small numbers, for people")]
fn percent(part: usize, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}
