//! Answer of the server to a question, from types to XML. Pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use quick_xml::escape::escape;

use super::catalog::{Catalog, ServedPackage};
use super::question::{Ask, OmahaQuestion};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAnswer {
    /// The whole response.
    pub xml: String,
    /// The version offered in it, if an update is.
    pub offered: Option<String>,
}

impl ServerAnswer {
    /// Answers every ask in its order; packages lie at `codebase` (a URL that ends in `/`).
    #[must_use]
    pub fn to(question: &OmahaQuestion, catalog: Option<&Catalog>, codebase: &str) -> Self {
        let offer = catalog.filter(|catalog| catalog.is_for(&question.app.version));
        let mut offered = None;
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <response protocol=\"3.0\" server=\"update_payload\"><daystart elapsed_seconds=\"0\"></daystart>\
             <app appid=\"{}\" status=\"ok\">",
            escape(question.app.id.as_str())
        );
        for ask in &question.asks {
            match (ask, offer) {
                (Ask::Ping, _) => xml += "<ping status=\"ok\"></ping>",
                (Ask::Event(_), _) => xml += "<event status=\"ok\"></event>",
                (Ask::UpdateCheck, None) => xml += "<updatecheck status=\"noupdate\"></updatecheck>",
                (Ask::UpdateCheck, Some(catalog)) => {
                    xml += &update(catalog, codebase);
                    offered = Some(catalog.version().to_owned());
                }
            }
        }
        xml += "</app></response>\n";
        Self { xml, offered }
    }
}

fn update(catalog: &Catalog, codebase: &str) -> String {
    let mut xml = format!(
        "<updatecheck status=\"ok\"><urls><url codebase=\"{}\"></url></urls>\
         <manifest version=\"{}\"><packages>",
        escape(codebase),
        escape(catalog.version())
    );
    push_package(&mut xml, catalog.payload(), "true");
    for extra in catalog.extras() {
        push_package(&mut xml, extra, "false");
    }
    // The hash of the payload travels in base64, those of the packages in hexadecimal digits: that
    // is what the dialect's readers expect of each. Backing off is for a vendor's servers, not for
    // a site's.
    let delta = if catalog.is_delta() {
        " IsDeltaPayload=\"true\""
    } else {
        ""
    };
    let _ = write!(
        xml,
        "</packages><actions><action event=\"postinstall\" sha256=\"{}\"{delta} DisablePayloadBackoff=\"true\">\
         </action></actions></manifest></updatecheck>",
        BASE64.encode(catalog.payload().sha256.as_bytes())
    );
    xml
}

fn push_package(xml: &mut String, package: &ServedPackage, required: &str) {
    let _ = write!(
        xml,
        "<package name=\"{}\" hash=\"{}\" hash_sha256=\"{}\" size=\"{}\" required=\"{required}\"></package>",
        package.name,
        BASE64.encode(package.sha1),
        package.sha256,
        package.len,
    );
}
