//! Mutual TLS with the device key in the TPM: from rustls in the project, and from OpenSSL with the exported key file,
//! both on one TPM and against a server of the test's own that admits the authority's robots alone.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{IdentityLink, LinkError, Robot};
use alcub3_keys::StateFolder;
use alcub3_server::Authority;
use alcub3_testkit::{Served, Swtpm};
use alcub3_tpm::transport::Counted;
use alcub3_tpm::{Lane, Tpm, TpmOptions};
use alcub3_trust_model::{RobotId, SessionId};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use support::{Run, command, finished};
use tempfile::TempDir;

const GREETING: &[u8] = b"hello, robot\n";
const ANSWER: &[u8] = b"hello, server\n";
const PATIENCE: Duration = Duration::from_secs(60);

/// A fleet of one robot, whose TPM others can reach too.
struct World {
    folder: TempDir,
    robot: Swtpm,
    served: Served,
    authority: Served,
    _authority_tpm: Swtpm,
}

impl World {
    fn start() -> Self {
        let (robot, authority) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            served: robot.serve().unwrap(),
            authority: authority.serve().unwrap(),
            robot,
            _authority_tpm: authority,
        };
        for name in ["alice", "bob"] {
            world.yes(&format!("authority operator key {name}.key"));
        }
        world.yes(
            "authority init --fleet test --approver alice=alice.key.pub --approver bob=bob.key.pub --admit-simulators",
        );
        world.yes("provision r1 --level UNCLASSIFIED --simulator-ca");
        world.yes("identity create");
        world.yes("identity export --key key.pem --certificate cert.pem --initial idevid.pem --ca ca.pem");
        world
    }

    fn run(&self, words: &str) -> Run {
        let mut command = command();
        command
            .env("ALCUB3_TPM", self.served.spec())
            .env("ALCUB3_STATE", self.folder.path().join("robot"))
            .env("ALCUB3_AUTHORITY", self.folder.path().join("authority"))
            .env("ALCUB3_AUTHORITY_TPM", self.authority.spec())
            .current_dir(self.folder.path());
        finished(command.args(words.split_whitespace()).output().unwrap())
    }

    fn yes(&self, words: &str) -> serde_json::Value {
        let run = self.run(&format!("--json {words}"));
        assert_eq!(run.code, 0, "{words}: {}{}", run.stdout, run.stderr);
        run.json()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// `openssl s_client` with a key and a certificate, as whoever has Debian's packages runs it.
    fn openssl(&self, server: &Server, key: &Path) -> (bool, String) {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error"])
            // The default provider first, so that hashing is in software: a TPM has three slots, and a handshake has more
            // hashes under way. A property query does not reach the hashes within the key schedule.
            .args(["-provider", "default", "-provider", "tpm2"])
            .args(["-propquery", "?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes"])
            .args(["-connect", &format!("127.0.0.1:{}", server.port)])
            .args(["-servername", "localhost"])
            .arg("-CAfile")
            .arg(self.path("server.pem"))
            .arg("-cert")
            .arg(self.path("cert.pem"))
            .arg("-key")
            .arg(key)
            .env("TPM2OPENSSL_TCTI", self.served.tcti())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed: scripts/bootstrap.sh");
        // A client that could not load its key has gone already.
        let _ = child.stdin.as_mut().unwrap().write_all(ANSWER);
        let output = child.wait_with_output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.stdout == GREETING, said)
    }
}

/// A TLS server that demands a certificate of the fleet's authority. Each connection is greeted, answers, and is told of.
struct Server {
    port: u16,
    /// What each connection came to: the client's certificate, or why there was none.
    met: mpsc::Receiver<Result<Vec<u8>, String>>,
    roots: RootCertStore,
}

impl Server {
    fn start(world: &World) -> Self {
        // Ed25519, which the TPM's provider does not know: checking the server in the TPM as well takes a fourth slot.
        let own_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let own = params.self_signed(&own_key).unwrap();
        std::fs::write(world.path("server.pem"), own.pem()).unwrap();
        let mut clients = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(world.path("ca.pem")).unwrap();
        clients.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(clients.into(), provider.clone())
            .build()
            .unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, met) = mpsc::channel();
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if sender.send(meet(stream, config.clone())).is_err() {
                    return;
                }
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).unwrap();
        Self { port, met, roots }
    }

    fn next(&self) -> Result<Vec<u8>, String> {
        self.met.recv_timeout(PATIENCE).unwrap()
    }

    /// Greets and is greeted over a client's configuration.
    fn greet(&self, config: ClientConfig) -> std::io::Result<()> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut tls = StreamOwned::new(connection, stream);
        let mut greeting = [0; GREETING.len()];
        tls.read_exact(&mut greeting)?;
        assert_eq!(greeting, GREETING);
        tls.write_all(ANSWER)?;
        tls.conn.send_close_notify();
        tls.flush()
    }
}

fn meet(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Vec<u8>, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| told(&e))?;
    let connection = ServerConnection::new(config).map_err(|e| told(&e))?;
    let mut tls = StreamOwned::new(connection, stream);
    tls.write_all(GREETING).map_err(|e| told(&e))?;
    let mut answer = [0; ANSWER.len()];
    tls.read_exact(&mut answer).map_err(|e| told(&e))?;
    assert_eq!(answer, ANSWER);
    let client = tls.conn.peer_certificates().and_then(|chain| chain.first());
    let client = client.ok_or("no certificate")?.to_vec();
    tls.conn.send_close_notify();
    tls.flush().map_err(|e| told(&e))?;
    Ok(client)
}

/// The robot of the state folder on the same TPM, in this process, with its commands counted.
fn robot(world: &World) -> (Robot, alcub3_tpm::transport::Counts) {
    let counted = Counted::new(world.robot.transport());
    let counts = counted.counts();
    let tpm = Tpm::start(Box::new(counted), TpmOptions::default()).unwrap();
    let folder = Arc::new(StateFolder::open(&world.path("robot")).unwrap());
    (Robot::open(tpm, folder, Vec::new()).unwrap(), counts)
}

#[test]
fn the_key_in_the_tpm_authenticates_from_rustls_and_from_openssl_and_another_key_does_not() {
    let world = World::start();
    let server = Server::start(&world);
    let certificate = CertificateDer::from_pem_file(world.path("cert.pem")).unwrap();

    let (opened, counts) = robot(&world);
    let identity = opened.tls_identity().unwrap();
    let config = identity.client_config(server.roots.clone()).unwrap();
    let before = counts.total();
    server.greet(config.clone()).unwrap();
    assert_eq!(counts.total() - before, 1, "one TPM2_Sign for a handshake");
    assert_eq!(server.next().unwrap(), certificate.as_ref());
    drop((config, identity));
    // Without a resource manager what this program leaves in a slot is one that the other lacks.
    let tpm = opened.keys().tpm().clone();
    opened.close().unwrap();
    tpm.run(Lane::Background, PATIENCE, |chip| chip.flush_dropped())
        .unwrap();
    drop(tpm);

    let (greeted, said) = world.openssl(&server, &world.path("key.pem"));
    assert!(greeted, "{said}");
    assert_eq!(server.next().unwrap(), certificate.as_ref());

    // The certificate with a key that is not its own, in software and in the TPM.
    let stranger = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    std::fs::write(world.path("other.pem"), stranger.serialize_pem()).unwrap();
    let (greeted, said) = world.openssl(&server, &world.path("other.pem"));
    assert!(!greeted, "{said}");
    // A certificate of nobody's, with its own key.
    let params = rcgen::CertificateParams::new(["robot".to_owned()]).unwrap();
    let own = params.self_signed(&stranger).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(stranger.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(server.roots.clone())
        .with_client_auth_cert(vec![own.der().clone()], key)
        .unwrap();
    server.greet(config).unwrap_err();
}

/// The authority of the folder, asked in this process: on a TPM without a resource manager a second program would flush
/// the key that this one has loaded.
struct Direct(Authority);

fn told<T, E>(answer: Result<T, E>) -> Result<T, LinkError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    answer.map_err(|error| LinkError(Box::new(error)))
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

impl IdentityLink for Direct {
    fn open_certificate(&mut self, robot: &RobotId) -> Result<SessionId, LinkError> {
        told(self.0.open_certificate(robot, now_ms()))
    }

    fn certify(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        told(self.0.issue_certificate(request, now_ms()))
    }

    fn certificate_used(&mut self, used: &[u8]) -> Result<Vec<u8>, LinkError> {
        told(self.0.certificate_used(used, now_ms()))
    }

    fn open_restore(&mut self, robot: &RobotId) -> Result<SessionId, LinkError> {
        told(self.0.open_restore(robot, now_ms()))
    }

    fn restore(&mut self, _: &[u8]) -> Result<Vec<u8>, LinkError> {
        Err(LinkError("this test loses no disk".into()))
    }
}

#[test]
fn a_renewed_key_takes_over_while_the_program_runs() {
    let world = World::start();
    let server = Server::start(&world);
    let first = CertificateDer::from_pem_file(world.path("cert.pem")).unwrap();
    let (opened, _) = robot(&world);
    let identity = opened.tls_identity().unwrap();
    let config = identity.client_config(server.roots.clone()).unwrap();
    let met = || {
        server.greet(config.clone()).unwrap();
        server.next().unwrap()
    };
    assert_eq!(met(), first.as_ref());
    let mut link = Direct(Authority::open(&world.path("authority")).unwrap());
    let renewed = opened.renew_identity(&mut link, now_ms()).unwrap();
    let renewed = renewed.issued.unwrap().certificate;
    // The program goes on with the key that it has loaded until it takes the new one.
    assert_eq!(met(), first.as_ref());
    opened.renew_tls_identity(&identity).unwrap();
    assert_eq!(met(), renewed);
    assert_ne!(renewed, first.as_ref());
    drop(link);
    opened.close().unwrap();
    world.yes("identity export --certificate cert2.pem");
    let exported = CertificateDer::from_pem_file(world.path("cert2.pem")).unwrap();
    assert_eq!(renewed, exported.as_ref());
    world.yes("identity renew");
}

#[test]
fn openssl_takes_the_certificates_for_what_they_are() {
    let world = World::start();
    for (leaf, lasts) in [("cert.pem", false), ("idevid.pem", true)] {
        let verified = Command::new("openssl")
            .args(["verify", "-purpose", "sslclient", "-x509_strict", "-CAfile"])
            .arg(world.path("ca.pem"))
            .arg(world.path(leaf))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success(), "{leaf}: {said}");
        let shown = Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in"])
            .arg(world.path(leaf))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.contains("URI:spiffe://test/robot/r1"), "{text}");
        assert!(text.contains("2.23.133.11.1.1"), "{text}");
        assert_eq!(text.contains("9999"), lasts, "{text}");
    }
}

#[test]
fn identity_commands_say_what_they_did_and_what_is_missing() {
    let world = World::start();
    let shown = world.yes("identity show");
    assert_eq!(
        shown["idevid"]["subject"]
            .as_str()
            .unwrap()
            .matches("CN=r1")
            .count(),
        1
    );
    assert_eq!(shown["hardware"]["sameness"], "same");
    let people = world.run("identity show");
    assert!(people.stdout.contains("LDevID certificate"), "{}", people.stdout);
    // The disk is lost.
    std::fs::remove_dir_all(world.path("robot")).unwrap();
    support::assert_error(&world.run("--json identity show"), 70, "robot");
    let recovered = world.yes("identity recover r1");
    assert_eq!(recovered["identity"], shown["identity"]);
    assert_eq!(recovered["attestation_key"], shown["attestation_key"]);
    assert_ne!(recovered["ldevid"]["name"], shown["ldevid"]["name"]);
    // Once it is back there is nothing to recover.
    assert_eq!(world.run("--json identity recover r1").code, 70);
    std::fs::remove_dir_all(world.path("robot")).unwrap();
    support::assert_error(&world.run("--json identity recover r2"), 1, "robot-unknown");
    assert_eq!(world.run("identity export").code, 2);
}
