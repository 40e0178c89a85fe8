//! One target, named by `FUZZ_TARGET`, under libFuzzer; with `FUZZ_PLANTED` with its planted bug.
//! With `FUZZ_LIST` it names all of them instead.
#![no_main]

use std::sync::OnceLock;

use fuzz::{Bug, TARGETS, Target};

static CHOSEN: OnceLock<(&Target, Bug)> = OnceLock::new();

fn choose() -> (&'static Target, Bug) {
    if std::env::var_os("FUZZ_LIST").is_some() {
        for target in TARGETS {
            println!("{}\t{}", target.name, target.property);
        }
        std::process::exit(0);
    }
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        eprintln!("FUZZ_TARGET={name} is no target");
        std::process::exit(64);
    };
    let planted = std::env::var_os("FUZZ_PLANTED").is_some();
    (target, if planted { Bug::Planted } else { Bug::None })
}

libfuzzer_sys::fuzz_target!(
    init: {
        CHOSEN.get_or_init(choose);
    },
    |data: &[u8]| {
        let (target, bug) = CHOSEN.get_or_init(choose);
        (target.check)(data, *bug);
    }
);
