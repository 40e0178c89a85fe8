//! Records of the gate that needs no configuration. `tests/fixtures/records/gate` holds what the
//! first version that has them left in a slot that it had come back to; made as the others, by the
//! story of a lost extension.

use std::fs;
use std::path::Path;

use update_engine::health::baseline::{Baseline, GateOutcome, GateRecord, UnitOrigin};

use super::{contents, shape};
use crate::support::node::Node;

const DIRECTORY: &str = "tests/fixtures/records/gate";
const RECORDS: [&str; 2] = ["baseline", "regressions"];

fn kept(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(DIRECTORY).join(name)).unwrap()
}

/// What today's daemon has left on `node` has all that was kept, in its form.
pub(crate) fn is_like_earlier_versions(node: &Node) {
    for name in RECORDS {
        let today = node.read(&format!("/var/lib/update_engine/{name}"));
        if let Some(directory) = std::env::var_os("RECORDS") {
            let directory = Path::new(&directory).join("gate");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(name), &today).unwrap();
        }
        shape::json(name, contents(&kept(name)), contents(&today));
    }
}

#[test]
fn what_was_well_and_what_was_lost_is_read_from_kept_records() {
    let baseline: Baseline = serde_json::from_slice(contents(&kept("baseline"))).unwrap();
    assert_eq!(baseline.bound.version, "1.0.0");
    let units: Vec<_> = baseline
        .units
        .iter()
        .map(|unit| (unit.name.as_str(), unit.origin.clone(), unit.files.len()))
        .collect();
    assert_eq!(
        units,
        [
            ("app.service", UnitOrigin::Operator, 1),
            ("docker.service", UnitOrigin::Extension("docker".to_owned()), 0),
        ]
    );
    assert_eq!(
        (
            baseline.extensions[0].name.as_str(),
            baseline.extensions[0].is_images
        ),
        ("docker", false)
    );
    let found: GateRecord = serde_json::from_slice(contents(&kept("regressions"))).unwrap();
    assert_eq!(
        (found.version.as_str(), found.outcome),
        ("2.0.0", GateOutcome::Left)
    );
    assert_eq!((found.certain.len(), found.perhaps.len()), (2, 0));
}
