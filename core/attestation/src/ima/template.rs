//! The kernel's templates: which fields an entry has, and how each is encoded (`ima_template.c`, `ima_template_lib.c`).

use crate::cursor::Cursor;
use alcub3_crypto::HashAlg;

/// The most fields that a template has.
pub(super) const MAX_FIELDS: usize = 9;

/// A field of a template, by the kernel's identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldId {
    /// `d`: a SHA-1 or MD5 digest, 20 bytes.
    Digest,
    /// `d-ng`: the algorithm's name, a colon, a zero byte, the digest.
    DigestNg,
    /// `d-ngv2`: `ima` or `verity`, a colon, and then as [`Self::DigestNg`].
    DigestNgV2,
    /// `n`: a name of 255 bytes at most.
    Name,
    /// `n-ng`: a name that ends with a zero byte.
    NameNg,
    /// `sig`: the file's signature.
    Signature,
    /// `buf`: what was measured itself.
    Buffer,
    /// `d-modsig`: the digest without the appended signature.
    ModuleDigest,
    /// `modsig`: the appended signature.
    ModuleSignature,
    /// `evmsig`: the portable EVM signature.
    EvmSignature,
    /// `xattrnames`: names of the extended attributes that EVM protects.
    XattrNames,
    /// `xattrlengths`: their lengths, 32 bits each.
    XattrLengths,
    /// `xattrvalues`: their values.
    XattrValues,
    /// `iuid`: the owner.
    OwnerId,
    /// `igid`: the group.
    GroupId,
    /// `imode`: the mode.
    Mode,
}

/// How a field is written in the ascii form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A digest in hexadecimal, behind the parts in front of it.
    Digest,
    /// Text; with a zero byte at its end in the binary form, or without one.
    Text { zero: bool },
    /// Hexadecimal.
    Hex,
    /// A decimal number of so many bytes, little-endian in the binary form.
    Number { bytes: usize },
}

impl FieldId {
    pub(super) const fn form(self) -> Form {
        match self {
            Self::Digest | Self::DigestNg | Self::DigestNgV2 | Self::ModuleDigest => Form::Digest,
            Self::Name => Form::Text { zero: false },
            Self::NameNg | Self::XattrNames => Form::Text { zero: true },
            Self::Signature
            | Self::Buffer
            | Self::ModuleSignature
            | Self::EvmSignature
            | Self::XattrLengths
            | Self::XattrValues => Form::Hex,
            Self::OwnerId | Self::GroupId => Form::Number { bytes: 4 },
            Self::Mode => Form::Number { bytes: 2 },
        }
    }
}

/// A template of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Template {
    /// `ima`: d, n.
    Ima,
    /// `ima-ng`: d-ng, n-ng.
    ImaNg,
    /// `ima-ngv2`: d-ngv2, n-ng.
    ImaNgV2,
    /// `ima-sig`: d-ng, n-ng, sig.
    ImaSig,
    /// `ima-sigv2`: d-ngv2, n-ng, sig.
    ImaSigV2,
    /// `ima-buf`: d-ng, n-ng, buf.
    ImaBuf,
    /// `ima-modsig`: d-ng, n-ng, sig, d-modsig, modsig.
    ImaModsig,
    /// `evm-sig`: d-ng, n-ng, evmsig, xattrnames, xattrlengths, xattrvalues, iuid, igid, imode.
    EvmSig,
}

impl Template {
    /// All that are read.
    pub const ALL: [Self; 8] = [
        Self::Ima,
        Self::ImaNg,
        Self::ImaNgV2,
        Self::ImaSig,
        Self::ImaSigV2,
        Self::ImaBuf,
        Self::ImaModsig,
        Self::EvmSig,
    ];

    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ima => "ima",
            Self::ImaNg => "ima-ng",
            Self::ImaNgV2 => "ima-ngv2",
            Self::ImaSig => "ima-sig",
            Self::ImaSigV2 => "ima-sigv2",
            Self::ImaBuf => "ima-buf",
            Self::ImaModsig => "ima-modsig",
            Self::EvmSig => "evm-sig",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|template| template.name().as_bytes() == name)
    }

    /// Its fields, in order.
    #[must_use]
    pub const fn fields(self) -> &'static [FieldId] {
        use FieldId as F;
        match self {
            Self::Ima => &[F::Digest, F::Name],
            Self::ImaNg => &[F::DigestNg, F::NameNg],
            Self::ImaNgV2 => &[F::DigestNgV2, F::NameNg],
            Self::ImaSig => &[F::DigestNg, F::NameNg, F::Signature],
            Self::ImaSigV2 => &[F::DigestNgV2, F::NameNg, F::Signature],
            Self::ImaBuf => &[F::DigestNg, F::NameNg, F::Buffer],
            Self::ImaModsig => &[
                F::DigestNg,
                F::NameNg,
                F::Signature,
                F::ModuleDigest,
                F::ModuleSignature,
            ],
            Self::EvmSig => &[
                F::DigestNg,
                F::NameNg,
                F::EvmSignature,
                F::XattrNames,
                F::XattrLengths,
                F::XattrValues,
                F::OwnerId,
                F::GroupId,
                F::Mode,
            ],
        }
    }

    /// Whether it is the first template, whose data and hash are of a form of their own.
    #[must_use]
    pub const fn is_original(self) -> bool {
        matches!(self, Self::Ima)
    }

    /// The bytes of each field; unused places are empty. `None` unless the data is exactly the fields.
    pub(super) fn split(self, data: &[u8]) -> Option<[&[u8]; MAX_FIELDS]> {
        let (mut cursor, mut fields) = (Cursor::new(data), [&[][..]; MAX_FIELDS]);
        for (id, field) in self.fields().iter().zip(&mut fields) {
            *field = if *id == FieldId::Digest {
                cursor.take(HashAlg::Sha1.size()).ok()?
            } else {
                let length = usize::try_from(cursor.u32_le().ok()?).ok()?;
                cursor.take(length).ok()?
            };
        }
        cursor.is_empty().then_some(fields)
    }

    /// Whether each field is of its form: a digest names an algorithm, and a name ends where it says.
    pub(super) fn is_well_formed(self, fields: &[&[u8]; MAX_FIELDS]) -> bool {
        self.fields().iter().zip(fields).all(|(id, bytes)| {
            let field = Field { id: *id, bytes };
            match id.form() {
                // Without an appended signature there is no digest without it.
                Form::Digest => {
                    FileDigest::of(field).is_some() || *id == FieldId::ModuleDigest && bytes.is_empty()
                }
                Form::Text { zero: true } => matches!(bytes, [text @ .., 0] if !text.contains(&0)),
                Form::Text { zero: false } => !bytes.contains(&0) && bytes.len() <= 255,
                Form::Hex => true,
                Form::Number { bytes: size } => bytes.len() == size,
            }
        })
    }
}

/// One field of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which.
    pub id: FieldId,
    /// Its bytes, as the template hash covers them.
    pub bytes: &'a [u8],
}

/// The digest of what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest<'a> {
    /// `ima` or `verity`, where the template says so.
    pub kind: Option<&'a str>,
    /// The kernel's name of the algorithm, such as `sha256`; other algorithms than ours occur.
    pub algorithm: &'a str,
    /// The digest.
    pub digest: &'a [u8],
}

impl<'a> FileDigest<'a> {
    pub(super) fn of(field: Field<'a>) -> Option<Self> {
        if field.id == FieldId::Digest {
            return Some(Self {
                kind: None,
                algorithm: HashAlg::Sha1.name(),
                digest: field.bytes,
            });
        }
        let end = field.bytes.iter().position(|byte| *byte == 0)?;
        let prefix = field.bytes.get(..end)?.strip_suffix(b":")?;
        let digest = field.bytes.get(end + 1..)?;
        let prefix = core::str::from_utf8(prefix).ok()?;
        let (kind, algorithm) = match field.id {
            FieldId::DigestNgV2 => prefix.split_once(':').map(|(kind, alg)| (Some(kind), alg))?,
            _ => (None, prefix),
        };
        let is_name =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        let right_kind = kind.is_none_or(|kind| ["ima", "verity"].contains(&kind));
        let right_size = HashAlg::from_name(algorithm).is_none_or(|alg| alg.size() == digest.len());
        (is_name(algorithm) && right_kind && right_size && !digest.is_empty()).then_some(Self {
            kind,
            algorithm,
            digest,
        })
    }
}
