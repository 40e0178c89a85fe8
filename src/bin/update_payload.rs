//! `update_payload`: makes, shows, checks, applies and serves update payloads. For build machines, tests
//! and sites without a network; nodes don't need it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use payload_format::ImageKind;
use tracing_subscriber::filter::LevelFilter;
use update_engine::payload::{self, Building, Ingredients, PayloadFile, Trust, Verdict};
use update_engine::serve::{Audience, Catalog, PackageName, Server};

/// Makes, shows, checks, applies and serves update payloads.
#[derive(Parser)]
#[command(name = "update_payload", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(Inspect),
    Verify(Verify),
    Apply(Apply),
    Generate(Generate),
    Serve(Serve),
}

/// Shows what a payload says of itself, unverified
#[derive(Args)]
struct Inspect {
    /// The payload
    file: PathBuf,
    /// As JSON, with every operation
    #[arg(long)]
    json: bool,
}

/// Checks that a payload is complete, unchanged and signed by a trusted key
#[derive(Args)]
struct Verify {
    /// The payload
    file: PathBuf,
    /// Trusted RSA public key; one of several must have signed
    #[arg(long = "public-key", value_name = "PEM", required = true, num_args = 1..)]
    public_keys: Vec<PathBuf>,
}

/// Builds the image of a payload, verified first
#[derive(Args)]
struct Apply {
    /// The payload
    file: PathBuf,
    /// File or block device that becomes the new image
    #[arg(long, value_name = "IMG")]
    target: PathBuf,
    /// The old image, which deltas are built from
    #[arg(long, value_name = "IMG")]
    source: Option<PathBuf>,
    /// File that becomes the new kernel
    #[arg(long, value_name = "OUT")]
    kernel: Option<PathBuf>,
    /// The old kernel, likewise
    #[arg(long, value_name = "IN")]
    source_kernel: Option<PathBuf>,
    /// Trusted RSA public key; one of several must have signed
    #[arg(long = "public-key", value_name = "PEM", num_args = 1.., required_unless_present = "allow_unsigned")]
    public_keys: Vec<PathBuf>,
    /// Takes a payload without signature, and without a public key any payload
    #[arg(long)]
    allow_unsigned: bool,
}

/// Makes a full payload from an image
#[derive(Args)]
struct Generate {
    /// Image of the slot
    #[arg(long, value_name = "IMG")]
    new_image: PathBuf,
    /// Kernel that boots it
    #[arg(long, value_name = "FILE")]
    new_kernel: Option<PathBuf>,
    /// RSA private key to sign with; of several, clients check the second one's signature
    #[arg(long = "private-key", value_name = "PEM")]
    private_keys: Vec<PathBuf>,
    /// Where the payload goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Serves an update to nodes whose SERVER= names this machine
#[derive(Args)]
struct Serve {
    /// The update
    #[arg(long, value_name = "FILE")]
    payload: PathBuf,
    /// Its version: nodes that run it are told that there is no update
    #[arg(long)]
    version: String,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A further file to offer with the update
    #[arg(long = "package", value_name = "NAME=FILE", value_parser = package)]
    packages: Vec<(PackageName, PathBuf)>,
    /// Offers the update also to nodes that run its version
    #[arg(long)]
    always: bool,
    /// Bytes per second for each download
    #[arg(long, value_name = "BYTES")]
    limit_rate: Option<NonZeroU64>,
}

fn package(argument: &str) -> Result<(PackageName, PathBuf), String> {
    let (name, path) = argument.split_once('=').ok_or("it must read NAME=FILE")?;
    Ok((name.parse().map_err(|error| format!("{error}"))?, path.into()))
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Inspect(arguments) => inspect(&arguments),
        Command::Verify(arguments) => verify(&arguments),
        Command::Apply(arguments) => apply(arguments),
        Command::Generate(arguments) => generate(arguments),
        Command::Serve(arguments) => serve(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("update_payload: {}", chain(failure.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn inspect(arguments: &Inspect) -> Result<(), Failure> {
    let inspection = payload::inspect(&PayloadFile::open(&arguments.file)?)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print!("{inspection}");
    }
    Ok(())
}

fn verify(arguments: &Verify) -> Result<(), Failure> {
    let trust = Trust::Keys(Trust::in_keys(&arguments.public_keys)?);
    let (finished, _) = payload::verify(&PayloadFile::open(&arguments.file)?, &trust)?;
    let (size, sha256) = (finished.payload_len, finished.payload_sha256);
    println!(
        "{}: good; {size} bytes, SHA-256 {sha256}",
        arguments.file.display()
    );
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
        ..
    } = arguments;
    let mut images = vec![Building {
        kind: ImageKind::Partition,
        target,
        source,
    }];
    images.extend(kernel.map(|target| Building {
        kind: ImageKind::Kernel,
        target,
        source: source_kernel,
    }));
    let verdict = payload::apply(&PayloadFile::open(&file)?, &images, &trust)?;
    for image in images {
        println!("{}: complete, its hash is right", image.target.display());
    }
    if verdict == Verdict::Unchecked {
        println!("the payload's origin was not checked");
    }
    Ok(())
}

fn generate(arguments: Generate) -> Result<(), Failure> {
    let Generate {
        new_image,
        new_kernel,
        private_keys,
        out,
    } = arguments;
    let from = Ingredients {
        image: new_image,
        kernel: new_kernel,
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
    println!("serving version {version}; nodes want SERVER={}", server.url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    server.stop().await;
    Ok(())
}
