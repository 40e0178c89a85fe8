#![allow(clippy::unwrap_used)]

use super::*;

fn shell(script: &str, limit: Duration) -> Subprocess {
    Subprocess::new(Path::new("/bin/sh"), limit).arg("-c").arg(script)
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn both_streams_are_kept_in_order_with_the_exit_code() {
    let ended = shell("echo one; echo two >&2; echo three; exit 3", LONG)
        .run(&CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(ended.output.to_string(), "one\ntwo\nthree");
}

#[tokio::test]
async fn the_environment_is_bare() {
    let ended = Subprocess::new(Path::new("/usr/bin/env"), LONG)
        .run(&CancellationToken::new())
        .await
        .unwrap();
    for line in ended.output.to_string().lines() {
        let name = line.split('=').next().unwrap();
        let known = [&PATH_VARIABLES[..], &PROXY_VARIABLES, &NO_PROXY_VARIABLES].concat();
        assert!(known.contains(&name), "{line}");
    }
    assert!(ended.output.to_string().contains("PATH="));
}

#[tokio::test]
async fn only_the_end_of_a_long_output_is_kept() {
    let ended = shell("head -c 300000 /dev/zero | tr '\\0' x; echo end", LONG)
        .run(&CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(ended.output.bytes().len(), 64 * 1024);
    assert_eq!(ended.output.dropped(), 300_000 + 4 - 64 * 1024);
    assert!(ended.output.to_string().ends_with("xend"));
}

#[tokio::test]
async fn a_program_left_in_the_background_is_not_waited_for() {
    let ended = shell("sleep 60 & echo $!", LONG)
        .run(&CancellationToken::new())
        .await
        .unwrap();
    assert!(ended.status.success());
    let pid = nix::unistd::Pid::from_raw(ended.output.to_string().parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_all_it_started() {
    let error = shell("sleep 60 & echo $!; wait", Duration::from_millis(200))
        .run(&CancellationToken::new())
        .await
        .unwrap_err();
    let SubprocessError::TimedOut { output, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(error.to_string(), "/bin/sh was ended after 0 s, its time limit");
    gone(&output.to_string()).await;
}

#[tokio::test]
async fn a_program_whose_future_is_dropped_is_killed_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let child = shell(&format!("sleep 60 & echo $! > {}; wait", fifo.display()), LONG);
    let running = tokio::spawn(async move { child.run(&CancellationToken::new()).await.map(|_| ()) });
    let pid = tokio::fs::read_to_string(fifo).await.unwrap();
    running.abort();
    gone(pid.trim()).await;
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let error = Subprocess::new(Path::new("/nonexistent/postinst"), LONG)
        .run(&CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot run /nonexistent/postinst");
}

/// Polls until `pid` runs no more: nobody tells about the end of a process that is not our child.
async fn gone(pid: &str) {
    let stat = format!("/proc/{pid}/stat");
    for _ in 0..500 {
        match std::fs::read_to_string(&stat) {
            Err(_) => return,
            Ok(text) if text.contains(") Z ") => return,
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("process {pid} still runs");
}
