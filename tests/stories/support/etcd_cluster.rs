//! A real etcd of several members, which clients reach by TLS and with a certificate only.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use test_support::certificates::Authority;
use test_support::etcd::{free_port, is_there};
use test_support::logging_server::Speaking;

/// Its running members, empty at first; they end with the test.
pub struct EtcdCluster {
    members: Vec<Speaking>,
    urls: Vec<String>,
    authority: Authority,
    _directory: TempDir,
}

impl EtcdCluster {
    /// Starts so many members, with or without locksmith's API; none if [there is no etcd](is_there).
    pub fn start(members: usize, v2: bool) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let authority = Authority::new();
        let directory = TempDir::new().unwrap();
        let urls = |scheme: &str| -> Vec<String> {
            let url = |_| format!("{scheme}://127.0.0.1:{}", free_port());
            (0..members).map(url).collect()
        };
        let (urls, peers) = (urls("https"), urls("http"));
        let cluster: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(at, peer)| format!("m{at}={peer}"))
            .collect();
        let commands = (0..members).map(|at| {
            let mut command = command(&authority, &directory.path().join(format!("m{at}")), v2);
            command.args(["--name", &format!("m{at}")]);
            command.args(["--initial-cluster", &cluster.join(",")]);
            for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
                command.args([flag, &peers[at]]);
            }
            for flag in ["--listen-client-urls", "--advertise-client-urls"] {
                command.args([flag, &urls[at]]);
            }
            command
        });
        // Together: none serves before most are there. In 3.4 "serving client requests on", in 3.5
        // "serving client traffic securely".
        let starting: Vec<_> = commands
            .map(|mut command| std::thread::spawn(move || Speaking::start(&mut command, "serving client")))
            .collect();
        let started = starting.into_iter().map(|thread| {
            let (process, line) = thread.join().unwrap();
            line.expect("etcd serves");
            process
        });
        Some(Self {
            members: started.collect(),
            urls,
            authority,
            _directory: directory,
        })
    }

    /// Where its members are, separated by commas.
    pub fn urls(&self) -> String {
        self.urls.join(",")
    }

    /// Its authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Sends a request of its clients to its first member, as it is; its answer must be a good one.
    pub fn ask(&self, request: &str) {
        let address = self.urls[0].strip_prefix("https://").unwrap();
        let (certificate, key) = self.authority.client();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-no_ign_eof", "-connect", address]);
        command.arg("-cert").arg(certificate).arg("-key").arg(key);
        command.arg("-CAfile").arg(self.authority.certificate());
        let process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = process.unwrap();
        let mut input = process.stdin.take().unwrap();
        input.write_all(request.as_bytes()).unwrap();
        let answer = process.wait_with_output().unwrap().stdout;
        drop(input);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 20"), "{request}\n{answer}");
    }

    /// The first member that is left dies.
    pub fn lose_a_member(&mut self) {
        self.members.remove(0);
    }
}

fn command(authority: &Authority, directory: &Path, v2: bool) -> Command {
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(directory);
    command.arg(format!("--enable-v2={v2}"));
    let (certificate, key) = authority.server();
    command.arg("--cert-file").arg(certificate);
    command.arg("--key-file").arg(key);
    command.arg("--client-cert-auth");
    command.arg("--trusted-ca-file").arg(authority.certificate());
    if cfg!(target_arch = "aarch64") {
        command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
    }
    command
}
