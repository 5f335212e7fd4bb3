//! The authority in software as issuer of certificates, and as the one that gives a lost disk's contents back.

use super::*;
use alcub3_agent::{IdentityLink, LinkError};
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::certificate::{
    CertificateChanged, CertificateGrant, CertificateIssuer, CertificateRequest, CertificateUse,
    DeviceSubject, ProvenDeviceKey, Validity, authority_certificate, device_certificate,
};
use alcub3_fleet_protocol::replacement::{ProvenHardware, ReplacementGrant, ReplacementRequest};
use alcub3_fleet_protocol::restore::{ProvenChip, RestoreRequest};
use alcub3_tpm::OsEntropy;
use alcub3_trust_model::{OperatorId, RobotId, SessionId};

impl SoftAuthority {
    pub fn issuer_of_certificates(&self) -> CertificateIssuer<'_> {
        CertificateIssuer {
            key: &self.certificates,
            fleet: &self.fleet,
        }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> Vec<u8> {
        let validity = Validity {
            from_ms: 0,
            until_ms: None,
        };
        authority_certificate(self.issuer_of_certificates(), [1; 16], validity).unwrap()
    }

    fn session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId::new([100 + self.sessions; 16])
    }

    fn last_session(&self) -> SessionId {
        SessionId::new([100 + self.sessions; 16])
    }

    /// Approves a replacement, as one person would, and issues the enrolment anew.
    pub fn approve_replacement(&mut self, request: &[u8], session: SessionId) -> Result<Vec<u8>, LinkError> {
        let request = ReplacementRequest::from_canonical(request).map_err(refusal)?;
        let proven = ProvenHardware::verify(request, &self.enrolment(), session).map_err(refusal)?;
        let kept = self.enrolled.as_ref().unwrap();
        proven.replaces(&kept.hardware).map_err(refusal)?;
        let record = kept.record.with_hardware(proven.binding(), NOW_MS);
        let signed = record.unsigned(self.signing.suite()).sign(&self.signing).unwrap();
        let kept = self.enrolled.as_mut().unwrap();
        (kept.record, kept.signed_record) = (record, signed);
        kept.hardware = proven.hardware().clone();
        Ok(self.sign_replacement(&self.grant_replacement(&proven)))
    }

    /// The answer to a request for what was approved already, made anew.
    pub fn repeat_replacement(&self, request: &[u8], session: SessionId) -> ReplacementGrant {
        let request = ReplacementRequest::from_canonical(request).unwrap();
        let proven = ProvenHardware::verify(request, &self.enrolment(), session).unwrap();
        self.grant_replacement(&proven)
    }

    fn grant_replacement(&self, proven: &ProvenHardware) -> ReplacementGrant {
        let (kept, suite) = (self.enrolled.as_ref().unwrap(), self.signing.suite());
        let enrolled = self
            .anchors()
            .unsigned(proven.session(), &kept.signed_record, suite)
            .sign(&self.signing)
            .unwrap();
        let alice = OperatorId::new("alice").unwrap();
        proven
            .grant(alice, &kept.custody.endorsement, enrolled, &mut OsEntropy)
            .unwrap()
    }

    pub fn sign_replacement(&self, grant: &ReplacementGrant) -> Vec<u8> {
        grant.unsigned(self.signing.suite()).sign(&self.signing).unwrap()
    }

    fn answer(&self, answer: Vec<u8>) -> Result<Vec<u8>, LinkError> {
        if self.cut {
            Err(LinkError("the link is cut".into()))
        } else {
            Ok(answer)
        }
    }
}

fn refusal(error: impl std::error::Error + Send + Sync + 'static) -> LinkError {
    LinkError(Box::new(error))
}

impl IdentityLink for SoftAuthority {
    fn open_certificate(&mut self, _: &RobotId) -> Result<SessionId, LinkError> {
        Ok(self.session())
    }

    fn certify(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        let request = CertificateRequest::from_canonical(request).map_err(refusal)?;
        let enrolment = self.enrolment();
        let key = ProvenDeviceKey::verify(&request, &enrolment, self.last_session()).map_err(refusal)?;
        let subject = DeviceSubject {
            robot: &request.robot,
            endorsement_key: &enrolment.record().endorsement_key,
            key: &key,
        };
        let validity = Validity {
            from_ms: 0,
            until_ms: Some(4_000_000_000_000),
        };
        let serial = [u8::try_from(self.issued.len()).unwrap() + 2; 16];
        let certificate =
            device_certificate(self.issuer_of_certificates(), subject, serial, validity).map_err(refusal)?;
        self.issued.push(certificate.clone());
        let grant = CertificateGrant {
            session: request.session,
            robot: request.robot,
            certificate,
            authority: self.certificate(),
        };
        self.answer(grant.unsigned(self.signing.suite()).sign(&self.signing).unwrap())
    }

    fn certificate_used(&mut self, used: &[u8]) -> Result<Vec<u8>, LinkError> {
        let used = CertificateUse::from_canonical(used).map_err(refusal)?;
        let issued = self
            .issued
            .iter()
            .find(|der| HashAlg::Sha256.digest(&[der]) == used.certificate);
        used.verify(issued.unwrap()).map_err(refusal)?;
        self.used.push(used.certificate);
        let changed = CertificateChanged {
            session: used.session,
            robot: used.robot,
            certificate: used.certificate,
        };
        self.answer(
            changed
                .unsigned(self.signing.suite())
                .sign(&self.signing)
                .unwrap(),
        )
    }

    fn open_restore(&mut self, _: &RobotId) -> Result<SessionId, LinkError> {
        Ok(self.session())
    }

    fn restore(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        let request = RestoreRequest::from_canonical(request).map_err(refusal)?;
        let (session, enrolment) = (self.last_session(), self.enrolment());
        let chip = ProvenChip::verify(request, &enrolment, session).map_err(refusal)?;
        let kept = self.enrolled.as_ref().unwrap();
        let suite = self.signing.suite();
        let enrolled = self
            .anchors()
            .unsigned(session, &kept.signed_record, suite)
            .sign(&self.signing)
            .unwrap();
        let hardware = kept.hardware.to_canonical();
        let grant = chip
            .grant(&kept.custody, enrolled, hardware, &mut OsEntropy)
            .map_err(refusal)?;
        Ok(grant.unsigned(suite).sign(&self.signing).unwrap())
    }
}
