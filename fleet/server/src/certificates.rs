//! X.509 certificates of the robots' device keys, and which of them count.
//!
//! They are signed with a key of their own, which signs nothing else. The local key of a robot may have two good
//! certificates at once, from the grant of a new one until the robot says that it uses it; from then on the earlier one
//! is superseded.

use alcub3_audit_log::EntryKind;
use alcub3_crypto::{Digest, Entropy, EntropyError, HashAlg};
use alcub3_fleet_protocol::certificate::{
    CertificateChanged, CertificateError, CertificateGrant, CertificateIssuer, CertificateRequest,
    CertificateUse, DeviceKeyKind, DeviceSubject, ProvenDeviceKey, Validity, authority_certificate,
    device_certificate,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::{RobotId, SessionId};

use crate::audit::Decision;
use crate::authority::Authority;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "certificates";
const OWN: (&str, &str) = ("config", "certificate");
const DOMAIN: &str = "alcub3/authority-certificates/v1";
const VERSION: u64 = 1;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a certificate of a local device key is good, in milliseconds.
pub const LOCAL_CERTIFICATE_MS: u64 = 90 * DAY_MS;
/// How long the authority's own certificate is good, in milliseconds.
pub const AUTHORITY_CERTIFICATE_MS: u64 = 20 * 365 * DAY_MS;
/// Certificates begin to be good this long before they are issued: clocks differ.
const LEEWAY_MS: u64 = 5 * 60 * 1000;
/// How many superseded certificates of one robot are remembered; the oldest are forgotten first. They end by themselves.
const MAX_SUPERSEDED: usize = 64;

/// Why a certificate was not issued or not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum CertificationError {
    /// The request is not proven, or a message does not read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A message does not read.
    #[error("certificate message refused: {0}")]
    Message(#[source] DecodeError),
    /// The exchange.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The robot is not enrolled, or its record does not verify.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The certificate that the robot means was not granted to it, or is superseded.
    #[error("robot {0} was not granted this certificate, or another has replaced it: ask for a new one")]
    NotGranted(RobotId),
    /// What is kept of a robot's certificates does not read.
    #[error("the certificates of robot {robot}: {source}; restore the state folder from a backup")]
    Record {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: DecodeError,
    },
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a certificate counts for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum CertificateStanding {
    /// It counts, as far as its own dates say so.
    Counts,
    /// It was replaced by a newer one that the robot uses.
    Superseded,
    /// This authority does not know it as one of that robot's.
    Unknown,
}

/// What is kept of one robot's certificates, each in DER.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Kept {
    initial: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    /// The next one of the local key, with the exchange in which it was granted.
    next: Option<(SessionId, Vec<u8>)>,
    superseded: Vec<Digest>,
}

impl Kept {
    fn encode(&self) -> Vec<u8> {
        let optional = [self.initial.is_some(), self.local.is_some(), self.next.is_some()];
        let fields = 1 + optional.into_iter().filter(|there| *there).count();
        let mut out = Encoder::structure(DOMAIN, VERSION, fields);
        for (key, certificate) in [(2, &self.initial), (3, &self.local)] {
            if let Some(certificate) = certificate {
                out.u64(key).bytes(certificate);
            }
        }
        if let Some((session, certificate)) = &self.next {
            out.u64(4).array(2).bytes(session.as_bytes()).bytes(certificate);
        }
        out.u64(5).array(self.superseded.len());
        for digest in &self.superseded {
            out.digest(digest);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        let mut kept = Self::default();
        if fields.optional(r, 2, "initial")? {
            kept.initial = Some(r.bytes("initial")?.to_vec());
        }
        if fields.optional(r, 3, "local")? {
            kept.local = Some(r.bytes("local")?.to_vec());
        }
        if fields.optional(r, 4, "next")? {
            r.array_of("next", 2)?;
            let session = SessionId::new(*r.bytes_of("next")?);
            kept.next = Some((session, r.bytes("next")?.to_vec()));
        }
        fields.key(r, 5, "superseded")?;
        let count = r.array("superseded", MAX_SUPERSEDED)?;
        for _ in 0..count {
            kept.superseded.push(r.digest("superseded")?);
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(kept)
    }

    fn load(folder: &StateFolder, robot: &RobotId) -> Result<Self, CertificationError> {
        let Some(bytes) = folder.get(COLLECTION, robot.as_str())? else {
            return Ok(Self::default());
        };
        Self::decode(&bytes).map_err(|source| CertificationError::Record {
            robot: robot.clone(),
            source,
        })
    }

    fn save(&self, folder: &StateFolder, robot: &RobotId) -> Result<(), StoreError> {
        folder.put(COLLECTION, robot.as_str(), &self.encode())
    }

    fn supersede(&mut self, certificate: Option<Vec<u8>>) {
        let digest = certificate.map(|certificate| fingerprint(&certificate));
        self.superseded.extend(digest);
        let surplus = self.superseded.len().saturating_sub(MAX_SUPERSEDED);
        self.superseded.drain(..surplus);
    }

    /// Nothing of before counts any more.
    fn supersede_all(&mut self) {
        let next = self.next.take().map(|(_, certificate)| certificate);
        for certificate in [self.initial.take(), self.local.take(), next] {
            self.supersede(certificate);
        }
    }

    /// Takes a certificate that was granted. A next one that was never used makes way.
    fn grant(&mut self, kind: DeviceKeyKind, session: SessionId, certificate: Vec<u8>) {
        match kind {
            DeviceKeyKind::Initial => {
                let earlier = self.initial.replace(certificate);
                self.supersede(earlier);
            }
            DeviceKeyKind::Local => {
                let earlier = self.next.replace((session, certificate));
                self.supersede(earlier.map(|(_, certificate)| certificate));
            }
        }
    }

    /// Takes the robot's word that it uses a certificate: the next one becomes the one that counts. Saying so again
    /// changes nothing.
    fn used(&mut self, used: &CertificateUse) -> Result<Option<()>, CertificateError> {
        if let Some(local) = &self.local
            && fingerprint(local) == used.certificate
        {
            used.verify(local)?;
            return Ok(Some(()));
        }
        let Some((_, next)) = self
            .next
            .take_if(|(session, next)| *session == used.session && fingerprint(next) == used.certificate)
        else {
            return Ok(None);
        };
        used.verify(&next)?;
        let earlier = self.local.replace(next);
        self.supersede(earlier);
        Ok(Some(()))
    }

    fn standing(&self, certificate: &Digest) -> CertificateStanding {
        let next = self.next.as_ref().map(|(_, next)| next);
        let good = [self.initial.as_ref(), self.local.as_ref(), next];
        if good
            .into_iter()
            .flatten()
            .any(|der| fingerprint(der) == *certificate)
        {
            CertificateStanding::Counts
        } else if self.superseded.contains(certificate) {
            CertificateStanding::Superseded
        } else {
            CertificateStanding::Unknown
        }
    }
}

/// A robot that is enrolled anew begins without certificates: those of its earlier keys are superseded.
pub(crate) fn supersede_all(folder: &StateFolder, robot: &RobotId) -> Result<(), CertificationError> {
    let mut kept = Kept::load(folder, robot)?;
    kept.supersede_all();
    Ok(kept.save(folder, robot)?)
}

fn fingerprint(certificate: &[u8]) -> Digest {
    HashAlg::Sha256.digest(&[certificate])
}

impl Authority {
    /// The authority's own certificate in DER: what those who meet its robots trust. Made at its first use.
    ///
    /// # Errors
    /// [`CertificationError`].
    pub fn certificate(&mut self, now_ms: u64) -> Result<Vec<u8>, CertificationError> {
        if let Some(certificate) = self.folder.get(OWN.0, OWN.1)? {
            return Ok(certificate);
        }
        let serial = self.serial()?;
        let validity = Validity {
            from_ms: now_ms.saturating_sub(LEEWAY_MS),
            until_ms: Some(now_ms.saturating_add(AUTHORITY_CERTIFICATE_MS)),
        };
        let certificate = authority_certificate(self.certificate_issuer(), serial, validity)?;
        self.folder.put(OWN.0, OWN.1, &certificate)?;
        Ok(certificate)
    }

    /// Opens an exchange in which a robot may ask for a certificate, once.
    ///
    /// # Errors
    /// [`CertificationError`]: the robot is not enrolled, or the folder refuses.
    pub fn open_certificate(
        &mut self,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<SessionId, CertificationError> {
        self.open_session(Purpose::Certificate, robot, now_ms)
    }

    /// Judges a request and issues the certificate. It is kept before it is handed out.
    ///
    /// # Errors
    /// [`CertificationError`] says what is not proven; the exchange counts no more, whatever was wrong.
    pub fn issue_certificate(&mut self, request: &[u8], now_ms: u64) -> Result<Vec<u8>, CertificationError> {
        let request = CertificateRequest::from_canonical(request).map_err(CertificationError::Message);
        let decision = Decision::on(EntryKind::Key, &request, |asked| {
            (&asked.robot, "a device key's certificate".to_owned())
        });
        match request {
            Ok(request) => {
                self.acting_on_record(decision, now_ms, |authority| authority.certify(request, now_ms))
            }
            Err(refusal) => self.on_record(decision, now_ms, Err(refusal)),
        }
    }

    fn certify(&mut self, request: CertificateRequest, now_ms: u64) -> Result<Vec<u8>, CertificationError> {
        let exchange = exchanges::close(
            &self.folder,
            Purpose::Certificate,
            &request.robot,
            request.session,
            now_ms,
        )?;
        let enrolment = self.active(&request.robot)?;
        let key = ProvenDeviceKey::verify(&request, &enrolment, exchange.session)?;
        let authority = self.certificate(now_ms)?;
        let subject = DeviceSubject {
            robot: &request.robot,
            endorsement_key: &enrolment.record().endorsement_key,
            key: &key,
        };
        let validity = Validity {
            from_ms: now_ms.saturating_sub(LEEWAY_MS),
            until_ms: Some(now_ms.saturating_add(LOCAL_CERTIFICATE_MS)),
        };
        let serial = self.serial()?;
        let certificate = device_certificate(self.certificate_issuer(), subject, serial, validity)?;
        let mut kept = Kept::load(&self.folder, &request.robot)?;
        kept.grant(key.kind(), request.session, certificate.clone());
        kept.save(&self.folder, &request.robot)?;
        let grant = CertificateGrant {
            session: request.session,
            robot: request.robot,
            certificate,
            authority,
        };
        let signing = self.signing();
        Ok(grant
            .unsigned(signing.suite())
            .sign(signing)
            .map_err(CertificateError::from)?)
    }

    /// Takes the robot's word that it uses its new certificate: the one before it is superseded. Saying so again is
    /// answered again, so that a robot that lost the answer can go on.
    ///
    /// # Errors
    /// [`CertificationError::NotGranted`], or that the new key did not sign.
    pub fn certificate_used(&mut self, message: &[u8], now_ms: u64) -> Result<Vec<u8>, CertificationError> {
        let used = CertificateUse::from_canonical(message).map_err(CertificationError::Message);
        let decision = Decision::on(EntryKind::Key, &used, |used| {
            (&used.robot, "a certificate in use".to_owned())
        });
        match used {
            Ok(used) => self.acting_on_record(decision, now_ms, |authority| authority.supersede_by(used)),
            Err(refusal) => self.on_record(decision, now_ms, Err(refusal)),
        }
    }

    fn supersede_by(&self, used: CertificateUse) -> Result<Vec<u8>, CertificationError> {
        let mut kept = Kept::load(&self.folder, &used.robot)?;
        kept.used(&used)?
            .ok_or_else(|| CertificationError::NotGranted(used.robot.clone()))?;
        kept.save(&self.folder, &used.robot)?;
        let changed = CertificateChanged {
            session: used.session,
            robot: used.robot,
            certificate: used.certificate,
        };
        let signing = self.signing();
        Ok(changed
            .unsigned(signing.suite())
            .sign(signing)
            .map_err(CertificateError::from)?)
    }

    /// What a certificate (DER) counts for as one of a robot's. Whoever relies on certificates for longer than they are
    /// renewed asks here.
    ///
    /// # Errors
    /// [`CertificationError::Record`], or the folder's.
    pub fn certificate_standing(
        &self,
        robot: &RobotId,
        certificate: &[u8],
    ) -> Result<CertificateStanding, CertificationError> {
        Ok(Kept::load(&self.folder, robot)?.standing(&fingerprint(certificate)))
    }

    fn certificate_issuer(&self) -> CertificateIssuer<'_> {
        CertificateIssuer {
            key: &self.keys.certificates,
            fleet: &self.config.fleet,
        }
    }

    /// A serial number of 127 random bits: positive, and never as long as RFC 5280 §4.1.2.2 forbids.
    fn serial(&self) -> Result<[u8; 16], EntropyError> {
        let mut serial = [0; 16];
        let mut entropy = self.entropy;
        entropy.fill(&mut serial)?;
        if let Some(first) = serial.first_mut() {
            *first = *first & 0x7F | 0x40;
        }
        Ok(serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_exactly_and_in_one_form() {
        let full = Kept {
            initial: Some(vec![1; 9]),
            local: Some(vec![2; 9]),
            next: Some((SessionId::new([3; 16]), vec![3; 9])),
            superseded: vec![fingerprint(b"old"), fingerprint(b"older")],
        };
        for kept in [Kept::default(), full] {
            let bytes = kept.encode();
            assert_eq!(Kept::decode(&bytes).unwrap(), kept);
            for cut in 0..bytes.len() {
                assert!(Kept::decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn both_count_from_grant_to_use_and_then_the_new_one_alone() {
        let mut kept = Kept {
            local: Some(vec![1]),
            ..Kept::default()
        };
        kept.grant(DeviceKeyKind::Local, SessionId::new([1; 16]), vec![2]);
        for good in [[1], [2]] {
            assert_eq!(kept.standing(&fingerprint(&good)), CertificateStanding::Counts);
        }
        kept.grant(DeviceKeyKind::Local, SessionId::new([2; 16]), vec![3]);
        assert_eq!(kept.standing(&fingerprint(&[2])), CertificateStanding::Superseded);
        assert_eq!(kept.standing(&fingerprint(&[1])), CertificateStanding::Counts);
        assert_eq!(kept.standing(&fingerprint(&[9])), CertificateStanding::Unknown);
    }
}
