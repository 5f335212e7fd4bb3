//! Known answers for every approved algorithm, checked at start. A wrong answer means that the provider (or the machine)
//! must not be trusted with anything: the caller refuses to start.

mod answers;
mod check;

use thiserror::Error;

pub use answers::{KnownAnswer, KnownAnswers, TestedAlgorithm};

use crate::{CryptoError, Curve, SigningKey};

/// Every approved algorithm gave its known answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTestReport {
    /// What was tested, in order.
    pub passed: Vec<TestedAlgorithm>,
    /// Curves on which a fresh key's signature verified and a changed one did not.
    pub pairwise: Vec<Curve>,
    /// Whether the provider is AWS-LC's FIPS module, running in its approved mode (cargo feature `fips`).
    pub fips_module: bool,
}

/// A self test failed: nothing made with this provider may be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// An algorithm gave another answer than the known one.
    #[error("{0:?} gave a wrong answer: do not use this build or this machine")]
    WrongAnswer(TestedAlgorithm),
    /// The table leaves an approved algorithm untested.
    #[error("{0:?} is approved but has no known answer in the table")]
    NotTested(TestedAlgorithm),
    /// A fresh key's own signature did not verify, or a changed one did.
    #[error("pairwise consistency failed on {0:?}: do not use this build or this machine")]
    Pairwise(Curve),
    /// The provider failed.
    #[error("the provider failed during the self tests")]
    Provider(#[from] CryptoError),
}

/// Runs the self tests with the built-in known answers; about a millisecond.
///
/// # Errors
/// [`SelfTestError`] names the algorithm. The caller must not start.
pub fn run_self_tests() -> Result<SelfTestReport, SelfTestError> {
    KnownAnswers::built_in().run()
}

impl KnownAnswers {
    /// Checks every answer of the table and that no approved algorithm is missing from it.
    ///
    /// # Errors
    /// [`SelfTestError`] names the algorithm.
    pub fn run(&self) -> Result<SelfTestReport, SelfTestError> {
        for algorithm in TestedAlgorithm::ALL {
            if !self.0.iter().any(|answer| answer.algorithm == algorithm) {
                return Err(SelfTestError::NotTested(algorithm));
            }
        }
        for answer in &self.0 {
            if !check::gives(answer)? {
                return Err(SelfTestError::WrongAnswer(answer.algorithm));
            }
        }
        Curve::ALL.into_iter().try_for_each(pairwise)?;
        let passed = self.0.iter().map(|answer| answer.algorithm).collect();
        Ok(SelfTestReport {
            passed,
            pairwise: Curve::ALL.to_vec(),
            fips_module: aws_lc_rs::try_fips_mode().is_ok(),
        })
    }
}

/// Signs with a fresh key, verifies, and sees a changed message refused (FIPS 140-3 IG 10.3.A).
fn pairwise(curve: Curve) -> Result<(), SelfTestError> {
    let key = SigningKey::generate(curve)?;
    let signature = key.sign(b"pairwise consistency")?;
    let public = key.verifying_key();
    let scheme = public.native_scheme();
    let good = public.verify(scheme, b"pairwise consistency", &signature).is_ok();
    let bad = public
        .verify(scheme, b"pairwise inconsistency", &signature)
        .is_ok();
    (good && !bad).then_some(()).ok_or(SelfTestError::Pairwise(curve))
}
