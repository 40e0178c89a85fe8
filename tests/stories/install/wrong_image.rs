//! Images that are not for this node, kernels of another image, and extensions that an image would
//! not merge: refused before the slot is touched, or before it boots.

use std::io::Cursor;

use payload_format::writer::{FullPayload, ImageFiles, RsaSigner, Snapshot};
use payload_format::{ImageRelease, MajorVersion, ReadBlocks};
use update_engine::disk::SlotName;
use update_engine::engine::Reportable as _;
use update_engine::image::WrongImage;
use update_engine::install::InstallError;
use update_engine::plan::{ExtensionJudging, InstallPlan};
use update_engine::status::Overview;

use super::v1::{Fate, fate, fixture};
use crate::support::installing::plan;
use crate::support::node::Node;
use crate::support::scene::{IDLE, Scene};
use test_support::fixtures;
use test_support::project;
use test_support::server::Server;

const OS_RELEASE: &str = "/usr/lib/os-release";
const RUNNING: &str = "ID=flatcar\nVERSION_ID=1.0.0\nSYSEXT_LEVEL=1.0\nFLATCAR_BOARD=\"amd64-usr\"\n";
/// By veritysetup, see the fixture's README.
const ROOT_HASH: &str = "05829b22afdd3157810d6a9abd1c6ac460c7c48eb8c8b972209efe1e84576a17";

/// An ext2 image with a dm-verity hash tree behind it.
fn image() -> Vec<u8> {
    let packed = project().join("tests/fixtures/verity/slot.img.zst");
    fixtures::filter("zstd", ["-dc".as_ref(), packed.as_os_str()], b"")
}

/// The beginning of a kernel for x86 with this text where the root hash belongs.
fn kernel(text: &str) -> Vec<u8> {
    let mut kernel = vec![0x90; 64 << 10];
    kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[64..64 + text.len()].copy_from_slice(text.as_bytes());
    kernel
}

/// The fixture's image and a kernel as a signed payload.
fn payload(version: MajorVersion, kernel: &[u8], release: Option<&str>) -> Vec<u8> {
    payload_of(&image(), version, kernel, release)
}

fn payload_of(image: &[u8], version: MajorVersion, kernel: &[u8], release: Option<&str>) -> Vec<u8> {
    let key = String::from_utf8(fixture("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let (mut image, mut kernel, mut out) = (image, kernel, Vec::new());
    let mut payload = FullPayload::new(&mut image)
        .with_kernel(&mut kernel)
        .with_version(version)
        .with_signer(&signer);
    if let Some(release) = release {
        payload = payload.with_release(ImageRelease {
            os_release: release.as_bytes().to_vec(),
            systemd: Some(257),
        });
    }
    payload
        .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
        .unwrap();
    out
}

async fn installed(
    node: &Node,
    payload: Vec<u8>,
    change: impl Fn(InstallPlan) -> InstallPlan,
) -> Result<(), InstallError> {
    let server = Server::start();
    let plan = change(plan(server.url("p"), &payload));
    server.serve("p", payload);
    node.install(plan).await
}

fn node() -> Node {
    let node = Node::with_two_good_slots();
    node.write(OS_RELEASE, RUNNING.as_bytes());
    node
}

/// Fails with this code in the original's numbers.
#[track_caller]
fn fails(result: Result<(), InstallError>, code: u32) -> InstallError {
    let error = result.unwrap_err();
    assert_eq!(error.code().number(), code, "{error}");
    error
}

#[tokio::test]
async fn a_kernel_of_another_image_is_found_before_the_reboot() {
    for version in [MajorVersion::V1, MajorVersion::V2] {
        let node = node();
        let of_another = payload(version, &kernel(&ROOT_HASH.replace('0', "1")), None);
        let error = fails(installed(&node, of_another, |plan| plan).await, 16);
        let said = error.to_string();
        assert!(
            matches!(error, InstallError::WrongImage(WrongImage::RootHash { .. })),
            "{error:?}"
        );
        assert!(
            said.contains("vmlinuz-b belongs to another image") && said.contains(ROOT_HASH),
            "{said}"
        );
        assert_eq!(fate(&node), Fate::Unbootable);
        // The control: its own kernel, and one that insists on nothing.
        for kernel in [kernel(ROOT_HASH), kernel("Use a boot loader.")] {
            installed(&node, payload(version, &kernel, None), |plan| plan)
                .await
                .unwrap();
        }
    }
}

/// Whatever an older, larger image has left behind the new one is none of it.
#[tokio::test]
async fn a_hash_tree_behind_the_image_is_an_older_images() {
    let node = node();
    let version = MajorVersion::V2;
    installed(&node, payload(version, &kernel(ROOT_HASH), None), |plan| plan)
        .await
        .unwrap();
    // Up to the end of its file system, as its superblock says.
    let mut image = image();
    let number = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let end = u64::from(number(1024 + 4)) * (1024 << number(1024 + 0x18));
    image.truncate(usize::try_from(end).unwrap());
    let kernel = kernel(&ROOT_HASH.replace('0', "1"));
    installed(&node, payload_of(&image, version, &kernel, None), |plan| plan)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_kernel_for_another_machine_is_found_before_the_reboot() {
    let mut arm64 = vec![0; 4096];
    arm64[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let other = if cfg!(target_arch = "aarch64") {
        kernel("")
    } else {
        arm64
    };
    let node = node();
    let error = fails(
        installed(&node, payload(MajorVersion::V1, &other, None), |plan| plan).await,
        16,
    );
    assert!(
        error.to_string().contains("vmlinuz-b is a kernel for "),
        "{error}"
    );
    assert_eq!(fate(&node), Fate::Unbootable);
}

#[tokio::test]
async fn an_image_for_another_board_is_refused_before_the_slot_is_touched() {
    let kernel = kernel("");
    let release = |board: &str| RUNNING.replace("amd64-usr", board);
    for board in ["arm64-usr", "amd64-generic"] {
        let node = node();
        let payload = payload(MajorVersion::V2, &kernel, Some(&release(board)));
        let error = fails(installed(&node, payload, |plan| plan).await, 13);
        assert!(matches!(error, InstallError::WrongImage(_)), "{error:?}");
        assert_eq!(fate(&node), Fate::Untouched);
    }
    // The controls: the node's own board, another distribution, an image or a node that says
    // nothing.
    for (running, new) in [
        (RUNNING, release("amd64-usr")),
        (RUNNING, release("amd64-usr").replace("ID=flatcar", "ID=debian")),
        (RUNNING, "NAME=x\n".to_owned()),
        ("NAME=x\n", release("arm64-usr")),
    ] {
        let node = Node::with_two_good_slots();
        node.write("/usr/share/flatcar/release", b"");
        node.write(OS_RELEASE, running.as_bytes());
        let payload = payload(MajorVersion::V2, &kernel, Some(&new));
        installed(&node, payload, |plan| plan).await.unwrap();
    }
}

/// A node on which systemd has merged an extension that the operator keeps in `/opt`.
fn node_with_an_extension(level: &str) -> Node {
    let node = node();
    let table = project().join("tests/fixtures/mountinfo/merged.txt");
    let table = std::fs::read_to_string(table).unwrap();
    let table = table.replace("/extensions/docker/", "/extensions/k8s/");
    node.write("/proc/self/mountinfo", table.as_bytes());
    node.write("/opt/extensions/k8s-1.29.raw", b"DDI");
    std::fs::create_dir_all(node.path("/etc/extensions")).unwrap();
    let link = node.path("/etc/extensions/k8s.raw");
    std::os::unix::fs::symlink("/opt/extensions/k8s-1.29.raw", link).unwrap();
    let release = format!("ID=flatcar\nSYSEXT_LEVEL={level}\n");
    node.write(
        "/usr/lib/extension-release.d/extension-release.k8s",
        release.as_bytes(),
    );
    // As systemd does when it merges.
    node.write("/usr/.systemd-sysext/dev", b"0:45\n");
    node
}

#[tokio::test]
async fn an_extension_that_the_new_image_would_not_merge_refuses_the_update_where_that_is_set() {
    let new = RUNNING.replace("SYSEXT_LEVEL=1.0", "SYSEXT_LEVEL=2.0");
    let payload = || payload(MajorVersion::V2, &kernel(""), Some(&new));
    let judged = |extensions_judged| {
        move |plan| InstallPlan {
            extensions_judged,
            ..plan
        }
    };
    let node = node_with_an_extension("1.0");
    let refused = installed(&node, payload(), judged(ExtensionJudging::Refuse)).await;
    let error = fails(refused, 5);
    assert_eq!(
        error.to_string(),
        "the new image will not merge the sysext k8s: it is for SYSEXT_LEVEL=1.0, the image has 2.0"
    );
    assert_eq!(fate(&node), Fate::Untouched);
    // The controls: a warning by default, nobody looks, or the extension fits.
    for (level, judging) in [
        ("1.0", ExtensionJudging::Warn),
        ("1.0", ExtensionJudging::Off),
        ("2.0", ExtensionJudging::Refuse),
    ] {
        let node = node_with_an_extension(level);
        installed(&node, payload(), judged(judging)).await.unwrap();
    }
}

struct Memory(Vec<u8>);

impl ReadBlocks for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[start..start + buf.len()]);
        Ok(())
    }
}

#[test]
fn the_root_hash_is_that_of_veritysetup() {
    let image = Memory(image());
    let found = update_engine::image::root_hash(&image, image.0.len() as u64).unwrap();
    assert_eq!(found.map(|hash| hash.to_string()).as_deref(), Some(ROOT_HASH));
}

#[test]
fn a_generator_finds_what_an_image_says_of_itself() {
    let image = Memory(image());
    let files = ImageFiles::of(Snapshot::new(&image, image.0.len() as u64)).unwrap();
    let text = files
        .unwrap()
        .text(b"/lib/os-release", 16 << 10)
        .unwrap()
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.starts_with("NAME=") && text.ends_with("FLATCAR_BOARD=\"amd64-usr\"\n"),
        "{text}"
    );
}

/// What is in the slot was never compared with what was signed.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_image_that_was_refused_nobody_says_that_the_slot_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("update.gz");
    let of_another = payload(MajorVersion::V1, &kernel(&ROOT_HASH.replace('0', "1")), None);
    std::fs::write(&path, of_another).unwrap();
    let mut scene = Scene::offering(&path).await;
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let failed = |overview: &Overview| overview.last_failure.0.is_some() && !overview.slots.is_empty();
    let overview = scene.overview(failed).await;
    assert_eq!(overview.last_failure.0.unwrap().code, 16);
    let slot = overview.slots.iter().find(|slot| slot.name == "USR-B").unwrap();
    assert_eq!(slot.version.as_deref(), None);
    assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
}
