//! TLS client authentication with the local device key, which stays in the TPM: one TPM2_Sign for each handshake.

use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_crypto::Curve;
use alcub3_fleet_protocol::certificate::DeviceKeyKind;
use alcub3_keys::{DeviceKeySlot, LoadedDeviceKey};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ClientConfig, RootCertStore, SignatureAlgorithm, SignatureScheme};
use std::sync::{Arc, PoisonError, RwLock};

/// The robot's certificate and key, as TLS clients present them.
#[derive(Debug)]
pub struct TlsIdentity {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Robot {
    /// The local device key with its certificate, loaded. Commands: 1 Load; 1 Sign for each handshake.
    ///
    /// # Errors
    /// [`alcub3_keys::KeysError::NoDeviceKey`] before [`Robot::create_identity`]; the chip's.
    pub fn tls_identity(&self) -> Result<Arc<TlsIdentity>> {
        Ok(Arc::new(TlsIdentity {
            current: RwLock::new(self.certified_key()?),
        }))
    }

    /// Takes the local key that a renewal has made since: handshakes that begin after this use it, connections that
    /// stand are not touched. Commands: 1 Load.
    ///
    /// # Errors
    /// As [`Self::tls_identity`]; the identity in use then stays.
    pub fn renew_tls_identity(&self, identity: &TlsIdentity) -> Result<()> {
        let renewed = self.certified_key()?;
        *identity.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    fn certified_key(&self) -> Result<Arc<CertifiedKey>> {
        let local = self.keys.device_key(DeviceKeySlot::Local)?;
        let key = self.keys.load_device_key(DeviceKeyKind::Local, &local)?;
        let issued = local
            .issued
            .ok_or(alcub3_keys::KeysError::NoDeviceKey { kind: "local" })?;
        let chain = vec![CertificateDer::from(issued.certificate)];
        Ok(Arc::new(CertifiedKey::new(chain, Arc::new(TpmKey::new(key)?))))
    }
}

impl TlsIdentity {
    /// A client configuration that trusts these roots and presents this identity, with TLS 1.3 and 1.2 and the project's
    /// one cryptographic provider, whatever another crate has installed. No session is resumed: each connection proves
    /// the key that the robot has now.
    ///
    /// # Errors
    /// [`AgentError::Tls`] where the provider has no suite for these versions.
    pub fn client_config(self: &Arc<Self>, roots: RootCertStore) -> Result<ClientConfig> {
        let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver: Arc<dyn ResolvesClientCert> = self.clone();
        let mut config = builder
            .with_root_certificates(roots)
            .with_client_cert_resolver(resolver);
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl ResolvesClientCert for TlsIdentity {
    fn resolve(&self, _: &[&[u8]], offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let current = self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        current.key.choose_scheme(offered).is_some().then_some(current)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A key in the TPM, as rustls asks for signatures.
#[derive(Clone, Debug)]
struct TpmKey {
    key: LoadedDeviceKey,
    scheme: SignatureScheme,
}

impl TpmKey {
    fn new(key: LoadedDeviceKey) -> Result<Self> {
        let scheme = match key.verifying_key().curve() {
            Some(Curve::P256) => SignatureScheme::ECDSA_NISTP256_SHA256,
            Some(Curve::P384) => SignatureScheme::ECDSA_NISTP384_SHA384,
            None => {
                return Err(AgentError::Evidence {
                    what: "the device key is on no curve of TLS",
                });
            }
        };
        Ok(Self { key, scheme })
    }
}

impl SigningKey for TpmKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer: Box<dyn Signer> = Box::new(self.clone());
        offered.contains(&self.scheme).then_some(signer)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.key.verifying_key().to_spki_der().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TpmKey {
    fn sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, rustls::Error> {
        let signature = self
            .key
            .sign_message(message)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(signature.to_x509())
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
