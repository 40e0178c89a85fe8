//! The system calls by which a program changes files, in their order: recorded from the real
//! program, so that no write is missed because somebody forgot to report it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that changes a file, makes a change durable, says which file a descriptor means, or
/// tells a server something. A question mark: not every architecture has it.
const CALLS: &str = "trace=?open,openat,?creat,close,fcntl,dup,?dup2,dup3,\
    ?mkdir,mkdirat,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,?link,linkat,?symlink,symlinkat,\
    truncate,ftruncate,fallocate,write,writev,pwrite64,pwritev,pwritev2,mmap,\
    fsync,fdatasync,sync_file_range,sync,syncfs,copy_file_range,sendfile,splice,io_uring_setup,\
    sendto";

/// One call, as it was made.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    arguments: Vec<String>,
    /// What it returned; none if the program ended in it.
    pub(crate) result: Option<i64>,
}

/// A call goes in, has its effect some time, and comes out: calls of several threads overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Enter(usize),
    Exit(usize),
}

/// All calls of a program.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    pub(crate) steps: Vec<Step>,
}

/// A program under `strace`, whose calls will be in a file.
pub(crate) fn traced(program: &Path, log: &Path) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-y", "-xx", "--seccomp-bpf", "-s", "16777216"])
        .args(["-e", CALLS, "-e", "signal=none", "-o"])
        .arg(log)
        .arg("--")
        .arg(program);
    command
}

/// A call that fails.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) call: &'static str,
    /// On which file.
    pub(crate) path: PathBuf,
    /// `error=EIO`, or `retval=512`: so many bytes are claimed to be written, and are not.
    pub(crate) outcome: &'static str,
    /// The how manieth of a thread.
    pub(crate) nth: usize,
}

/// A program under `strace`, one call of which fails. Not recorded; the process that is started is
/// the program's.
pub(crate) fn faulted(program: &Path, fault: &Fault) -> Command {
    let Fault {
        call,
        path,
        outcome,
        nth,
    } = fault;
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "-P"])
        .arg(path)
        .arg("-e")
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:{outcome}:when={nth}"))
        .arg("--")
        .arg(program);
    command
}

/// The traced program's process, once it has made its first call.
pub(crate) fn process(log: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(log).ok()?;
    text.split_once(' ')?.0.parse().ok()
}

impl Trace {
    /// Reads what [`traced`] left.
    pub(crate) fn load(log: &Path) -> Self {
        let text = std::fs::read_to_string(log).expect("strace is installed and may trace");
        let mut trace = Self::default();
        let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
        for line in text.lines() {
            let (thread, call) = line.split_once(' ').unwrap();
            let call = call.trim_start();
            if call.starts_with("+++") || call.starts_with("---") {
                continue;
            }
            if let Some(rest) = call.strip_prefix("<... ") {
                let (index, head) = unfinished.remove(thread).unwrap();
                let (_, rest) = rest.split_once(" resumed>").unwrap();
                trace.calls[index] = Call::parse(&format!("{head}{rest}"));
                trace.steps.push(Step::Exit(index));
                continue;
            }
            let index = trace.calls.len();
            trace.steps.push(Step::Enter(index));
            if let Some(head) = call.strip_suffix("<unfinished ...>") {
                unfinished.insert(thread, (index, head));
                trace.calls.push(Call::parse(head));
            } else {
                trace.calls.push(Call::parse(call));
                trace.steps.push(Step::Exit(index));
            }
        }
        trace
    }
}

impl Call {
    fn parse(text: &str) -> Self {
        let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("{text}"));
        let (arguments, result) = match rest.rsplit_once(") = ") {
            Some((arguments, result)) => (arguments, Some(result)),
            // strace aligns short lines: `close(3)                = 0`.
            None => match rest.rsplit_once(" = ") {
                Some((arguments, result)) => (arguments.trim_end().trim_end_matches(')'), Some(result)),
                None => (rest, None),
            },
        };
        let number = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '-');
            text[..end.unwrap_or(text.len())].parse().ok()
        };
        Self {
            name: name.to_owned(),
            arguments: split(arguments),
            result: result.and_then(number),
        }
    }

    fn argument(&self, nth: usize) -> &str {
        self.arguments.get(nth).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, nth: usize) -> usize {
        let text = self.argument(nth);
        text.parse().unwrap_or_else(|_| panic!("{}: {text}", self.name))
    }

    /// A descriptor. A program's file and standard streams alike.
    pub(crate) fn descriptor(&self, nth: usize) -> usize {
        let text = self.argument(nth);
        let number = text.split('<').next().unwrap_or_default();
        number.parse().unwrap_or_else(|_| panic!("{}: {text}", self.name))
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let decoded = self.arguments.iter().map(|argument| {
            let text = String::from_utf8_lossy(&unescape(argument)).into_owned();
            if argument.starts_with('"') && argument.len() > 400 {
                "…".to_owned()
            } else {
                text
            }
        });
        format!("{}({})", self.name, decoded.collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn has_flag(&self, nth: usize, flag: &str) -> bool {
        self.argument(nth).split('|').any(|given| given == flag)
    }

    /// A string: a path, or what is written.
    pub(crate) fn bytes(&self, nth: usize) -> Vec<u8> {
        let text = self.argument(nth);
        let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let inside = inside.unwrap_or_else(|| panic!("{}: {text} is no whole string", self.name));
        unescape(inside)
    }

    /// Whether there is no descriptor at all.
    pub(crate) fn is_anonymous(&self, nth: usize) -> bool {
        self.argument(nth) == "-1"
    }

    /// Whether any argument, be it a string or a descriptor, is of a path that begins so.
    pub(crate) fn mentions(&self, path: &str) -> bool {
        use std::fmt::Write as _;
        let mut escaped = String::new();
        for byte in path.bytes() {
            write!(escaped, "\\x{byte:02x}").unwrap();
        }
        self.arguments.iter().any(|argument| argument.contains(&escaped))
    }

    /// A path from the directory of a descriptor, which `strace` names beside it.
    pub(crate) fn path_at(&self, directory: usize, nth: usize) -> String {
        let path = self.path(nth);
        if path.starts_with('/') {
            return path;
        }
        let named = self.argument(directory);
        let inside = named.split_once('<').and_then(|(_, name)| name.strip_suffix('>'));
        let directory = inside.unwrap_or_else(|| panic!("{}: {named} is no directory", self.name));
        format!("{}/{path}", String::from_utf8(unescape(directory)).unwrap())
    }

    pub(crate) fn path(&self, nth: usize) -> String {
        String::from_utf8(self.bytes(nth)).unwrap()
    }
}

/// Arguments are separated by commas; those within braces are one argument's own. Strings and paths
/// are all hexadecimal digits.
fn split(arguments: &str) -> Vec<String> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(arguments[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(arguments[start..].trim().to_owned());
    parts
}

/// Replaces `\x2f` by a slash, and so on.
fn unescape(text: &str) -> Vec<u8> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
            .unwrap()
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        if let (b'\\', [b'x', high, low, others @ ..]) = (first, others) {
            bytes.push(digit(*high) << 4 | digit(*low));
            rest = others;
        } else {
            bytes.push(*first);
        }
    }
    bytes
}
