//! Web servers, caches and proxies as sites run them: Debian's programs, each with a configuration
//! of its own, on loopback.
//!
//! They run in the foreground in a temporary directory, as the user who runs the tests, or as
//! `nobody` if that is root: some refuse to run as root.

use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::foreground_server::{Listening, free_place, until};
use test_support::bus::NOBODY_UID;

/// What a server is to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has the payload, and hands checks on to the update server.
    Files,
    /// It is asked in place of the update server, and keeps what that one sends.
    Cache,
    /// The environment names it as the proxy for http.
    Proxy,
    /// The environment names it as the proxy for https: it leads to the update server by `CONNECT`.
    Tunnel,
}

/// What it answers when a node asks for the rest of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 206 and the rest.
    Rest,
    /// 200 and the whole file.
    Whole,
}

impl Answer {
    pub fn status(self) -> &'static str {
        match self {
            Self::Rest => "206",
            Self::Whole => "200",
        }
    }
}

/// One program in one role. In the texts stands `@DIR@` for its directory, `@NAME@` for a name that
/// no other has, `@HOST@` and `@PORT@` for where it listens, `@ORIGIN@` (`@ORIGIN_HOST@`,
/// `@ORIGIN_PORT@`) for the update server.
#[derive(Debug)]
pub struct Kind {
    pub role: Role,
    /// Its arguments, split at blanks.
    command: &'static str,
    /// What `@DIR@/config` holds.
    config: &'static [&'static str],
    /// What prints its log, one line `METHOD STATUS RANGE` a request.
    log: &'static str,
    /// For the rest of a file that it has. Of one that it hasn't, all of them answer with the rest.
    pub warm: Answer,
}

const ACCESS_LOG: &str = "cat @DIR@/access.log";

const NGINX: &str = "nginx -p @DIR@ -c @DIR@/config";
const LIGHTTPD: &str = "lighttpd -D -f @DIR@/config";
const APACHE: &str = "apache2 -D FOREGROUND -f @DIR@/config";
/// Under a name of its own: its shared memory is called so, and another Squid's would be cut.
const SQUID: &str = "squid -N -n @NAME@ -f @DIR@/config";
const VARNISH: &str = "varnishd -F -j none -n @DIR@/varnish -a @HOST@:@PORT@ -f @DIR@/config -s malloc,160m";
const HAPROXY: &str = "haproxy -db -f @DIR@/config";

/// A program that answers ranges with the rest, wherever it has the file from.
const fn kind(role: Role, command: &'static str, config: &'static [&'static str]) -> Kind {
    Kind {
        role,
        command,
        config,
        log: ACCESS_LOG,
        warm: Answer::Rest,
    }
}

const SQUID_CONF: &str = include_str!("http_servers/squid.conf");
const SQUID_PORT: &str = "http_port @HOST@:@PORT@\n";
/// In place of the update server, which it doesn't ask what else it has.
const SQUID_PARENT: &str = "http_port @HOST@:@PORT@ accel defaultsite=@ORIGIN@ no-vhost\n\
    cache_peer @ORIGIN_HOST@ parent @ORIGIN_PORT@ 0 no-query no-digest originserver\n";

pub const NGINX_FILES: Kind = kind(Role::Files, NGINX, &[include_str!("http_servers/nginx.conf")]);
pub const NGINX_CACHE: Kind = kind(
    Role::Cache,
    NGINX,
    &[include_str!("http_servers/nginx_cache.conf")],
);
pub const LIGHTTPD_FILES: Kind = kind(
    Role::Files,
    LIGHTTPD,
    &[include_str!("http_servers/lighttpd.conf")],
);
pub const APACHE_FILES: Kind = kind(Role::Files, APACHE, &[include_str!("http_servers/apache.conf")]);
pub const APACHE_CACHE: Kind = kind(
    Role::Cache,
    APACHE,
    &[include_str!("http_servers/apache_cache.conf")],
);
pub const SQUID_CACHE: Kind = kind(Role::Cache, SQUID, &[SQUID_CONF, SQUID_PARENT]);
pub const SQUID_PROXY: Kind = kind(Role::Proxy, SQUID, &[SQUID_CONF, SQUID_PORT]);
pub const SQUID_TUNNEL: Kind = kind(Role::Tunnel, SQUID, &[SQUID_CONF, SQUID_PORT]);
pub const VARNISH_CACHE: Kind = Kind {
    log: r"varnishncsa -n @DIR@/varnish -d -F %m\t%s\t%{Range}i",
    ..kind(Role::Cache, VARNISH, &[include_str!("http_servers/varnish.vcl")])
};
pub const HAPROXY_CACHE: Kind = Kind {
    log: "cat @DIR@/log",
    warm: Answer::Whole,
    ..kind(Role::Cache, HAPROXY, &[include_str!("http_servers/haproxy.cfg")])
};

/// A server that runs; killed when dropped.
pub struct HttpServer {
    process: Option<Listening>,
    kind: &'static Kind,
    place: SocketAddrV4,
    origin: SocketAddr,
    directory: TempDir,
}

impl HttpServer {
    /// At a free place.
    pub fn start(kind: &'static Kind, origin: SocketAddr, files: &[(&str, &[u8])]) -> Self {
        Self::start_at(free_place(), kind, origin, files)
    }

    /// Before the update server `origin`. Files are for those that have files.
    pub fn start_at(
        place: SocketAddrV4,
        kind: &'static Kind,
        origin: SocketAddr,
        files: &[(&str, &[u8])],
    ) -> Self {
        let mut server = Self {
            process: None,
            kind,
            place,
            origin,
            directory: TempDir::new().unwrap(),
        };
        for directory in ["www", "cache"] {
            fs::create_dir(server.path(directory)).unwrap();
        }
        for (name, content) in files.iter().filter(|_| kind.role == Role::Files) {
            fs::write(server.path("www").join(name), content).unwrap();
        }
        fs::write(server.path("config"), server.filled(&kind.config.concat())).unwrap();
        if nix::unistd::geteuid().is_root() {
            give_away(server.directory.path());
        }
        server.run();
        server
    }

    /// Ends it in the middle of whatever it does, and starts it anew, with all that it has on disk.
    pub fn crash(&mut self) {
        self.process.take().unwrap().kill();
        self.run();
    }

    /// `http://…/`
    pub fn url(&self) -> String {
        format!("http://{}/", self.place)
    }

    /// What it has logged: `METHOD STATUS RANGE` a line.
    pub fn log(&self) -> String {
        let output = self.command(self.kind.log).output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace('\t', " ")
    }

    /// Returns once it has logged such a line: some do so later than they answer.
    pub fn has_logged(&self, line: impl Fn(&str) -> bool) {
        let logs = || format!("it logs what it has answered: {}", self.log());
        until(logs, || self.log().lines().any(&line));
    }

    /// Returns once it has logged this line so often.
    pub fn has_logged_times(&self, line: &str, times: usize) {
        let found = || self.log().lines().filter(|logged| *logged == line).count();
        let logs = || format!("it logs {line:?} {times} times: {}", self.log());
        until(logs, || found() >= times);
        assert_eq!(found(), times, "{line:?}: {}", self.log());
    }

    fn run(&mut self) {
        let command = self.command(self.kind.command);
        self.process = Some(Listening::start(command, self.place, &self.path("log")));
    }

    fn command(&self, words: &str) -> Command {
        let mut words = words.split(' ').map(|word| self.filled(word));
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        // The tests' own may be one that others can't enter.
        command.current_dir(self.directory.path());
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY_UID).gid(NOBODY_UID);
        }
        command
    }

    fn filled(&self, text: &str) -> String {
        [
            ("@DIR@", self.directory.path().to_str().unwrap().to_owned()),
            ("@NAME@", self.name()),
            ("@HOST@", self.place.ip().to_string()),
            ("@PORT@", self.place.port().to_string()),
            ("@ORIGIN@", self.origin.to_string()),
            ("@ORIGIN_HOST@", self.origin.ip().to_string()),
            ("@ORIGIN_PORT@", self.origin.port().to_string()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }

    /// In letters and digits.
    fn name(&self) -> String {
        format!("test{}x{}", self.place.ip().to_bits(), self.place.port())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.process = None;
        // Shared memory stays when its maker is killed.
        let prefix = format!("{}-", self.name());
        for left in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if left.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_file(left.path());
            }
        }
    }
}

/// Makes all of it nobody's.
fn give_away(path: &Path) {
    chown(path, Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
    if path.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}
