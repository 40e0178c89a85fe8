//! A node and a Nebraska that minds its states, refuses by policy, and takes no event it doesn't
//! know.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use update_engine::disk::SlotName;
use update_engine::serve::OmahaQuestion;
use update_engine::status::{OfferSource, Preview, Prospect};

use crate::support::nebraska::State::{Complete, Downloaded, Downloading, Granted, Undefined};
use crate::support::nebraska::{Group, Nebraska, Policy, State};
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;
use test_support::server::Server;

/// Packages beside the state machine: Nebraska's own are files elsewhere, too.
pub(crate) struct Site {
    pub(crate) scene: Scene<Nebraska>,
    pub(crate) packages: Server,
}

/// As Nebraska writes it: the payload first, its hash in base64, further files with theirs in
/// hexadecimal digits.
pub(crate) fn offer(codebase: &str, payload: &Path, manifest: &str) -> String {
    let payload = std::fs::read(payload).unwrap();
    let (size, sha256) = (payload.len(), BASE64.encode(digest(&SHA256, &payload)));
    format!(
        r#"<urls><url codebase="{codebase}"></url></urls><manifest {manifest}><packages>
<package name="p.gz" hash="Yt3h6SgRkunsKswhVqveNNefe5g=" size="{size}" required="true"></package>
<package name="oem-azure.gz" hash="Yt3h6SgRkunsKswhVqveNNefe5g=" hash_sha256="76c7a65b22e93e5e91e3e7b51b30a68fe07065311605f1edb3185a8ac42d7b31" size="2514292" required="false"></package>
</packages><actions><action event="postinstall" sha256="{sha256}" DisablePayloadBackoff="true"></action></actions></manifest>"#
    )
}

impl Site {
    pub(crate) async fn new(faults: &str, manifest: &str) -> Self {
        let packages = Server::start();
        let payload = fixtures::payload("full.payload");
        packages.serve("p.gz", std::fs::read(&payload).unwrap());
        let nebraska = Nebraska::start(Group {
            version: "2.0.0".to_owned(),
            offer: offer(&packages.url(faults), &payload, manifest),
            ..Group::default()
        });
        let node = Node::new(&nebraska.url());
        let scene = Scene::with(nebraska, node).await;
        Self { scene, packages }
    }

    fn states(&self) -> Vec<State> {
        self.scene.server.group(|group| group.states())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_leads_the_instance_through_its_states_to_complete() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    assert_eq!(site.scene.node.reboot(), SlotName::B);
    site.scene.node.run_version("2.0.0");
    let _daemon = site.scene.boot(SlotName::B).await;
    site.scene.attempt(IDLE).await;
    assert_eq!(site.states(), [Granted, Downloading, Downloaded, Complete]);
    site.scene.server.group(|group| {
        assert_eq!(group.events(), [(13, 1), (14, 1), (3, 1), (3, 2)]);
        assert_eq!(group.unknown, []);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_grants_only_if_the_server_is_asked_and_the_update_after_it_is_as_any() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let _daemon = site.scene.boot(SlotName::A).await;
    let client = site.scene.bus.connect().await;
    let free = Preview::ask(&client, OfferSource::LastCheck).await.unwrap();
    assert_eq!(free.prospect, Prospect::NothingOffered, "{free:?}");
    assert_eq!(site.states(), []);
    for refusal in [Some("error-updatesDisabled"), None, None] {
        site.scene.server.group(|group| group.refusal = refusal);
        let preview = Preview::ask(&client, OfferSource::Server).await.unwrap();
        match refusal {
            None => assert_eq!(preview.prospect, Prospect::Install, "{preview:?}"),
            Some(refusal) => {
                assert_eq!(preview.prospect, Prospect::PutOff, "{preview:?}");
                assert!(preview.summary.contains(refusal), "{preview:?}");
            }
        }
    }
    // The event of each check, and the grant that it brings.
    let asked = site.states();
    assert_eq!(
        asked.iter().filter(|state| **state == Granted).count(),
        2,
        "{asked:?}"
    );
    site.scene.attempt(NEED_REBOOT).await;
    let updated = [Undefined, Granted, Downloading, Downloaded];
    assert_eq!(site.states(), [&asked[..], &updated].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_policy_is_named_and_the_next_check_is_as_good_as_ever() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let daemon = site.scene.boot(SlotName::A).await;
    for refusal in [
        "error-updatesDisabled",
        "error-maxUpdatesPerPeriodLimitReached",
        "error-maxConcurrentUpdatesLimitReached",
        "error-maxTimedOutUpdatesLimitReached",
        "error-noPackageFound",
    ] {
        site.scene.server.group(|group| group.refusal = Some(refusal));
        site.scene.attempt(IDLE).await;
        assert!(daemon.log().contains(refusal), "{}", daemon.log());
    }
    assert!(site.packages.requests().is_empty());
    site.scene.server.group(|group| group.refusal = None);
    site.scene.attempt(NEED_REBOOT).await;
    assert_eq!(site.scene.server.group(|group| group.unknown.len()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_amid_a_download_is_no_update_in_progress_for_ever() {
    let mut site = Site::new("gate=65536/", r#"version="2.0.0""#).await;
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt("UPDATE_STATUS_UPDATE_AVAILABLE").await;
    eventually("the server hears of the download", || {
        site.states().last() == Some(&State::Downloading)
    })
    .await;
    daemon.kill();
    site.packages.release(u64::MAX / 2);
    let _daemon = site.scene.boot(SlotName::A).await;
    // Its check says that it begins anew: without that Nebraska would refuse.
    site.scene.attempt(NEED_REBOOT).await;
    let expected = [Granted, Downloading, Undefined, Granted, Downloading, Downloaded];
    assert_eq!(site.states(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_makes_the_instance_one_in_error_and_a_floor_is_taken_like_any_offer() {
    let mut site = Site::new(
        "",
        r#"version="1.5.0" is_floor="true" floor_reason="a new table""#,
    )
    .await;
    site.scene.node.trust("other-key.pub.pem");
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(IDLE).await;
    assert_eq!(site.states().last(), Some(&State::Error), "{}", daemon.log());
    site.scene.node.trust("test-key.pub.pem");
    let signals = site.scene.attempt(NEED_REBOOT).await;
    assert_eq!(signals.last().unwrap().3, "1.5.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_with_every_kind_of_quote_is_understood() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let config = format!("SERVER={}\nMACHINE_ALIAS=a\"b'c<d>&e\n", site.scene.server.url());
    site.scene.node.write(CONFIG, config.as_bytes());
    let _daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(NEED_REBOOT).await;
}

/// A line `key=value` of what was read from the real server's database.
fn line<'a>(state: &'a str, key: &str) -> &'a str {
    let mut lines = state.lines();
    lines
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_default()
}

/// Milliseconds of the day.
fn time(stamp: &str) -> u64 {
    let clock = stamp.split('T').nth(1).unwrap().trim_end_matches('Z');
    let fields: Vec<f64> = clock.split(':').map(|field| field.parse().unwrap()).collect();
    format!(
        "{:.0}",
        (fields[0] * 3600.0 + fields[1] * 60.0 + fields[2]) * 1000.0
    )
    .parse()
    .unwrap()
}

/// Milliseconds of `60 minutes`.
fn span(text: &str) -> u64 {
    let (count, unit) = text.split_once(' ').unwrap();
    let unit = match unit {
        "seconds" => 1000,
        "minutes" => 60_000,
        "hours" => 3_600_000,
        other => panic!("{other}"),
    };
    count.parse::<u64>().unwrap() * unit
}

/// Each instance is what the real server's row says.
fn has_the_rows(group: &Group, state: &str, step: &Path) {
    for name in ["i1", "i2", "i3"] {
        let machine = line(state, &format!("{name}.machineid"));
        let Some(instance) = group.instance(machine) else {
            continue;
        };
        let word = line(state, &format!("{name}.status"))
            .split(' ')
            .next_back()
            .unwrap();
        let expected = match word {
            "" => None,
            "Undefined" => Some(Undefined),
            "UpdateGranted" => Some(Granted),
            "Error" => Some(State::Error),
            "Complete" => Some(Complete),
            "Downloaded" => Some(Downloaded),
            "Downloading" => Some(Downloading),
            "OnHold" => Some(State::OnHold),
            other => panic!("{other}"),
        };
        assert_eq!(instance.state(), expected, "{name} {}", step.display());
        let in_progress = line(state, &format!("{name}.update_in_progress")) == "true";
        assert_eq!(
            instance.is_in_progress(),
            in_progress,
            "{name} {}",
            step.display()
        );
    }
}

/// One recorded course, asked anew; gives how many answers it has.
fn replay(case: &Path) -> usize {
    let read = |step: &Path, ending: &str| {
        let path = step.with_extension("").with_extension("").with_extension(ending);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let entries = std::fs::read_dir(case)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut steps: Vec<_> = entries
        .filter(|path| path.to_string_lossy().ends_with(".request.xml"))
        .collect();
    steps.sort();
    let mut group = Group::default();
    for step in &steps {
        let answer = read(step, "response.xml");
        if let Some((_, rest)) = answer.split_once(r#"<updatecheck status="ok">"#) {
            rest.split("</updatecheck>")
                .next()
                .unwrap()
                .clone_into(&mut group.offer);
        }
    }
    for step in &steps {
        let state = read(step, "state");
        line(&state, "group.package_version").clone_into(&mut group.version);
        group.clock = time(line(&state, "asked"));
        group.refusal =
            (line(&state, "group.policy_updates_enabled") == "false").then_some("error-updatesDisabled");
        group.policy = Policy {
            safe_mode: line(&state, "group.policy_safe_mode") == "true",
            updates: line(&state, "group.policy_max_updates_per_period")
                .parse()
                .unwrap(),
            period: span(line(&state, "group.policy_period_interval")),
            timeout: span(line(&state, "group.policy_update_timeout")),
        };
        let question = OmahaQuestion::parse(&read(step, "request.xml")).unwrap();
        let answer = group.answer(&question);
        assert_eq!(answer, read(step, "response.xml"), "{}", step.display());
        assert_eq!(
            group.is_off,
            line(&state, "group.policy_updates_enabled_override") == "false",
            "{}",
            step.display()
        );
        has_the_rows(&group, &state, step);
    }
    steps.len()
}

#[test]
fn the_stand_in_answers_as_the_real_one_did() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings/nebraska");
    let folders = |path: &Path| {
        let entries = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    let mut cases = folders(&recordings);
    cases.retain(|case| !case.ends_with("c-safe-mode"));
    cases.extend(folders(&recordings.join("c-safe-mode")));
    let answers: usize = cases.iter().map(|case| replay(case)).sum();
    assert!(answers >= 120, "{answers}");
}
