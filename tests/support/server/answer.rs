//! Answers, good and bad.

use std::io::{self, Write};

use super::faults::Faults;
use super::gate::Gate;
use super::request::Recorded;

pub(super) struct Answer<'a> {
    pub(super) request: &'a Recorded,
    pub(super) faults: &'a Faults,
    pub(super) name: &'a str,
    pub(super) scheme: &'a str,
    pub(super) content: Option<Vec<u8>>,
}

impl Answer<'_> {
    pub(super) fn send(mut self, stream: &mut impl Write, gate: &Gate) -> io::Result<()> {
        if self.faults.has("hangup") {
            return Ok(());
        }
        if self.faults.has("silence") {
            gate.wait_for_the_end();
            return Ok(());
        }
        if let Some(location) = self.location() {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            );
        }
        if let Some(status) = self.faults.number("status") {
            return write!(
                stream,
                "HTTP/1.1 {status} Because\r\nContent-Length: 5\r\n\r\nfault"
            );
        }
        match self.content.take() {
            None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            Some(content) => self.send_file(&self.changed(content), stream, gate),
        }
    }

    fn location(&self) -> Option<String> {
        let host = self.request.header("host").unwrap_or_default();
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        let name = self.name;
        Some(match self.faults.value("redirect")? {
            "loop" => self.request.path.clone(),
            "http" | "https" => {
                let other = if self.scheme == "http" { "https" } else { "http" };
                format!("{other}://{host}/{name}")
            }
            "away" => format!("{}://localhost:{port}/{name}", self.scheme),
            "secret" => format!("{}://bob:geheim@localhost:{port}/{name}?sig=geheim", self.scheme),
            "broken" => format!("{}://bob:geheim@[/{name}?sig=geheim", self.scheme),
            "1" => format!("/{name}"),
            more => format!("/redirect={}/{name}", more.parse::<u32>().unwrap() - 1),
        })
    }

    fn changed(&self, mut content: Vec<u8>) -> Vec<u8> {
        if self.faults.has("changed") {
            for byte in &mut content {
                *byte = !*byte;
            }
        }
        let longer = content.len() + self.faults.number("longer").unwrap_or(0);
        content.resize(longer - self.faults.number("shorter").unwrap_or(0), b'+');
        content
    }

    fn etag(&self) -> Option<&'static str> {
        let other = self.faults.has("changed") || self.faults.has("other-etag");
        match (self.faults.has("no-etag"), other) {
            (true, _) => None,
            (false, true) => Some("\"v2\""),
            (false, false) => Some("\"v1\""),
        }
    }

    /// The first byte to send and the one after the last, when a range is asked for and given; the
    /// latter may lie anywhere.
    fn range(&self) -> Option<(usize, usize)> {
        let range = self.request.header("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        let end = match last {
            "" => usize::MAX,
            last => last.parse::<usize>().unwrap() + 1,
        };
        let same = match self.request.header("if-range") {
            Some(tag) => Some(tag) == self.etag(),
            None => true,
        };
        (same && !self.faults.has("no-range")).then(|| (first.parse().unwrap(), end))
    }

    fn send_file(&self, content: &[u8], stream: &mut impl Write, gate: &Gate) -> io::Result<()> {
        let total = content.len();
        let (first, body) = match self.range() {
            None => {
                write!(stream, "HTTP/1.1 200 OK\r\n")?;
                (0, content)
            }
            Some((first, _)) if first >= total => {
                let range = format!("Content-Range: bytes */{total}");
                return write!(stream, "HTTP/1.1 416 No\r\n{range}\r\nContent-Length: 0\r\n\r\n");
            }
            Some((first, end)) => {
                let (first, end) = (
                    first + usize::from(self.faults.has("wrong-range")),
                    end.min(total),
                );
                write!(stream, "HTTP/1.1 206 Partial Content\r\n")?;
                if !self.faults.has("no-content-range") {
                    write!(stream, "Content-Range: bytes {first}-{}/{total}\r\n", end - 1)?;
                }
                if self.faults.has("range-goes-on") {
                    (first, &content[first..])
                } else if self.faults.has("other-range") && end < total {
                    (first, &content[first + 1..=end])
                } else {
                    (first, &content[first..end])
                }
            }
        };
        self.send_headers(body.len(), stream)?;
        self.send_body(body, first, stream, gate)
    }

    fn send_headers(&self, length: usize, stream: &mut impl Write) -> io::Result<()> {
        if let Some(etag) = self.etag() {
            write!(stream, "ETag: {etag}\r\n")?;
        }
        if !self.faults.has("no-range") {
            // Without it, nginx's cache answers no range.
            write!(stream, "Accept-Ranges: bytes\r\n")?;
        }
        if let Some(encoding) = self.faults.value("encoding") {
            write!(stream, "Content-Encoding: {encoding}\r\n")?;
        }
        if self.faults.has("html-type") {
            write!(stream, "Content-Type: text/html; charset=utf-8\r\n")?;
        }
        match (self.faults.has("chunked"), self.faults.has("close")) {
            (true, _) => write!(stream, "Transfer-Encoding: chunked\r\n\r\n"),
            (false, true) => write!(stream, "Connection: close\r\n\r\n"),
            (false, false) => write!(stream, "Content-Length: {length}\r\n\r\n"),
        }
    }

    /// Sends `body`, the file's bytes from `first` on.
    fn send_body(&self, body: &[u8], first: usize, stream: &mut impl Write, gate: &Gate) -> io::Result<()> {
        let hold = self.faults.number("hold").map(|at| at.saturating_sub(first));
        let stop = self.faults.number("cut").or(self.faults.number("stall")).or(hold);
        let sent = &body[..stop.unwrap_or(body.len()).min(body.len())];
        for piece in sent.chunks(self.faults.number("gate").unwrap_or(64 * 1024)) {
            if self.faults.has("gate") {
                gate.pass();
            }
            self.send_piece(piece, stream)?;
        }
        if self.faults.has("stall") || self.faults.has("hold") {
            gate.wait_for_the_end();
        }
        // A body that was cut has no last chunk.
        if self.faults.has("chunked") && !self.faults.has("cut") {
            stream.write_all(b"0\r\n\r\n")?;
        }
        stream.flush()
    }

    fn send_piece(&self, piece: &[u8], stream: &mut impl Write) -> io::Result<()> {
        if self.faults.has("chunked") {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
        } else {
            stream.write_all(piece)?;
        }
        stream.flush()
    }
}
