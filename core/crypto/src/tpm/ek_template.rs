//! The endorsement keys of the TCG EK Credential Profile (2.x, annex B) that can be used here.

use super::{Name, Public, PublicTemplate};
use crate::{Curve, Suite};

/// An endorsement key by its template's name in the profile: L are the low range, H the high range.
///
/// Left out: P-521 (H-4), SM2 (H-5) and RSA-4096 (H-7), for which there is no suite here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EkTemplate {
    /// RSA-2048, low range.
    L1,
    /// P-256, low range.
    L2,
    /// RSA-2048, high range.
    H1,
    /// P-256, high range.
    H2,
    /// P-384.
    H3,
    /// RSA-3072.
    H6,
}

impl EkTemplate {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::L1, Self::L2, Self::H1, Self::H2, Self::H3, Self::H6];

    /// The one that is made where the chip's certificates do not say which: P-256 in the low range, or P-384.
    #[must_use]
    pub const fn of_curve(curve: Curve) -> Self {
        match curve {
            Curve::P256 => Self::L2,
            Curve::P384 => Self::H3,
        }
    }

    /// All, in the order in which a robot with keys on this curve takes them: its curve, the other curve, then RSA, since
    /// making and using an RSA key takes a chip longest.
    #[must_use]
    pub const fn preferred(curve: Curve) -> [Self; 6] {
        match curve {
            Curve::P256 => [Self::L2, Self::H2, Self::H3, Self::L1, Self::H1, Self::H6],
            Curve::P384 => [Self::H3, Self::L2, Self::H2, Self::H6, Self::L1, Self::H1],
        }
    }

    /// The template.
    #[must_use]
    pub fn public(self) -> PublicTemplate {
        match self {
            Self::L1 => PublicTemplate::ek_rsa_2048(),
            Self::L2 => PublicTemplate::ek_ecc_p256(),
            Self::H1 => PublicTemplate::ek_rsa_2048_high(),
            Self::H2 => PublicTemplate::ek_ecc_p256_high(),
            Self::H3 => PublicTemplate::ek_ecc_p384(),
            Self::H6 => PublicTemplate::ek_rsa_3072(),
        }
    }

    /// The template that a public area is of, the key itself aside; none where it is of none of them.
    #[must_use]
    pub fn of(public: &Public) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|template| template.with_key_of(public).as_ref() == Some(public))
    }

    /// The Names that a key has under the templates that it fits. A certificate and a pin are of the key alone, and a credential for
    /// one of these Names opens under the others: all are the one key's.
    #[must_use]
    pub fn names_of_key(public: &Public) -> Vec<Name> {
        let areas = Self::ALL
            .into_iter()
            .filter_map(|template| template.with_key_of(public));
        areas.map(|area| area.name()).collect()
    }

    /// The template with this key in it; none where it is one of another kind or size.
    fn with_key_of(self, public: &Public) -> Option<Public> {
        let template = self.public().to_public().ok()?;
        let area = template.with_unique_of(public)?;
        area.verifying_key().is_ok().then_some(area)
    }

    /// The suite that it is as strong as. RSA-3072 has the strength of P-256, whatever its cipher (SP 800-57, table 2).
    #[must_use]
    pub const fn strength(self) -> Suite {
        match self {
            Self::H3 => Suite::EcdsaP384Sha384,
            Self::L1 | Self::L2 | Self::H1 | Self::H2 | Self::H6 => Suite::EcdsaP256Sha256,
        }
    }

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "RSA 2048",
            Self::L2 => "ECC NIST P-256",
            Self::H1 => "RSA 2048, high range",
            Self::H2 => "ECC NIST P-256, high range",
            Self::H3 => "ECC NIST P-384",
            Self::H6 => "RSA 3072",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn with_point(template: EkTemplate, curve: Curve) -> Public {
        let key = SigningKey::generate(curve).unwrap().verifying_key();
        let key = PublicTemplate::external(&key, curve.hash()).to_public().unwrap();
        template.with_key_of(&key).unwrap()
    }

    #[test]
    fn a_key_has_a_name_for_each_template_that_it_fits_and_is_of_one() {
        for (template, curve, all) in [
            (EkTemplate::L2, Curve::P256, &[EkTemplate::L2, EkTemplate::H2][..]),
            (EkTemplate::H2, Curve::P256, &[EkTemplate::L2, EkTemplate::H2]),
            (EkTemplate::H3, Curve::P384, &[EkTemplate::H3]),
        ] {
            let ek = with_point(template, curve);
            assert_eq!(EkTemplate::of(&ek), Some(template));
            let names: Vec<Name> = all
                .iter()
                .map(|one| one.with_key_of(&ek).unwrap().name())
                .collect();
            assert_eq!(EkTemplate::names_of_key(&ek), names);
            // Any other area with the key in it, such as with noDA.
            let mut other = ek.as_tpmt_bytes().to_vec();
            other[6] ^= 0x04;
            assert_eq!(EkTemplate::of(&Public::from_tpmt(&other).unwrap()), None);
        }
    }
}
