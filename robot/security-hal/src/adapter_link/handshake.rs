//! The proof of both ends: HMAC-SHA256 with the session's key over both nonces, the role, the connection and its session.
//!
//! The agent proves itself first, with a tag that only it may make (its role is in it), so that neither can be answered with its
//! own words. Whoever holds no key learns one tag over a nonce of its choice, which proves nothing to anybody.

use alcub3_crypto::{Entropy, EntropyError, HashAlg, MacKey, Secret};
use alcub3_trust_model::domain;
use serde::{Deserialize, Serialize};

use super::message::{ToAdapter, ToAgent, VERSION, parse};
use super::refusal::LinkRefusal;
use super::wire::lower_hex;

/// What a connection is for.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Commands, descriptions, telemetry.
    Drive,
    /// Stops, and nothing that could keep them waiting.
    Stop,
}

impl Channel {
    const fn name(self) -> &'static str {
        match self {
            Self::Drive => "drive",
            Self::Stop => "stop",
        }
    }
}

/// The secret of one session: 32 random bytes that only the agent and this adapter hold.
#[derive(Clone, Debug)]
pub struct LinkKey(Secret);

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 32;
type Nonce = [u8; NONCE_BYTES];

impl LinkKey {
    /// A new one.
    ///
    /// # Errors
    /// The source's.
    pub fn generate(entropy: &mut impl Entropy) -> Result<Self, EntropyError> {
        let mut key = Secret::zeroed(KEY_BYTES);
        entropy.fill(key.expose_mut())?;
        Ok(Self(key))
    }

    /// The key of a key file's text: 64 hexadecimal digits, and at most one end of line.
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_suffix('\n').unwrap_or(text);
        let bytes = Secret::from_vec(lower_hex(digits).ok()?);
        (bytes.len() == KEY_BYTES).then_some(Self(bytes))
    }

    /// The key file's text.
    pub fn to_text(&self) -> Secret {
        let mut text = hex::encode(self.0.expose()).into_bytes();
        text.push(b'\n');
        Secret::from_vec(text)
    }

    fn tag(&self, role: &str, about: &About) -> String {
        let key = MacKey::new(HashAlg::Sha256, self.0.expose());
        key.tag(&about.parts(role)).to_hex()
    }

    fn verify(&self, role: &str, about: &About, tag: &str) -> Result<(), LinkRefusal> {
        let key = MacKey::new(HashAlg::Sha256, self.0.expose());
        if key.verify(&about.parts(role), &lower_hex(tag)?) {
            Ok(())
        } else {
            Err(LinkRefusal::NotAuthentic)
        }
    }
}

const AGENT: &str = "agent";
const ADAPTER: &str = "adapter";

/// What a tag is over, beside the role.
#[derive(Clone, Debug)]
struct About {
    channel: Channel,
    session: String,
    adapter_nonce: Nonce,
    agent_nonce: Nonce,
}

impl About {
    fn parts<'a>(&'a self, role: &'a str) -> [&'a [u8]; 10] {
        const END: &[u8] = &[0];
        [
            domain::ADAPTER_LINK.as_bytes(),
            END,
            role.as_bytes(),
            END,
            self.channel.name().as_bytes(),
            END,
            self.session.as_bytes(),
            END,
            &self.adapter_nonce,
            &self.agent_nonce,
        ]
    }
}

/// A connection whose two ends have proven themselves. Only a handshake makes one.
#[derive(Debug)]
pub struct Proven {
    pub(super) channel: Channel,
}

/// The agent's end of a handshake.
pub struct AgentHandshake<'a> {
    key: &'a LinkKey,
    channel: Channel,
    session: &'a str,
    nonce: Nonce,
}

impl<'a> AgentHandshake<'a> {
    /// For a connection that is to be of this channel. `session` is the one that a stop connection must name; empty for a driving
    /// one, which begins a session.
    pub const fn new(key: &'a LinkKey, channel: Channel, session: &'a str, nonce: Nonce) -> Self {
        Self {
            key,
            channel,
            session,
            nonce,
        }
    }

    /// Takes the adapter's hello, and answers with the agent's proof.
    ///
    /// # Errors
    /// [`LinkRefusal`]: malformed, another version, channel or session.
    pub fn on_hello(self, message: &[u8]) -> Result<(ToAdapter, AgentChallenge<'a>), LinkRefusal> {
        let (version, channel, session, nonce) = match parse(message)? {
            ToAgent::Hello {
                version,
                channel,
                session,
                nonce,
            } => (version, channel, session, nonce),
            other => return Err(LinkRefusal::Unexpected(other.name())),
        };
        if version != VERSION {
            return Err(LinkRefusal::Version(version));
        }
        if channel != self.channel {
            return Err(LinkRefusal::Unexpected("hello"));
        }
        if session != self.session {
            return Err(LinkRefusal::OtherSession);
        }
        let about = About {
            channel,
            session,
            adapter_nonce: nonce_of(&nonce)?,
            agent_nonce: self.nonce,
        };
        let challenge = ToAdapter::Challenge {
            nonce: hex::encode(self.nonce),
            proof: self.key.tag(AGENT, &about),
        };
        Ok((challenge, AgentChallenge { key: self.key, about }))
    }
}

/// The agent's end, waiting for the adapter's proof.
pub struct AgentChallenge<'a> {
    key: &'a LinkKey,
    about: About,
}

impl AgentChallenge<'_> {
    /// Takes the adapter's proof.
    ///
    /// # Errors
    /// [`LinkRefusal::NotAuthentic`], or malformed.
    pub fn on_proof(self, message: &[u8]) -> Result<Proven, LinkRefusal> {
        let proof = match parse(message)? {
            ToAgent::Proof { proof } => proof,
            other => return Err(LinkRefusal::Unexpected(other.name())),
        };
        self.key.verify(ADAPTER, &self.about, &proof)?;
        Ok(Proven {
            channel: self.about.channel,
        })
    }
}

/// The adapter's end of a handshake.
pub struct AdapterHandshake<'a> {
    key: &'a LinkKey,
    channel: Channel,
    session: String,
    nonce: Nonce,
}

impl<'a> AdapterHandshake<'a> {
    /// Begins: the hello is the first message. `session` is the driving connection's for a stop connection, else empty.
    pub fn begin(key: &'a LinkKey, channel: Channel, session: &str, nonce: Nonce) -> (Self, ToAgent) {
        let hello = ToAgent::Hello {
            version: VERSION,
            channel,
            session: session.to_owned(),
            nonce: hex::encode(nonce),
        };
        let handshake = Self {
            key,
            channel,
            session: session.to_owned(),
            nonce,
        };
        (handshake, hello)
    }

    /// Takes the agent's challenge, and answers with the adapter's proof.
    ///
    /// # Errors
    /// [`LinkRefusal::NotAuthentic`]: who answers is not the agent. Or malformed.
    pub fn on_challenge(self, message: &[u8]) -> Result<(ToAgent, Proven), LinkRefusal> {
        let (nonce, proof) = match parse(message)? {
            ToAdapter::Challenge { nonce, proof } => (nonce, proof),
            other => return Err(LinkRefusal::Unexpected(other.name())),
        };
        let about = About {
            channel: self.channel,
            session: self.session,
            adapter_nonce: self.nonce,
            agent_nonce: nonce_of(&nonce)?,
        };
        self.key.verify(AGENT, &about, &proof)?;
        let proof = self.key.tag(ADAPTER, &about);
        let channel = self.channel;
        Ok((ToAgent::Proof { proof }, Proven { channel }))
    }
}

fn nonce_of(text: &str) -> Result<Nonce, LinkRefusal> {
    let bytes = lower_hex(text)?;
    let wrong = |_| LinkRefusal::Malformed(format!("a nonce has {NONCE_BYTES} bytes"));
    Nonce::try_from(bytes).map_err(wrong)
}
