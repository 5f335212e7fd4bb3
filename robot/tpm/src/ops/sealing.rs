//! Sealing data of any size to this chip: small data in a sealed object, larger data under AES-256-GCM with the key in
//! one (TPM 2.0 Part 1, 27.4; Part 3, 12.7).

use super::keys::Key;
use super::wire::Answer;
use crate::{Auth, Chip, CommandCode, OsEntropy, Protect, Result, TpmError};
use alcub3_crypto::tpm::{Public, PublicTemplate, attribute};
use alcub3_crypto::{AeadKey, Digest, Entropy, HashAlg, Secret};
use tpm2_protocol::data::TpmCc;

const UNSEAL: CommandCode = CommandCode::of(TpmCc::Unseal);
/// MAX_SYM_DATA: what every chip seals directly (TPM 2.0 Part 2, 11.1.14).
const DIRECT_LIMIT: usize = 128;
const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const MAGIC: [u8; 4] = *b"A3SD";
const VERSION: u8 = 1;
const DIRECT: u8 = 0;
const WRAPPED: u8 = 1;
/// More than this is a file, not a secret: bounds what a foreign blob can make us allocate.
const MAX_SEALED: usize = 1 << 30;

/// Data sealed to a chip.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    public: Public,
    private: Vec<u8>,
    wrapped: Option<Wrapped>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Wrapped {
    nonce: [u8; NONCE_LEN],
    /// AES-256-GCM, tag included.
    ciphertext: Vec<u8>,
}

/// How data is to be sealed.
#[derive(Clone, Debug, Default)]
pub struct SealOptions<'a> {
    /// The policy that unsealing has to satisfy; without one the authorisation value is asked for.
    pub policy: Option<&'a Digest>,
    /// The authorisation value; empty if none.
    pub user_auth: Option<&'a Secret>,
    /// Leave the object open to wrong guesses: only for values too long to guess.
    pub no_da: bool,
}

impl Chip {
    /// Seals data of any size under a parent: by a policy alone, or with an empty authorisation value. Commands: 1
    /// Create.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn seal(
        &mut self,
        parent: &Key,
        auth: Auth<'_>,
        policy: Option<&Digest>,
        data: &[u8],
    ) -> Result<Sealed> {
        self.seal_with(
            parent,
            auth,
            &SealOptions {
                policy,
                user_auth: None,
                no_da: true,
            },
            data,
        )
    }

    /// Seals data of any size under a parent. Commands: 1 Create.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn seal_with(
        &mut self,
        parent: &Key,
        auth: Auth<'_>,
        options: &SealOptions<'_>,
        data: &[u8],
    ) -> Result<Sealed> {
        let hash = options.policy.map_or(parent.public().name_alg(), Digest::alg);
        let template = sealing_template(hash, options);
        let none = Secret::from_slice(&[]);
        let user_auth = options.user_auth.unwrap_or(&none);
        if (1..=DIRECT_LIMIT).contains(&data.len()) {
            let secret = Secret::from_slice(data);
            let made = self.create(parent, auth, &template, user_auth, Some(&secret), &[])?;
            return Ok(Sealed {
                public: made.public,
                private: made.private,
                wrapped: None,
            });
        }
        let mut key = Secret::zeroed(KEY_LEN);
        OsEntropy.fill(key.expose_mut()).map_err(TpmError::Entropy)?;
        let mut nonce = [0; NONCE_LEN];
        OsEntropy.fill(&mut nonce).map_err(TpmError::Entropy)?;
        let made = self.create(parent, auth, &template, user_auth, Some(&key), &[])?;
        let ciphertext = AeadKey::new(&key)?.seal(&nonce, &associated_data(&made.public), data)?;
        Ok(Sealed {
            public: made.public,
            private: made.private,
            wrapped: Some(Wrapped { nonce, ciphertext }),
        })
    }

    /// Recovers sealed data; what the chip gives out crosses the bus encrypted. Commands: 1 Load, 1 Unseal, 1
    /// FlushContext (with the next operation).
    ///
    /// # Errors
    /// INTEGRITY for another chip's or parent's data, POLICY_FAIL, AUTH_FAIL or BAD_AUTH for a refused authorisation;
    /// [`TpmError::SealedData`] where the data was changed.
    pub fn unseal(
        &mut self,
        parent: &Key,
        parent_auth: Auth<'_>,
        object_auth: Auth<'_>,
        sealed: &Sealed,
    ) -> Result<Secret> {
        let object = self.load(parent, parent_auth, &sealed.private, &sealed.public)?;
        self.unseal_loaded(&object.into(), object_auth, sealed)
    }

    /// The second half of [`Self::unseal`], for an object that is loaded: parent and object may then have a policy session
    /// each, one after the other. Commands: 1 Unseal.
    ///
    /// # Errors
    /// As [`Self::unseal`].
    pub fn unseal_loaded(&mut self, object: &Key, auth: Auth<'_>, sealed: &Sealed) -> Result<Secret> {
        let inner = self.unseal_object(object, auth)?;
        let Some(wrapped) = &sealed.wrapped else {
            return Ok(inner);
        };
        if inner.len() != KEY_LEN {
            return Err(TpmError::SealedData {
                part: "the sealed key",
            });
        }
        let opened = AeadKey::new(&inner)?.open(
            &wrapped.nonce,
            &associated_data(&sealed.public),
            &wrapped.ciphertext,
        );
        opened.map_err(|_| TpmError::SealedData {
            part: "the encrypted data",
        })
    }

    /// The data of a loaded sealed object; it crosses the bus encrypted. Commands: 1 Unseal.
    ///
    /// # Errors
    /// As [`Self::unseal`].
    pub fn unseal_object(&mut self, object: &Key, auth: Auth<'_>) -> Result<Secret> {
        let reply = self.call_raw(UNSEAL, &[object.target()], &[auth], Protect::Out, &[])?;
        let mut answer = Answer::new(UNSEAL, &reply);
        let data = Secret::from_slice(answer.sized("the sealed data")?);
        answer.end()?;
        Ok(data)
    }
}

fn sealing_template(hash: HashAlg, options: &SealOptions<'_>) -> Vec<u8> {
    let user = if options.policy.is_none() {
        attribute::USER_WITH_AUTH
    } else {
        attribute::ADMIN_WITH_POLICY
    };
    let da = if options.no_da { attribute::NO_DA } else { 0 };
    let attributes = attribute::FIXED_TPM | attribute::FIXED_PARENT | user | da;
    PublicTemplate::sealed_data(hash, attributes, options.policy).into_tpmt_bytes()
}

/// Binds the ciphertext to the version of the format and to the object that holds its key.
fn associated_data(public: &Public) -> Vec<u8> {
    [
        alcub3_trust_model::domain::SEALED.as_bytes(),
        &[VERSION],
        public.as_tpmt_bytes(),
    ]
    .concat()
}

impl Sealed {
    /// The public area of the sealed object.
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// Contents of the sealed object's TPM2B_PRIVATE.
    pub fn private(&self) -> &[u8] {
        &self.private
    }

    /// A file's bytes: magic, version, kind, public and private area as TPM2B, and for data beyond the chip's limit
    /// nonce, 32-bit length and ciphertext. Big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, if self.wrapped.is_some() { WRAPPED } else { DIRECT }]);
        out.extend_from_slice(&self.public.to_tpm2b());
        // Both areas came from a TPM2B, so their lengths fit.
        out.extend_from_slice(
            &u16::try_from(self.private.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        out.extend_from_slice(&self.private);
        if let Some(wrapped) = &self.wrapped {
            out.extend_from_slice(&wrapped.nonce);
            out.extend_from_slice(
                &u32::try_from(wrapped.ciphertext.len())
                    .unwrap_or(u32::MAX)
                    .to_be_bytes(),
            );
            out.extend_from_slice(&wrapped.ciphertext);
        }
        out
    }

    /// Reads what [`Self::to_bytes`] wrote; exactly.
    ///
    /// # Errors
    /// [`TpmError::SealedData`] names the part: another magic or version, an unknown kind, a cut or followed structure.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let refused = |part| move |_: TpmError| TpmError::SealedData { part };
        let mut rest = Answer::of(UNSEAL, bytes);
        if rest.bytes(4, "magic").map_err(refused("the magic"))? != MAGIC {
            return Err(TpmError::SealedData { part: "the magic" });
        }
        if rest.u8("version").map_err(refused("the version"))? != VERSION {
            return Err(TpmError::SealedData { part: "the version" });
        }
        let kind = rest.u8("kind").map_err(refused("the kind"))?;
        let public = rest.sized("public").map_err(refused("the public area"))?;
        let public = Public::from_tpmt(public).map_err(|_| TpmError::SealedData {
            part: "the public area",
        })?;
        let private = rest
            .sized("private")
            .map_err(refused("the private area"))?
            .to_vec();
        let wrapped = match kind {
            DIRECT => None,
            WRAPPED => Some(Wrapped::read(&mut rest).map_err(refused("the encrypted data"))?),
            _ => return Err(TpmError::SealedData { part: "the kind" }),
        };
        rest.end().map_err(refused("the end: bytes follow"))?;
        Ok(Self {
            public,
            private,
            wrapped,
        })
    }
}

impl Wrapped {
    fn read(rest: &mut Answer<'_>) -> Result<Self> {
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(rest.bytes(NONCE_LEN, "nonce")?);
        let length = usize::try_from(rest.u32("length")?).unwrap_or(usize::MAX);
        if length > MAX_SEALED {
            return Err(rest.malformed("length"));
        }
        Ok(Self {
            nonce,
            ciphertext: rest.bytes(length, "ciphertext")?.to_vec(),
        })
    }
}
