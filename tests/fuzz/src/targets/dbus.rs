//! Calls over D-Bus, on the socket that needs no bus: paths, interfaces, members, signatures and
//! arguments of any kind.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use update_engine::bus::serve_peer;
use update_engine::status::{Command, CommandRefusal, SnapshotSender, Status, WaitingSlot};

use super::scratch;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "dbus",
    property: "Each whole call has one answer; the engine is told exactly the commands of calls that match a \
               method in path, interface, name, types and values; after bytes that are no message others are \
               served as before.",
    check,
};

const PATHS: [&str; 5] = [
    "/com/coreos/update1",
    "/org/updateengine/Engine1",
    "/org/updateengine/Engine1/Diagnostics",
    "/",
    "/other",
];
const MANAGER: &str = "com.coreos.update1.Manager";
const ENGINE: &str = "org.updateengine.Engine1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const PEER: &str = "org.freedesktop.DBus.Peer";
const INTERFACES: [&str; 6] = [
    MANAGER,
    ENGINE,
    PROPERTIES,
    PEER,
    "org.freedesktop.DBus.Introspectable",
    "a.b",
];
const MEMBERS: [&str; 18] = [
    "AttemptUpdate",
    "ResetStatus",
    "GetStatus",
    "Check",
    "Preview",
    "PreviewAsking",
    "Reset",
    "Activate",
    "RollBack",
    "Cancel",
    "MarkGood",
    "Get",
    "GetAll",
    "Set",
    "Ping",
    "GetMachineId",
    "Introspect",
    "Other",
];
const SIGNATURES: [&str; 9] = ["", "b", "s", "ss", "ssv", "v", "ay", "a{sv}", "bb"];

/// On a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(8);

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let service = service();
    let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
    if input.byte() > 250 {
        service.garble(input.rest());
        return;
    }
    for _ in 0..=input.below(3) {
        let call = CallDraft::any(&mut input);
        let (answers, mut told) = service.call(&call);
        if bug.strikes(call.signature == "b" && call.body.first() == Some(&1) && !told.is_empty()) {
            told.push("twice");
        }
        let is_silent = call.flags & 1 == 1;
        assert_eq!(answers, usize::from(!is_silent), "{call:?}");
        assert_eq!(told, call.commands(), "{call:?}");
    }
}

/// A method call.
#[derive(Debug)]
struct CallDraft {
    path: &'static str,
    interface: Option<&'static str>,
    member: &'static str,
    signature: &'static str,
    flags: u8,
    body: Vec<u8>,
}

impl CallDraft {
    fn any(input: &mut Input<'_>) -> Self {
        let mut call = Self {
            path: *input.one_of(&PATHS),
            interface: (input.byte() < 200).then(|| *input.one_of(&INTERFACES)),
            member: *input.one_of(&MEMBERS),
            signature: *input.one_of(&SIGNATURES),
            flags: input.byte() & 0b101,
            body: Vec::new(),
        };
        if !call.signature.is_empty() {
            call.body = if input.is_odd() {
                input.list().to_vec()
            } else {
                body(call.signature, input)
            };
        }
        call
    }

    /// What the engine is to be told.
    fn commands(&self) -> Vec<&'static str> {
        let is = |path, interface: &str| {
            self.path == path && self.interface.is_none_or(|given| given == interface)
        };
        let truth =
            (self.body.len() == 4).then(|| u32::from_le_bytes(std::array::from_fn(|at| self.body[at])));
        let found = match (self.member, self.signature) {
            ("AttemptUpdate", "") if is(PATHS[0], MANAGER) => "attempt",
            ("ResetStatus", "") if is(PATHS[0], MANAGER) => "reset status",
            ("GetStatus", "") if is(PATHS[0], MANAGER) => "status",
            ("Check", "") if is(PATHS[1], ENGINE) => "attempt",
            ("Preview" | "PreviewAsking", "") if is(PATHS[1], ENGINE) => "preview",
            ("Activate", "") if is(PATHS[1], ENGINE) => "activate",
            ("RollBack", "") if is(PATHS[1], ENGINE) => "roll back",
            ("Cancel", "") if is(PATHS[1], ENGINE) => "cancel",
            ("MarkGood", "") if is(PATHS[1], ENGINE) => "mark good",
            ("Reset", "b") if is(PATHS[1], ENGINE) => match truth {
                Some(0) => "keep",
                Some(1) => "withdraw",
                _ => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        vec![found]
    }

    fn message(&self, serial: u32) -> Vec<u8> {
        let mut fields = Vec::new();
        field(&mut fields, 1, "o", self.path);
        if let Some(interface) = self.interface {
            field(&mut fields, 2, "s", interface);
        }
        field(&mut fields, 3, "s", self.member);
        if !self.signature.is_empty() {
            align(&mut fields, 8);
            fields.extend([8, 1, b'g', 0, u8::try_from(self.signature.len()).unwrap_or(0)]);
            fields.extend(self.signature.as_bytes());
            fields.push(0);
        }
        let mut message = vec![b'l', 1, self.flags, 1];
        for number in [
            self.body.len(),
            usize::try_from(serial).unwrap_or(0),
            fields.len(),
        ] {
            message.extend(u32::try_from(number).unwrap_or(0).to_le_bytes());
        }
        message.extend(fields);
        align(&mut message, 8);
        message.extend(&self.body);
        message
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn field(fields: &mut Vec<u8>, code: u8, kind: &str, value: &str) {
    align(fields, 8);
    fields.extend([code, 1, kind.as_bytes()[0], 0]);
    string(fields, value);
}

fn string(bytes: &mut Vec<u8>, value: &str) {
    align(bytes, 4);
    bytes.extend(u32::try_from(value.len()).unwrap_or(0).to_le_bytes());
    bytes.extend(value.as_bytes());
    bytes.push(0);
}

/// Values of these types.
fn body(signature: &str, input: &mut Input<'_>) -> Vec<u8> {
    const TEXTS: [&str; 5] = [ENGINE, MANAGER, "", "State", "CurrentOperation"];
    let mut bytes = Vec::new();
    for kind in signature.chars() {
        match kind {
            'b' => bytes.extend(u32::from(input.byte() % 3).to_le_bytes()),
            's' => {
                let text = input.text().replace('\0', "");
                let text = if text.is_empty() {
                    *input.one_of(&TEXTS)
                } else {
                    &text
                };
                string(&mut bytes, text);
            }
            'v' => {
                // A variant in a variant in a variant, or a text.
                for _ in 0..input.byte() {
                    bytes.extend([1, b'v', 0]);
                }
                bytes.extend([1, b's', 0]);
                string(&mut bytes, "deep");
            }
            _ => bytes.extend(input.list()),
        }
    }
    bytes
}

/// The service, and a connection to it.
struct Service {
    stream: UnixStream,
    serial: u32,
    told: Receiver<&'static str>,
}

impl Service {
    /// Makes a call; the number of its answers, and what the engine was told.
    fn call(&mut self, call: &CallDraft) -> (usize, Vec<&'static str>) {
        self.serial += 2;
        let ping = CallDraft {
            path: "/",
            interface: Some(PEER),
            member: "Ping",
            signature: "",
            flags: 0,
            body: Vec::new(),
        };
        let serial = self.serial;
        let is_silent = call.flags & 1 == 1;
        let expects = usize::from(!call.commands().is_empty());
        let mut messages = call.message(serial);
        messages.extend(ping.message(serial + 1));
        self.stream.write_all(&messages).expect("a connection");
        let (mut answers, mut has_pong) = (0, false);
        let mut told = Vec::new();
        // A call without an answer may be carried out after the ping has its own.
        while !has_pong || (answers == 0 && !is_silent) {
            let answered = self.read().expect("an answer in time");
            answers += usize::from(answered == Some(serial));
            has_pong |= answered == Some(serial + 1);
        }
        while told.len() < expects {
            match self.told.recv_timeout(PATIENCE) {
                Ok(command) => told.push(command),
                Err(_) => break,
            }
        }
        told.extend(self.told.try_iter());
        (answers, told)
    }

    /// Reads one message; the call that it answers, if it is an answer.
    fn read(&mut self) -> io::Result<Option<u32>> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let [body, fields] = [number(4), number(12)].map(|len| usize::try_from(len).unwrap_or(0));
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        if !matches!(head[1], 2 | 3) {
            return Ok(None);
        }
        // The field 5, of type `u`, is found by its own bytes: texts of answers hold no such bytes.
        let mut places = rest[..fields].windows(8).step_by(4);
        let found = places.find(|bytes| bytes.starts_with(&[5, 1, b'u', 0]));
        Ok(found.map(|bytes| u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])))
    }

    /// Sends bytes on a connection of their own; the next call is answered all the same.
    fn garble(&mut self, bytes: &[u8]) {
        // The library sets aside what a header claims, up to 128 MiB (docs/security.md): that takes
        // all the time of a run, and shows nothing new.
        let claims = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|high| high != [0, 0]);
        let is_large = match bytes.first() {
            Some(b'l') => claims(6..8) || claims(14..16),
            _ => claims(4..6) || claims(12..14),
        };
        if is_large {
            return;
        }
        if let Ok(mut stream) = connect() {
            let _ = stream.write_all(bytes);
        }
        let status = CallDraft {
            path: PATHS[0],
            interface: None,
            member: "GetStatus",
            signature: "",
            flags: 0,
            body: Vec::new(),
        };
        let (answers, told) = self.call(&status);
        assert_eq!((answers, told.last()), (1, Some(&"status")));
    }
}

fn path() -> std::path::PathBuf {
    scratch::directory().join("bus")
}

/// Connects and says who we are.
fn connect() -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
    let mut lines = 0;
    let mut byte = [0];
    while lines < 2 {
        stream.read_exact(&mut byte)?;
        lines += usize::from(byte[0] == b'\n');
    }
    Ok(stream)
}

fn service() -> &'static Mutex<Service> {
    static SERVICE: OnceLock<Mutex<Service>> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let (tell, told) = channel();
        let (ready, is_ready) = channel();
        thread::spawn(move || serve(tell, &ready));
        is_ready.recv().expect("a service");
        Mutex::new(Service {
            stream: connect().expect("a connection"),
            serial: 1,
            told,
        })
    })
}

/// Serves for ever, with an engine that does what it is told at once.
fn serve(tell: Sender<&'static str>, ready: &Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async move {
        let (commands, mut incoming) = tokio::sync::mpsc::channel(4);
        let (_sender, receiver) = SnapshotSender::new();
        let _service = serve_peer(&path(), commands, receiver).await.expect("a socket");
        ready.send(()).expect("somebody waits");
        while let Some(command) = incoming.recv().await {
            // Before the answer: who has that finds it told.
            let _ = tell.send(word(&command));
            carry_out(command);
        }
    });
}

fn word(command: &Command) -> &'static str {
    match command {
        Command::AttemptUpdate(_) => "attempt",
        Command::ResetStatus(_) => "reset status",
        Command::Withdraw(WaitingSlot::Kept, _) => "keep",
        Command::Withdraw(WaitingSlot::Unbootable, _) => "withdraw",
        Command::Activate(_) => "activate",
        Command::RollBack(_) => "roll back",
        Command::MarkGood(_) => "mark good",
        Command::Cancel(_) => "cancel",
        Command::Preview(..) => "preview",
        Command::GetStatus(_) => "status",
    }
}

/// Whoever asked may be gone.
fn carry_out(command: Command) {
    match command {
        Command::AttemptUpdate(reply) => drop(reply.send(())),
        Command::ResetStatus(reply) => drop(reply.send(true)),
        Command::Withdraw(_, reply)
        | Command::Activate(reply)
        | Command::RollBack(reply)
        | Command::MarkGood(reply)
        | Command::Cancel(reply) => drop(reply.send(Ok(()))),
        Command::Preview(_, reply) => drop(reply.send(Err(CommandRefusal::NotNow(String::new())))),
        Command::GetStatus(reply) => drop(reply.send(Status::default())),
    }
}
