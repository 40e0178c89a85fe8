//! `update_payload`: makes, signs, shows, checks, applies and serves update payloads. For build
//! machines, tests and sites without a network; nodes don't need it.

mod arguments;
mod offline;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser as _;
use payload_format::{ImageKind, MajorVersion};
use tracing_subscriber::filter::LevelFilter;
use update_engine::journal::chain;
use update_engine::payload::{
    self, Building, CheckReport, DeltaSource, GenerateOptions, PayloadFile, SignatureStatus, Trust,
};
use update_engine::printable;
use update_engine::serve::{Audience, Catalog, Server};

use arguments::{Apply, Cli, Command, Generate, Inspect, Serve, Verify};

type Failure = Box<dyn std::error::Error>;

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Inspect(arguments) => inspect(&arguments),
        Command::Verify(arguments) => verify(&arguments),
        Command::Apply(arguments) => apply(arguments),
        Command::Generate(arguments) => generate(arguments),
        Command::Hash(arguments) => offline::hash(&arguments),
        Command::Attach(arguments) => offline::attach(&arguments),
        Command::Serve(arguments) => serve(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("update_payload: {}", printable(&chain(failure.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn inspect(arguments: &Inspect) -> Result<(), Failure> {
    let file = PayloadFile::open(&arguments.file)?;
    let inspection = payload::inspect(&file)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &inspection)?;
        writeln!(out)?;
    } else {
        write!(out, "{inspection}")?;
    }
    if let Some(path) = &arguments.map {
        let map = payload::map(&file, arguments.source.as_deref())?;
        std::fs::write(path, map.svg).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        // Beside the JSON form there is no room.
        if let Some(text) = map.text.filter(|_| !arguments.json) {
            write!(out, "\n{text}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn verify(arguments: &Verify) -> Result<(), Failure> {
    let trust = Trust::Keys(Trust::in_keys(&arguments.public_keys)?);
    let CheckReport { finished, deltas } = payload::check(&PayloadFile::open(&arguments.file)?, &trust)?;
    let (size, sha256) = (finished.payload_len, finished.payload_sha256);
    let file = arguments.file.display();
    for image in deltas {
        println!(
            "{file}: its {image} is a delta; to check the result, apply it to the old one: `update_payload apply`"
        );
    }
    println!("{file}: good; {size} bytes, SHA-256 {sha256}");
    Ok(())
}

fn apply(arguments: Apply) -> Result<(), Failure> {
    let trust = match (arguments.public_keys.as_slice(), arguments.allow_unsigned) {
        ([], true) => Trust::Anyone,
        (paths, true) => Trust::KeysOrUnsigned(Trust::in_keys(paths)?),
        (paths, false) => Trust::Keys(Trust::in_keys(paths)?),
    };
    let Apply {
        file,
        target,
        source,
        kernel,
        source_kernel,
        extra_partitions,
        source_extra_partitions,
        ..
    } = arguments;
    let old = |name| source_extra_partitions.iter().find(|(old, _)| *old == name);
    let mut images = vec![Building {
        kind: ImageKind::Slot,
        target,
        source,
    }];
    images.extend(kernel.map(|target| Building {
        kind: ImageKind::Kernel,
        target,
        source: source_kernel,
    }));
    images.extend(extra_partitions.into_iter().map(|(name, target)| Building {
        kind: ImageKind::ExtraPartition(name),
        target,
        source: old(name).map(|(_, path)| path.clone()),
    }));
    let (verdict, content) = payload::apply(&PayloadFile::open(&file)?, &images, &trust)?;
    for image in images {
        println!("{}: complete, its hash is right", image.target.display());
    }
    if let Some(content) = content {
        println!("{content}");
    }
    if verdict == SignatureStatus::Unchecked {
        println!("the payload's origin was not checked");
    }
    Ok(())
}

fn generate(arguments: Generate) -> Result<(), Failure> {
    let (version, compressions) = (arguments.version(), arguments.compressions());
    let patches = arguments.patch_kinds();
    let is_v2 = version == MajorVersion::V2;
    let Generate {
        new_image,
        new_kernel,
        extra_partitions,
        content,
        predecessors,
        old_image,
        old_kernel,
        old_extra_partitions,
        os_release,
        private_keys,
        out,
        ..
    } = arguments;
    let from = GenerateOptions {
        image: new_image,
        kernel: new_kernel,
        extra_partitions,
        old: old_image.map(|image| DeltaSource {
            image,
            kernel: old_kernel,
            extra_partitions: old_extra_partitions,
            patches,
        }),
        content,
        predecessors,
        version,
        compressions,
        os_release,
        private_keys,
    };
    let summary = payload::generate(&from, &out)?;
    println!(
        "{}: {} bytes, {} operations for an image of {} bytes, {} signature(s)",
        out.display(),
        summary.payload_size,
        summary.operations,
        summary.image_size,
        summary.signatures
    );
    if is_v2 && !summary.has_release {
        println!(
            "no lib/os-release was found in the image (generate reads ext2, ext3 and ext4), so nodes can't check what the \
             image is for before they write it; to have them do so, name the file: --os-release FILE"
        );
    }
    Ok(())
}

fn serve(arguments: Serve) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .with_target(false)
        .init();
    let mut catalog = Catalog::open(arguments.version, &arguments.payload)?;
    for (name, path) in arguments.packages {
        catalog = catalog.with_package(name, &path)?;
    }
    if arguments.always {
        catalog = catalog.for_audience(Audience::Everyone);
    }
    if let Some(rate) = arguments.limit_rate {
        catalog = catalog.with_pace(rate);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve_until_interrupted(arguments.listen, catalog))
}

async fn serve_until_interrupted(listen: SocketAddr, catalog: Catalog) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let version = catalog.version().to_owned();
    let server = Server::start(listen, Some(catalog)).await?;
    println!(
        "serving version {version}; nodes want SERVER={}",
        address_for_nodes(&server)
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    server.stop().await;
    Ok(())
}

/// URL of the server for nodes; if it listens on every address, with a placeholder for one that
/// nodes can reach.
fn address_for_nodes(server: &Server) -> String {
    let address = server.address();
    if address.ip().is_unspecified() {
        return server
            .url()
            .replacen(&address.ip().to_string(), "THIS-MACHINE", 1);
    }
    server.url()
}
