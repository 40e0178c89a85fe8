//! Kernels and records that can't be read now, or are not what was staged.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_can_not_be_read_now_is_waited_for() {
    let (mut scene, daemon) = staged("order").await;
    daemon.stop();
    let kernel = scene.node.path(KERNEL_B);
    let aside = kernel.with_extension("aside");
    std::fs::rename(&kernel, &aside).unwrap();
    std::fs::create_dir(&kernel).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    let unread = |overview: &Overview| overview.summary.contains("can't be activated");
    let overview = scene.overview(unread).await;
    assert!(overview.summary.contains("can't be read"), "{}", overview.summary);
    assert!(overview.last_failure.0.is_none());
    daemon.stop();
    std::fs::remove_dir(&kernel).unwrap();
    std::fs::rename(&aside, &kernel).unwrap();
    let _daemon = scene.boot(SlotName::A).await;
    is_staged(&scene).await;
    assert!(activate(&scene).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_was_written_since_it_was_read_back_is_not_booted() {
    let (scene, _daemon) = staged("reboot").await;
    let mut kernel = scene.node.read(KERNEL_B);
    kernel[100] ^= 1;
    scene.node.write(KERNEL_B, &kernel);
    let output = scene.node.activate_at_reboot();
    assert!(!output.status.success(), "{output:?}");
    let (said, is_done) = activate(&scene).await;
    assert!(!is_done && said.contains("was written since"), "{said}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kernel_of_the_same_length_and_time_of_change_is_not_booted() {
    let (scene, _daemon) = staged("reboot").await;
    let path = scene.node.path(KERNEL_B);
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let mut kernel = scene.node.read(KERNEL_B);
    kernel[100] ^= 1;
    scene.node.write(KERNEL_B, &kernel);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    let output = scene.node.activate_at_reboot();
    assert!(!output.status.success(), "{output:?}");
    let (said, is_done) = activate(&scene).await;
    assert!(!is_done && said.contains("was written since"), "{said}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
}

/// Starts the daemon; returns once it answers. What the one before had to say comes first on the bus.
async fn start_anew(scene: &Scene) -> Daemon {
    let daemon = scene.node.start(&scene.bus, SlotName::A);
    let bus = scene.bus.connect().await;
    while Overview::read(&bus).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon
}

/// The daemon can't open the file at `path`: too many are open.
fn without_descriptor_for(path: &str, scene: &mut Scene) {
    scene.node.before = format!(
        r#"exec strace -D -f -o /dev/null -P '{}' -e trace=openat -e inject=openat:error=EMFILE "$0" "$@""#,
        scene.node.path(path).display()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_attempts_that_can_not_be_read_now_is_not_replaced() {
    let (mut scene, daemon) = staged("order").await;
    let again = async |scene: &mut Scene| {
        assert!(client(&scene.bus, "-reset_status").await.1.success());
        scene.attempt(IDLE).await;
        is_staged(scene).await;
    };
    again(&mut scene).await;
    let both = [AttemptState::Withdrawn, AttemptState::Staged];
    assert_eq!(outcomes(&scene).await, both);
    daemon.stop();
    without_descriptor_for("/var/lib/update_engine/attempts", &mut scene);
    let daemon = start_anew(&scene).await;
    is_staged(&scene).await;
    again(&mut scene).await;
    daemon.stop();
    scene.node.before = ":".to_owned();
    let _daemon = start_anew(&scene).await;
    is_staged(&scene).await;
    assert_eq!(outcomes(&scene).await, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_can_not_be_read_now_is_not_taken_for_none() {
    let (mut scene, daemon) = staged("order").await;
    daemon.stop();
    without_descriptor_for(RECORD, &mut scene);
    let daemon = scene.boot(SlotName::A).await;
    let unread = |overview: &Overview| overview.summary.contains("can't be activated");
    let overview = scene.overview(unread).await;
    assert_eq!(overview.state, EngineState::Staged);
    assert_eq!(outcomes(&scene).await, [AttemptState::Staged]);
    assert!(!activate(&scene).await.1);
    daemon.stop();
    scene.node.before = ":".to_owned();
    let _daemon = start_anew(&scene).await;
    is_staged(&scene).await;
    assert!(activate(&scene).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn marking_good_takes_no_activation_back_while_the_record_can_not_be_read() {
    let (mut scene, daemon) = staged("reboot").await;
    let output = scene.node.activate_at_reboot();
    assert!(output.status.success(), "{output:?}");
    daemon.stop();
    without_descriptor_for(RECORD, &mut scene);
    let _daemon = scene.boot(SlotName::A).await;
    let waits = |overview: &Overview| overview.state == EngineState::RebootNeeded;
    scene.overview(waits).await;
    // Refused or not.
    let _ = client_command(&scene, "mark-good").await;
    assert_eq!(scene.node.disk.attributes(SlotName::B), NEXT);
}
