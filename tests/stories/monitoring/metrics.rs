//! What watches the daemon: systemd's status line and watchdog, Prometheus' file, the alerts on it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use update_engine::disk::SlotName;

use crate::support::node::Node;
use crate::support::notify_socket::NotifySocket;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

const METRICS: &str = "/var/lib/node-exporter/update-engine.prom";

pub(crate) fn with_metrics<S>(scene: &Scene<S>) -> PathBuf {
    let path = scene.node.path(METRICS);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    scene.configure(&format!("METRICS_FILE={METRICS}\n"));
    path
}

pub(crate) fn metrics(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What Prometheus' own tool has to say.
pub(crate) fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn documented(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/monitoring")
        .join(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_the_state_in_words_and_that_the_daemon_lives() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let size = fs::metadata(fixtures::payload("full.payload")).unwrap().len();
    scene.configure(&format!("DOWNLOAD_LIMIT={}\n", (size / 4).max(16 << 10)));
    let manager = NotifySocket::of(&mut scene.node, 200_000);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let told = || manager.told();
    let waits = "STATUS=2.0.0 is installed: reboot to use it".to_owned();
    eventually("the last state", || told().contains(&waits)).await;
    assert_eq!(told()[0], "READY=1");
    let shows_progress = |line: &String| {
        line.starts_with("STATUS=Downloading 2.0.0 into the other slot: ") && line.contains(" %, ")
    };
    assert!(told().iter().any(shows_progress), "{:?}", told());
    let is_alive = || told().iter().filter(|line| *line == "WATCHDOG=1").count() > 2;
    eventually("the watchdog is fed", is_alive).await;
    daemon.stop();
    eventually("the end", || told().last().unwrap() == "STOPPING=1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_watchdog_is_anothers_feeds_none() {
    let mut scene = Scene::quiet().await;
    let manager = NotifySocket::of(&mut scene.node, 1);
    scene.node.before = scene.node.before.replace("WATCHDOG_PID=$$", "WATCHDOG_PID=1");
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    daemon.stop();
    eventually("the end", || manager.told().last().unwrap() == "STOPPING=1").await;
    assert!(!manager.told().contains(&"WATCHDOG=1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_counted_in_a_file_that_prometheus_takes() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let path = with_metrics(&scene);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let waits = "update_engine_state{state=\"reboot-needed\"} 1\n";
    eventually("the state is written", || metrics(&path).contains(waits)).await;
    // The counters follow with the next look at the node.
    let counted = "update_engine_updates_total 1\n";
    eventually("the counters are written", || metrics(&path).contains(counted)).await;
    let text = metrics(&path);
    let size = fs::metadata(fixtures::payload("full.payload")).unwrap().len();
    for line in [
        "update_engine_checks_total{end=\"taken\"} 1",
        &format!("update_engine_downloaded_bytes_total {size}"),
        "update_engine_failures_total 0",
        "update_engine_slot_running{slot=\"USR-A\"} 1",
        "update_engine_slot_priority{slot=\"USR-B\"} 2",
        "update_engine_slot_tries{slot=\"USR-B\"} 1",
        "update_engine_slot_successful{slot=\"USR-B\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(text.contains("running=\"1.0.0\",waiting=\"2.0.0\""), "{text}");
    assert_eq!(promtool(&["check", "metrics"], &text), (true, String::new()));
    // The judge is awake.
    let (is_fine, _) = promtool(&["check", "metrics"], "Not Prometheus' format\n");
    assert!(!is_fine);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    let beside = fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(beside.count(), 1, "nothing is left beside it");
    daemon.stop();

    // They outlive the daemon and the machine.
    scene.node.reboot();
    fs::remove_file(&path).unwrap();
    let daemon = scene.boot(SlotName::B).await;
    eventually("the counters are there again", || {
        metrics(&path).contains("update_engine_updates_total 1\n")
    })
    .await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_counted_with_its_code() {
    let mut scene = Scene::offering(&fixtures::payload("full-unsigned.payload")).await;
    let path = with_metrics(&scene);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    // It is counted before the server is told, and why there is no update is known after that.
    let settled = || {
        let text = metrics(&path);
        text.contains("update_engine_failures_total 1\n")
            && text.contains("update_engine_no_update{reason=\"failed\"} 1\n")
    };
    eventually("the failure is counted", settled).await;
    let text = metrics(&path);
    assert!(text.contains("update_engine_last_failure_code 17\n"), "{text}");
    assert!(!text.contains("update_engine_last_success"), "{text}");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_not_be_written_is_named_once_and_disturbs_nothing() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.configure("METRICS_FILE=/no/such/directory/update-engine.prom\n");
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let named = || daemon.log().matches("metrics can't be written to").count();
    eventually("it is named", || named() > 0).await;
    let log = daemon.log();
    assert_eq!(named(), 1, "{log}");
    assert!(
        log.contains("/no/such/directory/update-engine.prom: No such file"),
        "{log}"
    );
    daemon.stop();
}

/// Runs the daemon with no more rights than its unit leaves it.
fn limited(node: &mut Node) {
    node.before = format!(
        "exec setpriv --bounding-set=-all,+sys_admin,+dac_read_search {}",
        r#"--inh-caps=-all --no-new-privs "$0" "$@""#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_units_rights_the_file_can_be_written_to_a_directory_of_roots_and_no_other() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: this test shows nothing");
        return;
    }
    let mut scene = Scene::quiet().await;
    limited(&mut scene.node);
    let path = with_metrics(&scene);
    let daemon = scene.boot(SlotName::A).await;
    eventually("the file is there", || !metrics(&path).is_empty()).await;
    daemon.stop();

    let directory = path.parent().unwrap();
    fs::remove_file(&path).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(directory, Some(65534), None).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    let refused = || daemon.log().contains("update-engine.prom: Permission denied");
    eventually("the journal says so", refused).await;
    scene.attempt(IDLE).await;
    daemon.stop();
}

#[test]
fn the_example_alerts_do_what_they_say() {
    let (alerts, tests) = (documented("alerts.yml"), documented("alerts_test.yml"));
    let (is_fine, said) = promtool(&["check", "rules", alerts.to_str().unwrap()], "");
    assert!(is_fine, "{said}");
    let (is_fine, said) = promtool(&["test", "rules", tests.to_str().unwrap()], "");
    assert!(is_fine, "{said}");
}

/// Words that are names of metrics.
fn named(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("update_engine_") && *word != "update_engine_client")
        .collect()
}

#[test]
fn alerts_and_dashboard_name_no_metric_that_does_not_exist() {
    let reference = update_engine::monitoring::reference();
    for file in ["alerts.yml", "alerts_test.yml", "dashboard.json"] {
        let text = fs::read_to_string(documented(file)).unwrap();
        let names = named(&text);
        assert!(names.len() > 5, "{file} names {names:?}");
        for name in names {
            assert!(reference.contains(&format!("| `{name}` |")), "{file}: {name}");
        }
    }
    let dashboard = fs::read(documented("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 5);
}
