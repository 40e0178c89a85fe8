//! The rounds: everybody installs in turn, so that a machine whose speed drifts is unfair to
//! nobody.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::archives::{Archive, Archives};
use super::arguments::Arguments;
use super::figures::Figures;
use super::image::Images;
use super::node::{Node, Server};
use super::peers::{Contestant, Rauc, Swupdate, pipes};
use super::workplace::Workplace;
use super::{Outcome, meter, shell};

/// What a contestant reached.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    pub download: u64,
    pub promise: String,
    pub runs: Vec<Figures>,
}

impl Row {
    fn of(contestant: &dyn Contestant) -> Self {
        Self {
            name: contestant.name().to_owned(),
            download: contestant.download(),
            promise: contestant.promise().to_owned(),
            runs: Vec::new(),
        }
    }

    pub fn median(&self) -> Figures {
        Figures::median(&self.runs)
    }
}

/// Our daemon, with one payload.
struct Ours<'a> {
    name: &'static str,
    place: &'a Workplace,
    payload: Archive,
    image: PathBuf,
}

impl Contestant for Ours<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn download(&self) -> u64 {
        self.payload.bytes
    }

    fn promise(&self) -> &'static str {
        "verifies each operation before it is decoded, all signatures, and the slot from the medium; syncs; HTTP"
    }

    fn install(&mut self) -> Outcome<Figures> {
        let server = Server::start(self.place, &self.payload, None)?;
        let mut node = Node::install(self.place, &server)?;
        node.start()?;
        let figures = meter::daemon(node.process(), &node.files(), || node.check("NEED_REBOOT"))?;
        node.stop()?;
        node.expect_slot_b(&self.image)?;
        Ok(figures)
    }
}

pub fn run(
    place: &Workplace,
    images: &Images,
    archives: &Archives,
    arguments: &Arguments,
) -> Outcome<Vec<Row>> {
    prepare(&place.path("target.img"), &images.old)?;
    let mut contestants = line_up(place, images, archives, arguments)?;
    let mut rows: Vec<Row> = contestants
        .iter()
        .map(|contestant| Row::of(&**contestant))
        .collect();
    for round in 1..=arguments.rounds {
        println!("round {round} of {}", arguments.rounds);
        for (contestant, row) in contestants.iter_mut().zip(&mut rows) {
            // What others have left to be written is nobody's.
            shell::run("sync")?;
            meter::forget(&place.path("disk.img")).ok();
            let figures = contestant.install()?;
            tell(&row.name, &figures);
            row.runs.push(figures);
        }
    }
    Ok(rows)
}

/// Our own payloads of larger images, once each.
pub fn large(place: &Workplace, images: &Images, [v1, delta]: [Archive; 2]) -> Outcome<Vec<Row>> {
    let payloads = [
        ("update_engine, v1, large", v1),
        ("update_engine, delta, large", delta),
    ];
    let mut rows = Vec::new();
    for (name, payload) in payloads {
        let mut ours = Ours {
            name,
            place,
            payload,
            image: images.new.clone(),
        };
        let mut row = Row::of(&ours);
        let figures = ours.install()?;
        tell(name, &figures);
        row.runs.push(figures);
        rows.push(row);
    }
    Ok(rows)
}

fn tell(name: &str, figures: &Figures) {
    println!(
        "  {name:<28} {:7.2} s  {:7.2} s CPU  {:5} MiB",
        figures.wall,
        figures.cpu,
        figures.peak_kib >> 10
    );
}

/// The target: a file as long as the image, and none of it a hole.
fn prepare(target: &Path, old: &Path) -> Outcome {
    std::fs::copy(old, target)?;
    Ok(File::open(target)?.sync_all()?)
}

fn line_up<'a>(
    place: &'a Workplace,
    images: &Images,
    archives: &Archives,
    arguments: &Arguments,
) -> Outcome<Vec<Box<dyn Contestant + 'a>>> {
    let mut all: Vec<Box<dyn Contestant + 'a>> = Vec::new();
    for pipe in pipes(place, images, archives) {
        if arguments.wants(pipe.name()) {
            all.push(Box::new(pipe));
        }
    }
    if arguments.wants("RAUC") {
        all.push(Box::new(Rauc::start(place, &archives.rauc, &images.new)?));
    }
    if arguments.wants("SWUpdate") {
        all.push(Box::new(Swupdate::new(
            place,
            &archives.swupdate,
            &archives.v2,
            &images.new,
        )?));
    }
    let ours = [
        ("update_engine, v1", &archives.v1),
        ("update_engine, v2", &archives.v2),
        ("update_engine, delta", &archives.delta),
    ];
    for (name, payload) in ours {
        if arguments.wants(name) {
            all.push(Box::new(Ours {
                name,
                place,
                payload: payload.clone(),
                image: images.new.clone(),
            }));
        }
    }
    Ok(all)
}
