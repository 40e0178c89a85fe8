//! Offers as small sites write them: one answer for whatever is asked.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// The answer of `flatcar-update`, and with an empty `version` that of kola's server: events and
/// pings get it too.
pub fn offer(version: &str, codebase: &str, payload: &Path) -> String {
    let payload = std::fs::read(payload).unwrap();
    let (sha1, sha256) = (
        BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &payload)),
        BASE64.encode(digest(&SHA256, &payload)),
    );
    let size = payload.len();
    format!(
        r#"<response protocol="3.0" server="flatcar-update"><daystart elapsed_seconds="0"></daystart>
<app appid="{{e96281a6-d1af-4bde-9a0a-97b76e56dc57}}" status="ok"><ping status="ok"></ping>
<updatecheck status="ok"><urls><url codebase="{codebase}"></url></urls>
<manifest version="{version}">
<packages>
<package name="flatcar_production_update.gz" hash="{sha1}"  size="{size}" required="true"></package>
</packages>
<actions><action event="postinstall" sha256="{sha256}" DisablePayloadBackoff="true"></action></actions></manifest>
</updatecheck><event status="ok"></event></app></response>"#
    )
}
