#![allow(clippy::unwrap_used)]

use super::*;

const FLAGS: &[Flag] = &[
    Flag {
        name: "check_for_update",
        kind: FlagKind::Switch,
        help: "Check.",
    },
    Flag {
        name: "status",
        kind: FlagKind::Switch,
        help: "Status.",
    },
    Flag {
        name: "root",
        kind: FlagKind::Text,
        help: "The root.",
    },
];

fn request(arguments: &[&str]) -> Result<FlagRequest, FlagErrors> {
    parse(FLAGS, arguments.iter().map(OsString::from))
}

fn line(arguments: &[&str]) -> CommandLine {
    match request(arguments) {
        Ok(FlagRequest::Run(line)) => line,
        other => panic!("{arguments:?} gave {other:?}"),
    }
}

fn errors(arguments: &[&str]) -> String {
    request(arguments).unwrap_err().to_string()
}

#[test]
fn every_spelling_of_a_switch_is_understood() {
    for spelling in [
        "-check_for_update",
        "--check_for_update",
        "-check-for-update",
        "--check-for-update",
        "-check_for-update=true",
        "--check_for_update=T",
        "-check_for_update=1",
        "-check_for_update=Yes",
        "-check_for_update=y",
    ] {
        assert!(line(&[spelling]).is_on("check_for_update"), "{spelling}");
    }
    for spelling in [
        "-nostatus",
        "--nostatus",
        "-status=false",
        "-status=0",
        "-status=NO",
        "-nostatus=true",
    ] {
        assert!(!line(&["-status", spelling]).is_on("status"), "{spelling}");
    }
    assert!(line(&["-nocheck-for-update", "-check-for-update"]).is_on("check_for_update"));
}

#[test]
fn values_follow_an_equals_sign_or_stand_alone() {
    assert_eq!(line(&["--root=/a=b"]).text("root"), Some("/a=b"));
    assert_eq!(line(&["-root", "-status"]).text("root"), Some("-status"));
    assert_eq!(line(&["-v", "3"]).number("v"), Some(3));
    assert_eq!(line(&["-root=/a", "-root=/b"]).text("root"), Some("/b"));
}

#[test]
fn other_arguments_may_stand_anywhere() {
    let line = line(&["now", "-status", "-", "--", "-unknown"]);
    assert!(line.is_on("status"));
    assert_eq!(line.arguments, ["now", "-", "-unknown"]);
}

#[test]
fn each_mistake_is_named_in_gflags_words() {
    assert_eq!(errors(&["--foo"]), "ERROR: unknown command line flag 'foo'");
    assert_eq!(errors(&["-nofoo=1"]), "ERROR: unknown command line flag 'nofoo'");
    assert_eq!(
        errors(&["-status=maybe"]),
        "ERROR: illegal value 'maybe' specified for bool flag 'status'"
    );
    assert_eq!(
        errors(&["-v=x"]),
        "ERROR: illegal value 'x' specified for int32 flag 'v'"
    );
    assert_eq!(
        errors(&["-noroot"]),
        "ERROR: boolean value (noroot) specified for string command line flag"
    );
    assert_eq!(
        errors(&["-root"]),
        "ERROR: flag 'root' is missing its argument; flag description: The root."
    );
    assert_eq!(
        errors(&["-foo", "-bar"]),
        "ERROR: unknown command line flag 'foo'\nERROR: unknown command line flag 'bar'"
    );
}

#[test]
fn flags_that_may_be_undefined_are_passed_over() {
    assert!(line(&["-foo=1", "-status", "--undefok=foo,bar"]).is_on("status"));
}

#[test]
fn help_and_version_win_over_errors() {
    assert_eq!(request(&["--foo", "--help"]), Ok(FlagRequest::Help));
    assert_eq!(request(&["-helpmatch=x"]), Ok(FlagRequest::Help));
    assert_eq!(request(&["--foo", "-version"]), Ok(FlagRequest::Version));
    assert!(line(&["-nohelp", "-status"]).is_on("status"));
}
