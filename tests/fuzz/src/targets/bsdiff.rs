//! Patches with any steps.

use std::sync::Arc;

use payload_format::{
    Applier, ApplyError, Event, Fault, ImageKind, Limits, MajorVersion, PatchError, ReadBlocks, Reader,
};

use super::draft::{BLOCK, BLOCKS, Draft, LEN, Operation};
use super::memory::Memory;
use super::patch::Steps;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "bsdiff",
    property: "A patch gives what a naive reader makes of its steps, or is refused; one that the naive reader \
               takes is refused only for too many steps; in pieces it gives the same.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let result_len = LEN - input.below(BLOCK);
    let is_bsdf2 = input.is_odd();
    let packings: [u8; 3] = std::array::from_fn(|_| input.byte() % 3);
    let packings = if is_bsdf2 { packings } else { [1; 3] };
    let spoilt = input.short();
    let piece = 1 + usize::from(input.byte());
    let (steps, claimed) = any_steps(&mut input, result_len);
    let mut patch = steps.patch(is_bsdf2, packings, claimed);
    if spoilt != 0 {
        let at = usize::from(spoilt >> 3) % patch.len();
        patch[at] ^= 1 << (spoilt & 7);
    }
    let site = Site::new(&patch, is_bsdf2, result_len);
    let whole = site.apply(|applier, op| applier.apply(op, &patch));
    let cut = site.apply(|applier, op| {
        let mut streamed = applier.stream(op)?;
        patch.chunks(piece).try_for_each(|piece| streamed.write(piece))?;
        streamed.finish()
    });
    if let (Ok(whole), Ok(cut)) = (&whole, &cut) {
        assert!(whole == cut, "another result in pieces of {piece}");
    }
    if spoilt != 0 {
        return;
    }
    let model = steps
        .naive_until(&site.old, result_len)
        .filter(|_| claimed == result_len);
    for made in [whole, cut] {
        match (made, &model) {
            (Ok(mut made), Some(model)) => {
                if bug.strikes(steps.triples.len() > 2 && steps.triples[1][0] > 16) {
                    made[20] ^= 1;
                }
                assert!(made[..result_len] == model[..], "another result");
                assert!(
                    made[result_len..].iter().all(|&byte| byte == 0),
                    "no zeros behind it"
                );
            }
            (Ok(_), None) => panic!("a wrong patch is taken"),
            (Err(error), Some(_)) => assert!(is_bound(&error), "a right patch is refused: {error:?}"),
            (Err(_), None) => {}
        }
    }
}

/// Steps, and the length that the header claims.
fn any_steps(input: &mut Input<'_>, result_len: usize) -> (Steps, usize) {
    let mut steps = Steps::default();
    let mut left = result_len;
    let is_exact = input.byte() < 200;
    let many = usize::from(input.byte() > 250) * 1100;
    for turn in 0..many + input.below(12) {
        let kind = input.byte();
        let count = |input: &mut Input<'_>, left: usize| {
            let count = if turn < many {
                0
            } else {
                usize::from(input.short()) % 2048
            };
            if is_exact { count.min(left) } else { count }
        };
        let add = count(input, left);
        left = left.saturating_sub(add);
        let insert = count(input, left);
        left = left.saturating_sub(insert);
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (mut triple, seek) = ([number(add), number(insert), 0], input.short());
        triple[2] = i64::from(seek.cast_signed());
        if kind > 250 {
            // Extremes of 63 bits.
            triple[usize::from(kind) % 3] = input.long().cast_signed() | 1 << 60;
        }
        steps.triples.push(triple);
        steps.diff.extend(input.pattern(add));
        steps.extra.extend(input.pattern(insert));
    }
    if is_exact {
        let number = i64::try_from(left).unwrap_or(i64::MAX);
        steps.triples.push([number, 0, 0]);
        steps.diff.extend(input.pattern(left));
    }
    let claimed = if input.byte() > 250 {
        result_len ^ usize::from(input.short())
    } else {
        result_len
    };
    (steps, claimed)
}

/// Refusals of patches that cost more than they yield.
fn is_bound(error: &ApplyError) -> bool {
    matches!(
        error.fault(),
        Some(Fault::Patch(
            PatchError::Steps { .. } | PatchError::Budget | PatchError::Idle
        ))
    )
}

/// A payload of one patch.
struct Site {
    manifest: Arc<payload_format::Manifest>,
    old: Vec<u8>,
}

impl Site {
    fn new(patch: &[u8], is_bsdf2: bool, result_len: usize) -> Self {
        let number = if is_bsdf2 { 10 } else { 5 };
        let destination = vec![(Some(5), BLOCKS - 5), (Some(0), 5)];
        let old: Vec<u8> = (0..LEN).map(|at| (at / 3 % 253).to_le_bytes()[0]).collect();
        let draft = Draft {
            version: MajorVersion::V2,
            operations: vec![Operation::patch(number, patch.to_vec(), destination, result_len)],
            new: old.clone(),
            old,
            signatures: [Vec::new(), Vec::new()],
        };
        let event = Reader::new(Limits::for_slot(LEN as u64)).read(&mut &draft.payload()[..]);
        let Ok(Some(Event::Metadata { manifest, .. })) = event else {
            panic!("no manifest: {event:?}");
        };
        Self {
            manifest,
            old: draft.old,
        }
    }

    /// The result, in the patch's order.
    fn apply(
        &self,
        apply: impl FnOnce(&Applier, payload_format::OpId) -> Result<(), ApplyError>,
    ) -> Result<Vec<u8>, ApplyError> {
        let target = Memory::new(vec![0xa5; LEN]);
        let old: Arc<dyn ReadBlocks> = Memory::new(self.old.clone());
        let applier = Applier::new(
            Arc::clone(&self.manifest),
            ImageKind::Slot,
            Some(old),
            target.clone(),
        )?;
        apply(&applier, payload_format::OpId::FIRST)?;
        let mut image = target.bytes();
        image.rotate_left(5 * BLOCK);
        Ok(image)
    }
}
