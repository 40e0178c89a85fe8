//! The description of a payload as text.

use std::fmt;

use super::{Android, ContentDescription, ImageDescription, Inspection, Sum};

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            Some(size) => write!(f, "{size} bytes, ")?,
            None => f.write_str("of unknown size, ")?,
        }
        match self.sha256.as_deref() {
            Some(sha256) if !sha256.is_empty() => write!(f, "SHA-256 {sha256}"),
            _ => f.write_str("no hash"),
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.delta { "delta" } else { "full" };
        write!(
            f,
            "{}: {kind} payload of {} bytes, version {}",
            self.file, self.payload_size, self.version
        )?;
        if let Some(minor) = self.minor_version {
            write!(f, ".{minor}")?;
        }
        writeln!(f, ", blocks of {}", self.block_size)?;
        if self.file_size != self.payload_size {
            writeln!(
                f,
                "the file has {} bytes: it is cut off or has something appended",
                self.file_size
            )?;
        }
        writeln!(
            f,
            "metadata: {} bytes, SHA-256 {}",
            self.metadata_size, self.metadata_sha256
        )?;
        if self.metadata_signatures_size > 0 {
            let size = self.metadata_signatures_size;
            writeln!(f, "  signed: {size} bytes of signatures, not checked here")?;
        }
        if self.images.is_empty() {
            writeln!(f, "it builds nothing")?;
        }
        self.images.iter().try_for_each(|image| image.fmt(f))?;
        self.android.fmt(f)?;
        if !self.unknown_fields.is_empty() {
            let fields: Vec<_> = self.unknown_fields.iter().map(u64::to_string).collect();
            writeln!(f, "fields without a known meaning: {}", fields.join(", "))?;
        }
        match self.signatures_size {
            0 => writeln!(f, "not signed")?,
            size => writeln!(f, "signed: {size} bytes of signatures, not checked here")?,
        }
        self.refused
            .iter()
            .try_for_each(|why| writeln!(f, "every node refuses it: {why}"))?;
        // Behind a full payload of the same offer: alone it serves nobody.
        if self.refused.is_empty() && self.images.iter().any(|image| image.content.is_some()) {
            writeln!(
                f,
                "taken only by nodes with CONTENT_PAYLOADS=on, beside a full payload"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ImageDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.new {
            Some(new) => writeln!(f, "{}: {new}", self.kind)?,
            None => writeln!(f, "{}: of unknown size, no hash", self.kind)?,
        }
        if let Some(old) = &self.old {
            writeln!(f, "  from: {old}")?;
        }
        if let Some(content) = &self.content {
            let encoders = match content.encoders.as_slice() {
                [] => "as they are".to_owned(),
                encoders => format!("as they are or by {}", encoders.join(", ")),
            };
            let ContentDescription { chunks, segments, .. } = content;
            let size = self.data_size;
            writeln!(
                f,
                "  by: {chunks} chunks of content, {size} bytes of data; {segments} segments of it, {encoders}"
            )?;
            if content.predecessors > 0 {
                writeln!(f, "  or: patches of {} old image(s)", content.predecessors)?;
            }
            return match content.hash_tree_of {
                Some(blocks) => writeln!(f, "  and: the hash tree of {blocks} blocks, computed"),
                None => Ok(()),
            };
        }
        if let Some(start) = self.content_start {
            return writeln!(f, "  by: the slot's content from byte {start} on");
        }
        let counts: Vec<_> = self
            .operations
            .iter()
            .map(|(kind, n)| format!("{n} {kind}"))
            .collect();
        let counts = match counts.as_slice() {
            [] => "no operations".to_owned(),
            counts => counts.join(", "),
        };
        writeln!(f, "  by: {counts}; {} bytes of data", self.data_size)?;
        if !self.extras.is_empty() {
            writeln!(f, "  beside: {}", self.extras.join(", "))?;
        }
        match &self.target {
            Some(setting) => writeln!(f, "  only for nodes whose configuration has {setting}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Android {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.dynamic_groups {
            let size = group
                .size
                .map_or_else(String::new, |size| format!(" of {size} bytes"));
            let names: Vec<_> = group
                .partitions
                .iter()
                .map(|name| name.escape_debug().to_string())
                .collect();
            let (name, names) = (group.name.escape_debug(), names.join(", "));
            writeln!(f, "dynamic partitions {name}{size}: {names}")?;
        }
        if let Some(time) = self.max_timestamp {
            writeln!(f, "for builds up to: {time} seconds since 1970")?;
        }
        if let Some(level) = &self.security_patch_level {
            writeln!(f, "security patches: {}", level.escape_debug())?;
        }
        if self.partial {
            writeln!(f, "partial: partitions that it doesn't name stay as they are")?;
        }
        if self.apexes > 0 {
            writeln!(f, "names {} APEX packages", self.apexes)?;
        }
        Ok(())
    }
}
