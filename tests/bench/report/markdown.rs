//! The report as Markdown.

use std::fmt::Write as _;

use super::{Bar, Report};
use crate::bars::float;

const MIB: f64 = (1 << 20) as f64;

pub fn of(report: &Report) -> String {
    [
        head(report),
        bars(&report.bars),
        "\n## Installing\n\n![Wall time of every contestant](benchmark.svg)\n\n".to_owned(),
        contestants(report),
        "\n## Packing\n\n".to_owned(),
        artefacts(report),
        "\n## At rest\n\n".to_owned(),
        resident(report),
    ]
    .concat()
}

fn head(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "# Benchmark\n\nWritten by the benchmark (see [README.md](README.md)), all in one run: {} rounds, everybody in turn,\n\
         medians. An image of {} MiB on {} cores of {}, {} MiB of memory, Linux {}.\n\n## Bars\n\n",
        report.rounds,
        report.image_bytes >> 20,
        machine.cores,
        machine.processor,
        machine.memory_mib,
        machine.kernel
    )
}

pub fn bars(bars: &[Bar]) -> String {
    let mut text = "| | measured | at most | |\n|---|---|---|---|\n".to_owned();
    for bar in bars {
        let met = if bar.is_met() { "met" } else { "**missed**" };
        let _ = writeln!(
            text,
            "| {} | {:.decimals$} {unit} | {} {unit} | {met} |",
            escape(&bar.what),
            bar.value,
            bar.limit,
            decimals = if bar.value < 1000.0 { 3 } else { 0 },
            unit = bar.unit
        );
    }
    text
}

fn contestants(report: &Report) -> String {
    let mut text =
        "| | download, MiB | wall, s | CPU, s | peak memory, MiB | written, MiB | page cache, MiB | does |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for contestant in &report.contestants {
        let median = contestant.median;
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {} |",
            escape(&contestant.name),
            float(contestant.download) / MIB,
            median.wall,
            median.cpu,
            float(median.peak_kib) / 1024.0,
            float(median.written) / MIB,
            float(median.cache_peak) / MIB,
            contestant.promise
        );
    }
    text += "\nCPU is that of the installer and what it starts, not of the kernel's writers or of a server. Peak memory is the\n\
             largest of a single process. Page cache is the most that was held of target and own files.\n";
    text
}

fn artefacts(report: &Report) -> String {
    let mut text = "| | bytes | s | peak memory, MiB |\n|---|---|---|---|\n".to_owned();
    for artefact in &report.artefacts {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.0} |",
            artefact.name,
            artefact.bytes,
            artefact.seconds,
            float(artefact.peak_kib) / 1024.0
        );
    }
    text
}

fn resident(report: &Report) -> String {
    let resident = &report.resident;
    format!(
        "| | |\n|---|---|\n| start until it listens | {:.1} ms |\n| check that offers nothing | {:.1} ms |\n\
         | resident, started | {:.1} MiB |\n| resident, after an update | {:.1} MiB |\n\
         | wake-ups in a minute | {} |\n| program, stripped | {:.2} MiB |\n\
         | reboot manager, resident | {:.1} MiB |\n| its wake-ups in a minute | {} |\n\
         | its program, stripped | {:.2} MiB |\n",
        resident.start * 1000.0,
        resident.check * 1000.0,
        float(resident.idle_kib) / 1024.0,
        float(resident.idle_after_kib) / 1024.0,
        resident.wakeups,
        float(resident.binary) / MIB,
        float(resident.manager.idle_kib) / 1024.0,
        resident.manager.wakeups,
        float(resident.manager.binary) / MIB
    )
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
