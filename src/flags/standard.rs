//! Flags of gflags and glog, which every program of the original has.

use super::{Flag, FlagKind};

const fn switch(name: &'static str) -> Flag {
    Flag {
        name,
        kind: FlagKind::Switch,
        help: "",
    }
}

const fn number(name: &'static str) -> Flag {
    Flag {
        name,
        kind: FlagKind::Number,
        help: "",
    }
}

const fn text(name: &'static str) -> Flag {
    Flag {
        name,
        kind: FlagKind::Text,
        help: "",
    }
}

/// Flags of gflags itself, then those of glog.
pub(super) const STANDARD: &[Flag] = &[
    switch("help"),
    switch("helpfull"),
    switch("helpshort"),
    switch("helppackage"),
    switch("helpxml"),
    text("helpon"),
    text("helpmatch"),
    switch("version"),
    text("undefok"),
    switch("logtostderr"),
    switch("alsologtostderr"),
    switch("colorlogtostderr"),
    switch("log_prefix"),
    switch("log_utc_time"),
    switch("log_year_in_prefix"),
    switch("logtostdout"),
    switch("colorlogtostdout"),
    switch("drop_log_memory"),
    switch("stop_logging_if_full_disk"),
    switch("symbolize_stacktrace"),
    switch("timestamp_in_logfile_name"),
    number("v"),
    text("vmodule"),
    number("minloglevel"),
    number("stderrthreshold"),
    number("logbuflevel"),
    number("logbufsecs"),
    number("logemaillevel"),
    number("logfile_mode"),
    number("max_log_size"),
    number("logcleansecs"),
    text("log_dir"),
    text("log_link"),
    text("log_backtrace_at"),
    text("logmailer"),
    text("alsologtoemail"),
];
