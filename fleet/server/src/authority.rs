//! The authority: its state folder, its keys, its operators, and what it admits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alcub3_attestation::appraisal::PlatformRecord;
use alcub3_audit_log::EntryKind;
use alcub3_crypto::{Curve, HashAlg, SigningKey, VerifyingKey};
use alcub3_fleet_protocol::appraisal_policy::VerifiedAppraisalPolicy;
use alcub3_fleet_protocol::enrolment::{Admission, Issuer};
use alcub3_fleet_protocol::level_policy::VerifiedLevelPolicy;
use alcub3_fleet_protocol::{TrustAnchors, VerifiedEnrolment};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{FleetId, HardwareTier, Level, LevelProfile, RobotId};

use crate::appraisal_policy::{self, AppraisalPolicyIssueError};
use crate::approval::{ApprovalPurpose, ApprovalVault};
use crate::audit::{AuditLog, AuditLogError, Decision};
use crate::endorsement::{PRODUCTION_ROOTS, REVOCATION_LISTS, RootsError, SIMULATOR_ROOTS};
use crate::enrolment::Pending;
use crate::entropy::SystemEntropy;
use crate::level_policy::{self, LevelPolicyIssueError};
use crate::operators::{Operator, OperatorError, Operators};
use crate::origin::DEVICE_ROOTS;
use crate::purge;
use crate::replacement;
use crate::robots::{self, RobotError};
use crate::secrets::{KeyError, Keys};
use crate::store::{StateFolder, StoreError};
use crate::waiting::Waiting;

const CONFIG: (&str, &str) = ("config", "authority");
const DOMAIN: &str = "alcub3/authority-config/v1";
const VERSION: u64 = 1;

/// What an authority is made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthorityConfig {
    /// The file with the key that seals custody at rest: absolute, outside the state folder, not there yet.
    pub seal_file: PathBuf,
    /// The curve of the authority's signing key. P-256 admits no level of CONFIDENTIAL and above.
    pub curve: Curve,
    /// The highest level any robot may be admitted to.
    pub ceiling: Level,
    /// Whether simulated TPMs count. For tests and demonstrations: every result such an authority issues says so.
    pub admit_simulators: bool,
    /// Whether a chip is refused where some issuer of its endorsement certificate has no current revocation list in the folder
    /// `crls`. Where one is there it is enforced anyway.
    pub require_revocation_lists: bool,
    /// Which PCRs the robots' agents extend.
    pub pcrs: PcrMap,
    /// The fleet's name: the trust domain of its robots' SPIFFE identifiers.
    pub fleet: FleetId,
}

impl AuthorityConfig {
    /// An authority of real chips at all levels, with a P-384 key.
    pub const fn production(seal_file: PathBuf, fleet: FleetId) -> Self {
        Self {
            seal_file,
            curve: Curve::P384,
            ceiling: Level::TopSecret,
            admit_simulators: false,
            require_revocation_lists: false,
            pcrs: PcrMap::DEFAULT,
            fleet,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 7);
        out.u64(2)
            .text(&self.seal_file.to_string_lossy())
            .u64(3)
            .u64(self.curve.tpm_id().into());
        out.u64(4)
            .u64(self.ceiling.id().into())
            .u64(5)
            .bool(self.admit_simulators);
        let [lockdown, retire, mission] = [self.pcrs.lockdown(), self.pcrs.retire(), self.pcrs.mission()];
        out.u64(6)
            .array(3)
            .u64(lockdown.into())
            .u64(retire.into())
            .u64(mission.into());
        out.u64(7).text(self.fleet.as_str());
        out.u64(8).bool(self.require_revocation_lists);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "seal_file")?;
        let seal_file = PathBuf::from(r.text("seal_file")?);
        fields.key(r, 3, "curve")?;
        let curve = r.u16("curve")?;
        let curve = [Curve::P256, Curve::P384]
            .into_iter()
            .find(|known| known.tpm_id() == curve);
        let curve = curve.ok_or_else(|| r.fault("curve", Fault::Value))?;
        fields.key(r, 4, "ceiling")?;
        let ceiling = r.id_of("ceiling", Level::from_id)?;
        fields.key(r, 5, "admit_simulators")?;
        let admit_simulators = r.bool("admit_simulators")?;
        fields.key(r, 6, "pcrs")?;
        r.array_of("pcrs", 3)?;
        let pcrs = PcrMap::new(r.u8("lockdown")?, r.u8("retire")?, r.u8("mission")?);
        let pcrs = pcrs.map_err(|_| r.fault("pcrs", Fault::Value))?;
        fields.key(r, 7, "fleet")?;
        let fleet = r.text("fleet")?;
        let fleet = FleetId::new(fleet).map_err(|_| r.fault("fleet", Fault::Value))?;
        fields.key(r, 8, "require_revocation_lists")?;
        let require_revocation_lists = r.bool("require_revocation_lists")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            seal_file,
            curve,
            ceiling,
            admit_simulators,
            require_revocation_lists,
            pcrs,
            fleet,
        })
    }
}

/// An authority could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The operators.
    #[error(transparent)]
    Operators(#[from] OperatorError),
    /// The roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// A robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The seal file's path depends on where the program is started, or is not text.
    #[error("custody key file {0}: give its absolute path, in UTF-8")]
    SealPath(PathBuf),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// The configuration does not read.
    #[error("the authority's configuration: {0}; restore the state folder from a backup")]
    Config(#[from] DecodeError),
    /// The level policy in the folder does not verify.
    #[error("the level policy in the state folder: {0}; restore the state folder from a backup")]
    LevelPolicy(#[from] LevelPolicyIssueError),
    /// The appraisal policy in force does not verify.
    #[error("{0}; restore the state folder from a backup")]
    AppraisalPolicy(#[from] AppraisalPolicyIssueError),
    /// There is no configuration.
    #[error("the authority's configuration is missing; restore the state folder from a backup")]
    NoConfig,
    /// It was never noted which keys the authority's TPM holds.
    #[error(
        "the authority's record of the keys in its TPM is missing; restore the state folder from a backup, or make the \
         authority again"
    )]
    NoVault,
}

/// One fleet's authority. It keeps its state folder locked while it lives.
pub struct Authority {
    pub(crate) folder: StateFolder,
    pub(crate) config: AuthorityConfig,
    pub(crate) keys: Keys,
    pub(crate) operators: Operators,
    pub(crate) level_policy: Option<VerifiedLevelPolicy>,
    pub(crate) appraisal_policy: Option<VerifiedAppraisalPolicy>,
    pub(crate) entropy: SystemEntropy,
    pub(crate) audit: AuditLog,
    /// Enrolments whose challenge is on its way. Not kept on disk: they hold secrets, and begin anew after a restart.
    pub(crate) enrolments: Waiting<Pending>,
    /// What of each robot's platform was judged good last, as it was read or written since this authority was opened.
    pub(crate) platforms: BTreeMap<RobotId, PlatformRecord>,
}

impl Authority {
    /// Makes an authority in a new or empty folder: keys, folders for roots, configuration.
    ///
    /// # Errors
    /// [`AuthorityError`]; the folder is then half-written and is refused until it is removed.
    pub fn create(path: &Path, config: AuthorityConfig) -> Result<Self, AuthorityError> {
        if !config.seal_file.is_absolute() || config.seal_file.to_str().is_none() {
            return Err(AuthorityError::SealPath(config.seal_file));
        }
        let folder = StateFolder::create(path)?;
        let mut entropy = SystemEntropy;
        let keys = Keys::create(&folder, &config.seal_file, config.curve, &mut entropy)?;
        folder.make_folder(PRODUCTION_ROOTS)?;
        folder.make_folder(SIMULATOR_ROOTS)?;
        folder.make_folder(DEVICE_ROOTS)?;
        folder.make_folder(REVOCATION_LISTS)?;
        folder.put(CONFIG.0, CONFIG.1, &config.encode())?;
        let audit = AuditLog::open(&folder, &mut entropy)?;
        folder.seal_creation()?;
        Ok(Self::with(folder, config, keys, Operators::default(), audit))
    }

    /// Opens the authority of a folder.
    ///
    /// # Errors
    /// [`AuthorityError`] says what is wrong with the folder and what to do.
    pub fn open(path: &Path) -> Result<Self, AuthorityError> {
        let folder = StateFolder::open(path)?;
        let config = folder.get(CONFIG.0, CONFIG.1)?.ok_or(AuthorityError::NoConfig)?;
        let config = AuthorityConfig::decode(&config)?;
        let keys = Keys::load(&folder, &config.seal_file)?;
        let operators = Operators::load(&folder)?;
        let level_policy = level_policy::load(&folder, &keys.signing.verifying_key())?;
        let appraisal_policy = appraisal_policy::load(&folder, &keys.signing.verifying_key())?;
        replacement::finish(&folder, &keys.signing.verifying_key())?;
        let audit = AuditLog::open(&folder, &mut SystemEntropy)?;
        let mut authority = Self::with(folder, config, keys, operators, audit);
        authority.level_policy = level_policy;
        authority.appraisal_policy = appraisal_policy;
        Ok(authority)
    }

    const fn with(
        folder: StateFolder,
        config: AuthorityConfig,
        keys: Keys,
        operators: Operators,
        audit: AuditLog,
    ) -> Self {
        Self {
            folder,
            config,
            keys,
            operators,
            level_policy: None,
            appraisal_policy: None,
            entropy: SystemEntropy,
            audit,
            enrolments: Waiting::new(),
            platforms: BTreeMap::new(),
        }
    }

    /// Where the authority's state is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What the authority was made with.
    pub const fn config(&self) -> &AuthorityConfig {
        &self.config
    }

    /// The key that its records, missions, leases and results verify with: what robots pin.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.keys.signing.verifying_key()
    }

    /// The registered persons.
    pub const fn operators(&self) -> &Operators {
        &self.operators
    }

    /// Registers a person.
    ///
    /// # Errors
    /// [`OperatorError`]: the name or the key is taken, or the folder refuses.
    pub fn register_operator(&mut self, operator: Operator, now_ms: u64) -> Result<(), OperatorError> {
        let Operator { id, role, labels, .. } = &operator;
        let subject = format!("operator {id} registered as {role}, cleared for {}", labels.level);
        let decision = Decision::about(EntryKind::Configuration, None, subject);
        let decision = decision.with_object(HashAlg::Sha256.digest(&[&operator.key.to_spki_der()]));
        self.acting_on_record(decision, now_ms, |authority| {
            authority.operators.register(&authority.folder, operator)
        })
    }

    /// The names of the enrolled robots, sorted.
    ///
    /// # Errors
    /// What the folder refused.
    pub fn robots(&self) -> Result<Vec<String>, StoreError> {
        robots::names(&self.folder)
    }

    /// A robot's enrolment.
    ///
    /// # Errors
    /// [`RobotError`]: not enrolled, or its record does not verify.
    pub fn enrolment(&self, robot: &RobotId) -> Result<VerifiedEnrolment, RobotError> {
        robots::enrolment(&self.folder, &self.verifying_key(), robot)
    }

    /// The enrolment of a robot that may still be used: one that was purged proves nothing more.
    ///
    /// # Errors
    /// [`RobotError::Purged`], or as [`Self::enrolment`].
    pub(crate) fn active(&self, robot: &RobotId) -> Result<VerifiedEnrolment, RobotError> {
        if purge::is_purged(&self.folder, robot)? {
            return Err(RobotError::Purged(robot.clone()));
        }
        self.enrolment(robot)
    }

    /// What was last seen of a robot.
    ///
    /// # Errors
    /// [`RobotError`] where the record does not read.
    pub fn standing(&self, robot: &RobotId) -> Result<robots::Standing, RobotError> {
        robots::standing(&self.folder, robot)
    }

    /// Whom the robots of this authority are to believe.
    ///
    /// # Errors
    /// What the vault says.
    pub fn anchors<V: ApprovalVault>(&self, vault: &mut V) -> Result<TrustAnchors, V::Fault> {
        Ok(TrustAnchors {
            authority: self.verifying_key(),
            mission_by_one: vault.approval_public(ApprovalPurpose::MissionByOne)?,
            mission_by_two: vault.approval_public(ApprovalPurpose::MissionByTwo)?,
            rearm: vault.approval_public(ApprovalPurpose::Rearm)?,
        })
    }

    pub(crate) const fn issuer(&self) -> Issuer<'_> {
        Issuer {
            signing: &self.keys.signing,
            custody: &self.keys.custody,
        }
    }

    pub(crate) const fn signing(&self) -> &SigningKey {
        &self.keys.signing
    }

    /// The profile of a level as this authority holds a robot of a tier to it.
    pub(crate) fn profile_for(&self, level: Level, tier: HardwareTier) -> LevelProfile {
        self.admission().profile(level, tier)
    }

    /// What this authority admits now.
    pub(crate) fn admission(&self) -> Admission {
        Admission {
            ceiling: self.config.ceiling,
            admit_simulators: self.config.admit_simulators,
            profiles: self.profiles(),
        }
    }

    /// The policy's name in results: with the name and version of the appraisal policy, where one is in force.
    pub(crate) fn policy_name(&self) -> String {
        let base = if self.config.admit_simulators {
            "urn:alcub3:policy:admits-simulators"
        } else {
            "urn:alcub3:policy:production"
        };
        match self.appraisal_policy().map(VerifiedAppraisalPolicy::policy) {
            Some(policy) => format!("{base}:{}:{}", policy.name(), policy.version()),
            None => base.to_owned(),
        }
    }
}
