//! The table of `docs/staging.md`, cell by cell.

mod node;

use node::{Node, Sabotage, slot};

use super::*;
use crate::config::Activation;
use crate::engine::{NextBoot, StagedReadiness};
use crate::policy::{ActivatedBy, StagedFate};

const TABLE: &str = include_str!("../../../../docs/staging.md");

fn cells(line: &str) -> Vec<&str> {
    let line = line.trim().trim_matches('|');
    line.split('|').map(str::trim).collect()
}

/// Plays every cell of the documented table, with both ways of activation unless the row names one;
/// gives what is not as documented, and the number of cells.
fn play(sabotage: Option<Sabotage>) -> (Vec<String>, usize) {
    let (_, table) = TABLE.split_once("<!-- cells").unwrap();
    let (table, _) = table.split_once("<!-- end of cells -->").unwrap();
    let mut lines = table.lines().filter(|line| line.starts_with('|'));
    let columns = cells(lines.next().unwrap());
    lines.next().unwrap();
    let mut played = 0;
    let mut flaws = Vec::new();
    for line in lines {
        let cells = cells(line);
        assert_eq!(cells.len(), columns.len(), "{line}");
        let row = cells[0];
        for (column, expected) in columns.iter().zip(&cells).skip(1) {
            for activation in [Activation::Reboot, Activation::Order] {
                let is_other = |name: &str, other| row.ends_with(name) && activation == other;
                if !is_other("`order`", Activation::Reboot) && !is_other("`reboot`", Activation::Order) {
                    flaws.extend(flaw(row, column, expected, (activation, sabotage)));
                }
            }
            played += 1;
        }
    }
    (flaws, played)
}

/// What is wrong after the event `row` in the state `column`.
fn flaw(
    row: &str,
    column: &str,
    expected: &str,
    (activation, sabotage): (Activation, Option<Sabotage>),
) -> Option<String> {
    let mut node = Node::of(column, activation);
    assert_eq!(node.column(), column);
    node.sabotage = sabotage;
    node.plays(row);
    let boots = node.boots_next();
    let what = if node.column() != expected {
        format!("{} instead of {expected}", node.column())
    } else if boots.is_none() {
        "nothing boots".into()
    } else if node.asks_for_reboot && boots == Some(node.running) {
        "asks for a reboot into what runs".into()
    } else {
        return None;
    };
    Some(format!("{column}, {row} ({activation:?}): {what}"))
}

#[test]
fn every_cell_of_the_documented_table_is_what_happens() {
    let (flaws, played) = play(None);
    assert!(flaws.is_empty(), "{flaws:#?}");
    assert_eq!(played, 24 * 8);
}

#[test]
fn each_sabotage_breaks_the_cells_that_are_there_for_it() {
    for (sabotage, broken) in [
        (
            Sabotage::FromMemory,
            &[
                "staged, extension added, then an order (Order): waiting instead of staged",
                "staged, kernel removed, then an order (Order): waiting instead of staged",
                "staged, reset of the status, then an orderly reboot (Reboot): on trial instead of empty",
                "unread, orderly reboot, `reboot` (Reboot): on trial instead of unread",
            ][..],
        ),
        (
            Sabotage::AtAnyShutdown,
            &[
                "staged, power-off (Reboot): on trial instead of unread",
                "staged, kexec (Reboot): none instead of unread",
            ],
        ),
        (
            Sabotage::AsksOnceStaged,
            &["unread, the slot is read back (Reboot): asks for a reboot into what runs"],
        ),
    ] {
        let (flaws, _) = play(Some(sabotage));
        for broken in broken {
            assert!(
                flaws.iter().any(|flaw| flaw == broken),
                "{sabotage:?}: {broken} is not among {flaws:#?}"
            );
        }
    }
}

#[test]
fn what_an_orderly_reboot_or_an_order_says_is_asked_of_configuration_each_time() {
    for (activation, by, may) in [
        (Activation::Reboot, ActivatedBy::Reboot, true),
        (Activation::Order, ActivatedBy::Reboot, false),
        (Activation::AtOnce, ActivatedBy::Reboot, false),
        (Activation::Reboot, ActivatedBy::Order, true),
        (Activation::Order, ActivatedBy::Order, true),
        (Activation::AtOnce, ActivatedBy::Order, true),
    ] {
        let mut node = Node::of("staged", activation);
        assert_eq!(node.activate(by).is_ok(), may, "{activation:?} {by:?}");
        assert_eq!(node.boots_next() == Some(1), may);
    }
}

#[test]
fn nothing_is_activated_while_the_running_slot_is_being_marked() {
    let staged = State {
        phase: Phase::Staged(Activation::Order),
        running: RunningSlotState::Marking,
        ..State::staged("2.0.0".into())
    };
    step(&staged, Event::ActivateRequested).unwrap_err();
    let at_once = StagedReadiness {
        activation: Activation::AtOnce,
        obstacle: None,
    };
    let (waits, effects) = step(&staged, Event::Confirmed(Ok(at_once))).unwrap();
    assert!(!effects.contains(&Effect::Activate), "{effects:?}");
    let (_, effects) = step(&waits, Event::Marked(Ok(()))).unwrap();
    assert!(effects.contains(&Effect::Confirm), "{effects:?}");
}

#[test]
fn a_record_without_its_slot_is_void() {
    let mut node = Node::of("staged", Activation::Order);
    for (b, fate) in [
        (slot(3, 0, false), StagedFate::Tried),
        (slot(1, 1, false), StagedFate::Void),
        (slot(1, 0, true), StagedFate::Void),
        (slot(0, 0, true), StagedFate::Void),
    ] {
        node.slots[1] = b;
        assert_eq!(node.fate(), Some(fate), "{b}");
        node.decide(ActivatedBy::Order).unwrap_err();
    }
    node.slots[1] = slot(3, 1, false);
    assert_eq!(node.fate(), Some(StagedFate::Activated));
    node.running = 1;
    assert_eq!(node.fate(), Some(StagedFate::Runs));
    assert_eq!(State::reboot_pending().next_boot, NextBoot::Update);
}
