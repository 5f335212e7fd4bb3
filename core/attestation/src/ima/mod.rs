//! Linux IMA measurement lists: parsing, replay, and what each entry says.
//!
//! Both forms of the kernel are read: `ascii_runtime_measurements` and `binary_runtime_measurements`, the latter in the
//! little-endian order of every platform we know. An entry's template hash is recomputed from its data, so that what is
//! believed of an entry is what the TPM was given. Anything that is not exactly a list is an error that names the entry.

mod ascii;
pub mod builder;
mod error;
mod replay;
mod report;
mod template;

pub use error::{ImaError, Position};
pub use replay::{ImaReplay, TemplateHashing};
pub use report::{ImaEntrySummary, ImaReport};
pub use template::{Field, FieldId, FileDigest, Template};

use crate::cursor::{Cursor, Short};
use crate::event_log::PCR_COUNT;
use alcub3_crypto::{Digest, HashAlg};
use std::borrow::Cow;

/// Longest list accepted, in bytes: some 500,000 entries.
pub const MAX_LOG_BYTES: usize = 128 * 1024 * 1024;
/// Longest name of a template, in bytes; the kernel's own limit for a format is 255.
const MAX_TEMPLATE_NAME: usize = 255;
/// Longest data of one entry, in bytes: buffers (keys, device-mapper tables) and signatures.
const MAX_ENTRY_DATA: usize = 1024 * 1024;
/// Bytes of a name that people are shown.
const NAME_FOR_PEOPLE: usize = 256;
/// Bytes of the name in the first template's hash: IMA_EVENT_NAME_LEN_MAX and a zero.
const ORIGINAL_NAME_BYTES: usize = 256;

/// A measurement list.
#[derive(Debug, Clone)]
pub struct ImaLog<'a> {
    /// The binary form, whatever was handed in.
    bytes: Cow<'a, [u8]>,
    hash: HashAlg,
    spans: Vec<Span>,
}

/// Where an entry's parts are in the binary form.
#[derive(Debug, Clone, Copy)]
struct Span {
    at: usize,
    pcr: u8,
    template: Template,
    hash_at: usize,
    data: (usize, usize),
    /// The first two fields: every template has a digest and a name there.
    digest: (usize, usize),
    name: (usize, usize),
}

/// One entry of a list.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its number, from 0.
    pub index: usize,
    /// The PCR it was extended into.
    pub pcr: u8,
    /// Its template.
    pub template: Template,
    /// The hash over its data as the list states it; all zero for a violation.
    pub template_hash: &'a [u8],
    /// The data that the template hash covers, in the binary form.
    data: &'a [u8],
    /// Its first field.
    digest: &'a [u8],
    /// Its second field.
    name: &'a [u8],
}

impl<'a> ImaLog<'a> {
    /// Parses a whole list in either form, with template hashes of SHA-1, as the kernel's main files have them.
    ///
    /// # Errors
    /// Anything that is not exactly a list, see [`ImaError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImaError> {
        Self::parse_with(bytes, HashAlg::Sha1)
    }

    /// As [`Self::parse`], for the files of one bank (`ascii_runtime_measurements_sha256`), whose template hashes are of that
    /// algorithm.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with(bytes: &'a [u8], hash: HashAlg) -> Result<Self, ImaError> {
        if bytes.len() > MAX_LOG_BYTES {
            return Err(ImaError::TooLong {
                length: bytes.len(),
                limit: MAX_LOG_BYTES,
            });
        }
        let bytes = if ascii::looks_like(bytes) {
            Cow::Owned(ascii::to_binary(bytes, hash)?)
        } else {
            Cow::Borrowed(bytes)
        };
        let spans = read_spans(&bytes, hash)?;
        Ok(Self { bytes, hash, spans })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none: IMA measured nothing, or nobody told it to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The algorithm of the template hashes in the list.
    #[must_use]
    pub const fn template_hash_alg(&self) -> HashAlg {
        self.hash
    }

    /// The binary form from an entry on: what is left to send to who knows those before it.
    #[must_use]
    pub fn bytes_from(&self, entry: usize) -> &[u8] {
        let at = self.spans.get(entry).map_or(self.bytes.len(), |span| span.at);
        self.bytes.get(at..).unwrap_or_default()
    }

    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.spans.iter().enumerate().map(|(index, span)| {
            let part =
                |at: usize, length: usize| self.bytes.get(at..at.saturating_add(length)).unwrap_or_default();
            Entry {
                index,
                pcr: span.pcr,
                template: span.template,
                template_hash: part(span.hash_at, self.hash.size()),
                data: part(span.data.0, span.data.1),
                digest: part(span.digest.0, span.digest.1),
                name: part(span.name.0, span.name.1),
            }
        })
    }
}

fn read_spans(bytes: &[u8], hash: HashAlg) -> Result<Vec<Span>, ImaError> {
    let (mut cursor, mut spans) = (Cursor::new(bytes), Vec::new());
    while !cursor.is_empty() {
        let at = Position {
            entry: spans.len(),
            offset: cursor.offset(),
        };
        spans.push(read_span(&mut cursor, hash, at)?);
    }
    Ok(spans)
}

/// One entry: PCR, template hash, name, data (`ima_measurements_show` of the kernel).
fn read_span(cursor: &mut Cursor<'_>, hash: HashAlg, at: Position) -> Result<Span, ImaError> {
    let short = |field| {
        move |Short { needed, left }| ImaError::Truncated {
            at,
            field,
            needed,
            left,
        }
    };
    let pcr = cursor.u32_le().map_err(short("PCR"))?;
    let pcr = u8::try_from(pcr)
        .ok()
        .filter(|pcr| usize::from(*pcr) < PCR_COUNT)
        .ok_or(ImaError::Pcr { at, pcr })?;
    let hash_at = cursor.offset();
    cursor.take(hash.size()).map_err(short("template hash"))?;
    let name = sized(cursor, MAX_TEMPLATE_NAME, at, "template name")?;
    let template = Template::from_name(name).ok_or_else(|| ImaError::Template {
        at,
        name: String::from_utf8_lossy(name).into_owned(),
    })?;
    let start = if template.is_original() {
        // The first template's data has no length of its own: a SHA-1 or MD5 digest, and a name with its length.
        let start = cursor.offset();
        cursor.take(HashAlg::Sha1.size()).map_err(short("file digest"))?;
        sized(cursor, MAX_ENTRY_DATA, at, "file name")?;
        start
    } else {
        let data = sized(cursor, MAX_ENTRY_DATA, at, "template data")?;
        cursor.offset() - data.len()
    };
    let data = (start, cursor.offset() - start);
    let whole = cursor.since(start);
    let fields = template.split(whole).ok_or(ImaError::Fields { at, template })?;
    if !template.is_well_formed(&fields) {
        return Err(ImaError::Fields { at, template });
    }
    let [digest, name, ..] = fields.map(<[u8]>::len);
    // The first template's digest has no length in front of it.
    let digest_at = if template.is_original() { start } else { start + 4 };
    Ok(Span {
        at: at.offset,
        pcr,
        template,
        hash_at,
        data,
        digest: (digest_at, digest),
        name: (digest_at + digest + 4, name),
    })
}

/// A 32-bit little-endian length, and that many bytes.
fn sized<'a>(
    cursor: &mut Cursor<'a>,
    most: usize,
    at: Position,
    field: &'static str,
) -> Result<&'a [u8], ImaError> {
    let short = |Short { needed, left }| ImaError::Truncated {
        at,
        field,
        needed,
        left,
    };
    let length = cursor.u32_le().map_err(short)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > most {
        return Err(ImaError::Length {
            at,
            field,
            length,
            most,
        });
    }
    cursor.take(length).map_err(short)
}

impl<'a> Entry<'a> {
    /// The fields, in the template's order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        let split = self.template.split(self.data).unwrap_or_default();
        let ids = self.template.fields().iter().copied();
        ids.zip(split).map(|(id, bytes)| Field { id, bytes })
    }

    fn field(&self, wanted: &[FieldId]) -> Option<&'a [u8]> {
        let found = self.fields().find(|field| wanted.contains(&field.id))?;
        Some(found.bytes)
    }

    /// The digest of the file or buffer that was measured.
    #[must_use]
    pub fn file_digest(&self) -> Option<FileDigest<'a>> {
        let id = *self.template.fields().first()?;
        FileDigest::of(Field {
            id,
            bytes: self.digest,
        })
    }

    /// The file's path, or the name of what was measured: `boot_aggregate`, a key ring, `dm_table_load`.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.name.strip_suffix(&[0]).unwrap_or(self.name)
    }

    /// [`Self::name`] for people: cut, and without characters that would do something to a terminal or a log.
    #[must_use]
    pub fn name_for_people(&self) -> String {
        name_for_people(self.name())
    }

    /// The signature that the file carried, of the kernel's own form; empty where it had none.
    #[must_use]
    pub fn signature(&self) -> &'a [u8] {
        self.field(&[FieldId::Signature, FieldId::EvmSignature])
            .unwrap_or_default()
    }

    /// The buffer that was measured itself: a key, a device-mapper table, a command line.
    #[must_use]
    pub fn buffer(&self) -> Option<&'a [u8]> {
        self.field(&[FieldId::Buffer])
    }

    /// Whether the kernel could not vouch for what was measured, since it was open for writing: its digest means nothing.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        self.template_hash.iter().all(|byte| *byte == 0)
    }

    /// The template hash that follows from the data.
    #[must_use]
    pub fn computed_hash(&self, alg: HashAlg) -> Digest {
        if !self.template.is_original() {
            return alg.digest(&[self.data]);
        }
        // The first template hashes the digest and the name, the latter in a buffer of a fixed size.
        let mut padded = [0; ORIGINAL_NAME_BYTES];
        for (to, from) in padded.iter_mut().zip(self.name) {
            *to = *from;
        }
        alg.digest(&[self.digest, &padded])
    }
}

/// A name of whatever origin for people: cut, and without characters that would do something to a terminal or a log.
#[must_use]
pub fn name_for_people(name: &[u8]) -> String {
    let cut = name.get(..NAME_FOR_PEOPLE);
    let shown = String::from_utf8_lossy(cut.unwrap_or(name));
    let shown = shown.escape_debug();
    match cut {
        Some(_) => format!("{shown}…"),
        None => shown.to_string(),
    }
}
