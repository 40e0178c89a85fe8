//! Answers of Omaha servers.

use std::fmt::Write as _;

use update_engine::omaha::{CheckAnswer, Reply, Response, downloads};

use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "omaha",
    property: "Any text in an offer's attributes arrives as it was written, or the offer is refused; sizes are \
               above 0, URLs at most 64; both readers of an answer agree.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let body = if input.is_odd() {
        input.rest().to_vec()
    } else {
        let answer = Answer::any(&mut input);
        written(&answer, bug);
        answer.xml().into_bytes()
    };
    let reply = Reply {
        is_web_page: input.is_odd(),
        body,
        ..Reply::default()
    };
    let packages = downloads(&reply.body);
    match reply.response() {
        Ok(Response {
            answer: CheckAnswer::Offer(offer),
            poll_interval,
        }) => {
            assert!(offer.size > 0);
            assert!((1..=64).contains(&offer.urls.len()));
            assert!(offer.metadata.is_none_or(|metadata| metadata.size > 0));
            assert!(poll_interval.is_none_or(|interval| !interval.is_zero()));
            for extra in &offer.extras {
                let size = extra.file().map_or(1, |(size, _)| size);
                assert!((1..=16 << 30).contains(&size), "{size}");
            }
            assert!(packages.is_ok(), "one reader takes what the other refuses");
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A text, mostly of characters that an offer may have and XML doesn't like.
fn text(input: &mut Input<'_>) -> String {
    const CHARACTERS: [char; 16] = [
        'a', 'z', '0', '.', '/', ':', ' ', '<', '>', '&', '"', '\'', ';', ']', 'é', '\u{202e}',
    ];
    if input.byte() > 230 {
        return input.text();
    }
    let bytes = input.list();
    bytes
        .iter()
        .map(|byte| CHARACTERS[usize::from(byte % 16)])
        .collect()
}

/// An offer.
struct Answer {
    version: String,
    package: String,
    codebases: Vec<String>,
    size: u64,
    is_delta: bool,
}

impl Answer {
    fn any(input: &mut Input<'_>) -> Self {
        Self {
            version: text(input),
            package: text(input),
            codebases: (0..input.byte() / 50).map(|_| text(input)).collect(),
            size: input.long() >> (input.byte() % 64),
            is_delta: input.is_odd(),
        }
    }

    fn xml(&self) -> String {
        let mut urls = String::new();
        for codebase in &self.codebases {
            let _ = write!(urls, "<url codebase=\"{}\"/>", escaped(codebase));
        }
        format!(
            "<?xml version=\"1.0\"?><response><app status='ok'><updatecheck status='ok'><urls>{urls}</urls>\
             <manifest version=\"{}\"><packages><package name=\"{}\" size='{}'/></packages><actions>\
             <action event='postinstall' sha256='dsemWyLpPl6R4+e1GzCmj+BwZTEWBfHtsxhaisQtezE=' IsDeltaPayload='{}'/>\
             </actions></manifest></updatecheck></app></response>",
            escaped(&self.version),
            escaped(&self.package),
            self.size,
            self.is_delta,
        )
    }
}

/// As an attribute's value between double quotes, nothing of which XML may change.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            'a'..='z' | ' ' | '.' | '/' | ':' => escaped.push(c),
            _ => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
        }
        escaped
    })
}

fn written(answer: &Answer, bug: Bug) {
    let Ok(Response {
        answer: CheckAnswer::Offer(mut offer),
        ..
    }) = Response::parse(answer.xml().as_bytes())
    else {
        // What XML can't hold, and what no offer may say.
        let texts = [&answer.version, &answer.package];
        let is_long = |text: &&String| text.len() > 1024;
        let is_odd = |text: &&String| {
            text.chars()
                .any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
        };
        let is_refused = texts.iter().any(|text| is_long(text) || is_odd(text))
            || answer.package.is_empty()
            || answer.codebases.is_empty()
            || answer.codebases.iter().any(|url| url.is_empty() || is_odd(&url))
            || !(1..=i64::MAX.unsigned_abs()).contains(&answer.size);
        assert!(is_refused, "refused: {}", answer.xml());
        return;
    };
    if bug.strikes(answer.codebases.len() > 1 && answer.version.contains('<')) {
        offer.version.pop();
    }
    assert_eq!(offer.version, answer.version);
    assert_eq!(offer.package, answer.package);
    assert_eq!(offer.size, answer.size);
    assert_eq!(offer.urls.len(), answer.codebases.len());
    for (url, codebase) in offer.urls.iter().zip(&answer.codebases) {
        let rest = url.strip_prefix(codebase.as_str()).expect("the codebase first");
        assert_eq!(
            rest.trim_start_matches('/'),
            answer.package.trim_start_matches('/')
        );
    }
}
