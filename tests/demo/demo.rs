//! A node that updates itself, shown happening on this machine: the real daemon and the real
//! client, a real GPT disk (an image in a temporary directory), signed payloads, an Omaha server, a
//! private bus.
//!
//! What is simulated is the firmware only: [`loader`] picks the slot by the rule that boot loaders
//! use and spends its try on the disk. Ends with an error unless everything that is told truly
//! happened.
#![allow(unreachable_pub, reason = "a program")]

mod bus;
mod loader;
mod node;
mod payloads;
mod programs;
mod proof;
mod screen;

use std::error::Error;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::ExitCode;

use slots::Priority;
use update_engine::disk::SlotName;
use update_engine::serve::{Catalog, Server};

use node::Node;
use payloads::{Payload, Payloads};
use screen::{say, title};

/// Slow enough to watch.
const BYTES_PER_SECOND: NonZeroU64 = NonZeroU64::new(12 << 20).unwrap();

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let told = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(tell()));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Outcome {
    let directory = tempfile::tempdir()?;
    title("A node with two slots, and an update server");
    let payloads = Payloads::make(directory.path())?;
    let server = Server::start(([127, 0, 0, 1], 0).into(), None).await?;
    let mut node = Node::install(directory.path(), &payloads.factory, &server.url())?;
    node.print_slots()?;

    update(&mut node, &server, &payloads.good)?;
    refuse(&mut node, &server, &payloads)?;
    fall_back(&mut node, &server, &payloads.bad)?;
    node.halt()?;
    server.stop().await;
    say("All of this happened: slots, hashes and boot attributes were read back from the disk image.");
    Ok(())
}

/// The main job: offered, downloaded, verified, booted once, marked good.
fn update(node: &mut Node, server: &Server, good: &Payload) -> Outcome {
    title(&format!("{} is offered: download, verify, switch", good.version));
    node.boot(SlotName::A)?;
    offer(server, good)?;
    node.check_for_update()?;
    node.await_reboot_needed(good)?;
    node.print_slots()?;
    node.expect_slot_holds(SlotName::B, good)?;
    node.expect_kernel(SlotName::B, good)?;

    title("Reboot: the loader spends the one try, then the daemon marks the slot good");
    node.reboot(SlotName::B)?;
    server.replace(None);
    node.check_for_update()?;
    node.await_idle()?;
    node.print_slots()?;
    node.expect_good(SlotName::B)
}

/// A payload changed on its way must change nothing that boots.
fn refuse(node: &mut Node, server: &Server, payloads: &Payloads) -> Outcome {
    title(&format!(
        "{} was tampered with: refused",
        payloads.tampered.version
    ));
    offer(server, &payloads.tampered)?;
    node.check_for_update()?;
    node.await_idle()?;
    say(&format!("refused {}", node.last_failure()?));
    node.print_slots()?;
    node.expect_priority(SlotName::A, Priority::NEVER)?;
    node.expect_good(SlotName::B)
}

/// An update that installs well and never comes up.
fn fall_back(node: &mut Node, server: &Server, bad: &Payload) -> Outcome {
    title(&format!("{} installs, but never comes up", bad.version));
    offer(server, bad)?;
    node.check_for_update()?;
    node.await_reboot_needed(bad)?;
    node.expect_slot_holds(SlotName::A, bad)?;
    node.reboot_into_a_hang(SlotName::A)?;
    node.reboot(SlotName::B)?;
    node.print_slots()?;
    node.expect_good(SlotName::B)?;
    say("the node is back on the version that works");
    Ok(())
}

fn offer(server: &Server, payload: &Payload) -> Outcome {
    server.replace(Some(
        Catalog::open(payload.version, &payload.path)?.with_pace(BYTES_PER_SECOND),
    ));
    Ok(())
}

/// A file of this crate.
fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}
