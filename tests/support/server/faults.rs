//! What can go wrong, as URLs spell it: `name=value` or `name`, separated by commas.
//!
//! | fault | what happens |
//! |---|---|
//! | `hangup` | the connection is closed without an answer |
//! | `silence` | the connection is held without an answer |
//! | `status=N` | an answer with that status |
//! | `redirect=N` | N redirects, then the file |
//! | `redirect=loop`, `=http`, `=https`, `=away` | to itself, to another scheme, to another name of this host |
//! | `redirect=secret`, `=broken` | the same with a user, a password and a signed link; to a target that is no URL |
//! | `cut=N` | N bytes of the body, then the connection is closed |
//! | `stall=N` | N bytes of the body, then nothing, the connection stays |
//! | `hold=N` | nothing from byte N of the file on, wherever the answer begins; the connection stays |
//! | `gate=N` | pieces of N bytes, each when the test releases it |
//! | `no-range` | ranges are ignored: 200 and the whole file |
//! | `wrong-range` | a range that starts one byte later than asked for |
//! | `other-range` | the range that was asked for, by its header, and the bytes that begin one later |
//! | `range-goes-on` | a range that begins where it should, and the file's bytes to its end |
//! | `no-content-range` | a range, and nothing that says which |
//! | `no-etag` | no ETag |
//! | `other-etag` | the same file under another ETag |
//! | `changed` | another file of the same length, with another ETag |
//! | `longer=N`, `shorter=N` | a file that is N bytes longer or shorter |
//! | `chunked`, `close` | no Content-Length: chunks, or the connection's end |
//! | `encoding=NAME` | `Content-Encoding: NAME`, whatever the file is |
//! | `html-type` | `Content-Type: text/html` |

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(String, Option<String>)>);

impl Faults {
    /// The faults of the request that comes after `earlier` others.
    pub(super) fn of_request(list: &str, earlier: usize) -> Self {
        let entries: Vec<_> = list.split(';').collect();
        let entry = entries[earlier.min(entries.len() - 1)];
        let faults = entry.split(',').filter(|fault| !fault.is_empty());
        Self(
            faults
                .map(|fault| match fault.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (fault.to_owned(), None),
                })
                .collect(),
        )
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name)?.1.as_deref()
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.value(name).map(|value| value.parse().unwrap())
    }
}
