//! Endorsement certificates for simulators, so that a throwaway TPM can be enrolled. They say that they are a
//! simulator's, and only an authority that was told to admit simulators takes them.

use crate::error::CliError;
use crate::tpm_access;
use alcub3_crypto::tpm::EkTemplate;
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_testkit::SimulatorCa;
use alcub3_tpm::ops::{Hierarchy, NvPublic, nv_attribute};
use alcub3_tpm::{Auth, Chip, Tpm};

/// Writes a certificate of this simulator's endorsement key, by a new simulator CA, into its NV memory, and gives the
/// CA's own certificate as PEM. A real chip is refused.
pub(crate) fn certify(tpm: &Tpm, curve: Curve) -> Result<String, CliError> {
    let (simulator, spki) = tpm_access::run(tpm, move |chip| {
        Ok((chip.is_simulator(), endorsement_key(chip, curve)?))
    })?;
    if !simulator {
        return Err(CliError::NotASimulator);
    }
    let ca = SimulatorCa::new().map_err(CliError::Testkit)?;
    let certificate = ca.issue(&spki).map_err(CliError::Testkit)?;
    let index = SimulatorCa::nv_index(&spki).map_err(CliError::Testkit)?;
    tpm_access::run(tpm, move |chip| store(chip, index, &certificate))?;
    Ok(ca.root_pem())
}

fn endorsement_key(chip: &mut Chip, curve: Curve) -> alcub3_tpm::Result<Vec<u8>> {
    let template = EkTemplate::of_curve(curve).public();
    let made = chip.create_primary(
        Hierarchy::Endorsement,
        Auth::Empty,
        template.as_tpmt_bytes(),
        None,
        &[],
    )?;
    Ok(made.object.public().verifying_key()?.to_spki_der())
}

fn store(chip: &mut Chip, index: u32, certificate: &[u8]) -> alcub3_tpm::Result<()> {
    use nv_attribute::{AUTHREAD, AUTHWRITE, NO_DA, OWNERREAD};
    let public = NvPublic {
        index,
        name_alg: HashAlg::Sha256,
        attributes: AUTHREAD | AUTHWRITE | OWNERREAD | NO_DA,
        auth_policy: Vec::new(),
        size: u16::try_from(certificate.len()).unwrap_or(u16::MAX),
    };
    let empty = Secret::from_slice(&[]);
    chip.nv_define(&empty, &public, &empty)?;
    chip.nv_write(index, Auth::Empty, certificate)
}
