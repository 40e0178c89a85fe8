//! What is asked of etcd's v2 API: locksmithctl's recorded requests, byte for byte.
//!
//! Three differences are meant. Reads are by quorum: a member that lags behind must not tell a holder that it still is one. A
//! lock that is there is not made first, which was refused each time. And headers that say who asks, and what is understood
//! of the answer (`User-Agent`, `Accept`, `Accept-Encoding`), are this client's own.

use std::path::PathBuf;

use super::manager::Machine;
use crate::support::http_message::{Message, ReplayServer};

const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/recordings/etcd/locksmithctl-v2"
);
const FIRST: &str = "11111111111111111111111111111111";
const SECOND: &str = "22222222222222222222222222222222";
/// The group of the recording that has everything in its name.
const GROUP: &str = "LOCKSMITHD_GROUP=a b/c+d%e&f=g?h#ü\n";

/// A recorded request and what it was answered.
struct Exchange {
    request: Message,
    answer: Vec<u8>,
}

/// All that was recorded of the command of this name.
fn recorded(command: &str) -> Vec<Exchange> {
    let suffix = format!("-{command}.request.http");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(RECORDED)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Two digits and a hyphen stand before it.
        .filter(|path| path.file_name().unwrap().to_str().unwrap().get(2..) == Some(&suffix))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{command}");
    let exchange = |path: PathBuf| {
        let answer = path.to_str().unwrap().replace(".request.", ".response.");
        let request = std::fs::File::open(&path).unwrap();
        Exchange {
            request: Message::read(&mut std::io::BufReader::new(request)).unwrap(),
            answer: std::fs::read(answer).unwrap(),
        }
    };
    paths.into_iter().map(exchange).collect()
}

/// What we are to ask where locksmithctl has asked `exchanges`, and what is answered.
fn ours(exchanges: Vec<Exchange>) -> (Vec<Message>, Vec<Vec<u8>>) {
    let missing = || recorded("get-missing-key").remove(0).answer;
    let mut exchanges = exchanges.into_iter();
    let making = exchanges.next().unwrap();
    assert!(making.request.subject().ends_with("?prevExist=false"));
    let reading: Vec<Exchange> = exchanges.collect();
    let is_made = making.answer.starts_with(b"HTTP/1.1 201 ");
    let mut expected = Vec::new();
    let mut answers = Vec::new();
    if is_made {
        // It is looked for first.
        expected.push(reading[0].request.clone());
        answers.push(missing());
        expected.push(making.request);
        answers.push(making.answer);
    }
    for Exchange { request, answer } in reading {
        expected.push(request);
        answers.push(answer);
    }
    for request in &mut expected {
        request.first_line = request.first_line.replace("quorum=false", "quorum=true");
    }
    (expected, answers)
}

fn without_our_own(mut request: Message) -> Message {
    for header in ["host", "user-agent", "accept", "accept-encoding"] {
        request.headers.remove(header);
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_asked_what_locksmithctl_asked_it() {
    let server = ReplayServer::start();
    let lines = format!(
        "REBOOT_STRATEGY=etcd-lock\nLOCKSMITHD_ENDPOINT={}\n",
        server.url()
    );
    let machine = Machine::with('1', &lines).await;
    let told = |what: &str| format!("Error {what}\n");
    let (none, refused) = (String::new(), "locking: semaphore is at 0");
    let commands: [(&str, &[&str], String); 15] = [
        ("status-of-nothing", &["status"], none.clone()),
        ("lock", &["lock", FIRST], none.clone()),
        ("status", &["status"], none.clone()),
        ("lock-by-another", &["lock", SECOND], told(refused)),
        ("lock-again-by-the-holder", &["lock", FIRST], told(refused)),
        (
            "unlock-by-another",
            &["release", SECOND],
            told("unlocking: holder does not exist"),
        ),
        ("unlock", &["release", FIRST], none.clone()),
        (
            "unlock-again",
            &["release", FIRST],
            told("unlocking: holder does not exist"),
        ),
        ("set-max", &["set-max", "3"], none.clone()),
        ("lock-of-three", &["lock", FIRST], none.clone()),
        ("second-lock-of-three", &["lock", SECOND], none.clone()),
        ("set-max-below-the-holders", &["set-max", "1"], none.clone()),
        ("unlock-after-set-max", &["release", FIRST], none.clone()),
        ("group-odd-lock", &["lock", FIRST], none.clone()),
        ("group-odd-status", &["status"], none),
    ];
    let mut asked = 0;
    for (name, arguments, error) in commands {
        if name == "group-odd-lock" {
            machine.scene.configure(GROUP);
        }
        let (expected, answers) = ours(recorded(name));
        server.answer_with(answers);
        let (_, said, code) = machine.lock_command(arguments).await;
        let is_told = arguments == ["status"] || said == error;
        assert!(
            is_told && code == i32::from(!error.is_empty()),
            "{name}: {code} {said}"
        );
        let requests: Vec<_> = server.take_requests().into_iter().map(without_our_own).collect();
        let expected: Vec<_> = expected.into_iter().map(without_our_own).collect();
        assert_eq!(requests, expected, "{name}");
        asked += requests.len();
    }
    assert_eq!(asked, 27);
}
