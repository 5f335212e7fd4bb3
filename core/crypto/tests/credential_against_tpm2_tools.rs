//! Credentials, duplicates, salts, Names, templates and quotes against a TPM.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use alcub3_crypto::tpm::{
    Name, Public, PublicTemplate, Signature, alg, attribute, duplicate, encrypt_salt, make_credential,
};
use alcub3_crypto::{Curve, HashAlg, Secret, SigningKey, VerifyingKey, hmac, kdfa};
use support::{Counted, Tpm};

const RH_OWNER: u32 = 0x4000_0001;

/// Makes the standard EK of this kind and reads its public area.
fn endorsement_key(tpm: &Tpm, kind: &str) -> Public {
    tpm.run(&format!("tpm2_createek -G {kind} -c ek.ctx -u ek.pub"));
    Public::from_tpm2b(&tpm.read("ek.pub")).unwrap()
}

/// Our credential file as tpm2_activatecredential reads it: magic, version, then the two TPM2Bs.
fn credential_file(id_object: &[u8], encrypted_secret: &[u8]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    [
        &[0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0, 1][..],
        &sized(id_object),
        &sized(encrypted_secret),
    ]
    .concat()
}

fn activate(tpm: &Tpm) -> (bool, Vec<u8>) {
    tpm.run("tpm2_startauthsession --policy-session -S session -g sha256");
    tpm.run("tpm2_policysecret -S session -c e");
    let command = "tpm2_activatecredential -c ak.ctx -C ek.ctx -i credential -o secret -P session:session";
    let (ok, _, _) = tpm.attempt(command);
    tpm.run("tpm2_flushcontext session");
    tpm.run("tpm2_flushcontext -t");
    (ok, if ok { tpm.read("secret") } else { Vec::new() })
}

#[test]
fn a_credential_activates_on_the_tpm_it_is_for() {
    let Some(tpm) = Tpm::start() else { return };
    for (kind, template) in [
        ("rsa", PublicTemplate::ek_rsa_2048()),
        ("ecc", PublicTemplate::ek_ecc_p256()),
    ] {
        let ek = endorsement_key(&tpm, kind);
        let template = template.to_public().unwrap();
        assert_eq!(ek.attributes(), template.attributes(), "{kind}");
        assert_eq!(ek.auth_policy(), template.auth_policy(), "{kind}");
        tpm.run("tpm2_flushcontext -t");
        tpm.run("tpm2_createak -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name");
        tpm.run("tpm2_flushcontext -t");
        let ak = Public::from_tpm2b(&tpm.read("ak.pub")).unwrap();
        assert_eq!(ak.name().as_bytes(), tpm.read("ak.name"));
        for len in [1, 16, 32] {
            let secret = vec![0xA5; len];
            let made = make_credential(&ek, &ak.name(), &secret, &mut Counted(7)).unwrap();
            tpm.write(
                "credential",
                &credential_file(&made.id_object, &made.encrypted_secret),
            );
            assert_eq!(activate(&tpm), (true, secret), "{kind} {len}");
        }
        let other = Name::of_public(HashAlg::Sha256, b"another object");
        let made = make_credential(&ek, &other, b"secret", &mut Counted(8)).unwrap();
        tpm.write(
            "credential",
            &credential_file(&made.id_object, &made.encrypted_secret),
        );
        assert!(!activate(&tpm).0, "{kind}: activated for another object");
        assert!(make_credential(&ek, &ak.name(), &[0; 33], &mut Counted(9)).is_err());
        assert!(
            make_credential(&ak, &ak.name(), b"x", &mut Counted(9)).is_err(),
            "an AK is no storage key"
        );
    }
}

/// The high range's keys, of which tpm2_createek makes P-384 and RSA-3072, are used with their empty authorisation value.
#[test]
fn a_credential_activates_with_the_keys_of_the_high_range() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.run("tpm2_createprimary -C e -G ecc256:ecdsa:null -g sha256 -c ak.ctx -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign");
    tpm.run("tpm2_readpublic -c ak.ctx -o ak.pub");
    tpm.run("tpm2_flushcontext -t");
    let ak = Public::from_tpm2b(&tpm.read("ak.pub")).unwrap();
    for (kind, longest) in [("ecc384", 48), ("rsa3072", 48)] {
        let ek = endorsement_key(&tpm, kind);
        tpm.run("tpm2_flushcontext -t");
        for len in [1, longest] {
            let secret = vec![0x5A; len];
            let made = make_credential(&ek, &ak.name(), &secret, &mut Counted(7)).unwrap();
            tpm.write(
                "credential",
                &credential_file(&made.id_object, &made.encrypted_secret),
            );
            let (ok, _, error) =
                tpm.attempt("tpm2_activatecredential -c ak.ctx -C ek.ctx -i credential -o secret");
            assert!(ok, "{kind} {len}: {error}");
            assert_eq!(tpm.read("secret"), secret, "{kind} {len}");
            tpm.run("tpm2_flushcontext -t");
        }
        // And what tpm2_makecredential makes has the form of ours.
        tpm.write("secret.in", &[7; 32]);
        let name: String = ak
            .name()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        tpm.run(&format!(
            "tpm2_makecredential -u ek.pub -s secret.in -n {name} -o theirs"
        ));
        let theirs = tpm.read("theirs");
        let ours = make_credential(&ek, &ak.name(), &[7; 32], &mut Counted(7)).unwrap();
        assert_eq!(
            theirs.len(),
            credential_file(&ours.id_object, &ours.encrypted_secret).len()
        );
        tpm.run("tpm2_flushcontext -t");
    }
}

/// Our template hashes to what the TPM creates, but for the point that it fills in.
#[test]
fn ek_templates_are_the_ones_tpm2_tools_use() {
    let Some(tpm) = Tpm::start() else { return };
    let cases = [
        ("rsa", PublicTemplate::ek_rsa_2048(), 256),
        ("ecc", PublicTemplate::ek_ecc_p256(), 2 * 34),
        ("ecc384", PublicTemplate::ek_ecc_p384(), 4),
        ("rsa3072", PublicTemplate::ek_rsa_3072(), 2),
    ];
    for (kind, template, unique) in cases {
        let ek = endorsement_key(&tpm, kind);
        let ours = template.as_tpmt_bytes();
        let head = ours.len() - unique;
        assert_eq!(ek.as_tpmt_bytes()[..head], ours[..head], "{kind}");
        tpm.run("tpm2_flushcontext -t");
    }
}

/// A TPM creates from our templates exactly what they say, and calls it what we call it.
#[test]
fn names_and_qualified_names_agree() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.run("tpm2_createprimary -C o -G ecc -g sha256 -c parent.ctx");
    tpm.run("tpm2_readpublic -c parent.ctx -o parent.pub -n parent.name -q parent.qname");
    tpm.run("tpm2_flushcontext -t");
    let parent = Public::from_tpm2b(&tpm.read("parent.pub")).unwrap();
    assert_eq!(parent.name().as_bytes(), tpm.read("parent.name"));
    let parent_qualified = parent.qualified_name(&Name::of_handle(RH_OWNER));
    assert_eq!(parent_qualified.as_bytes(), tpm.read("parent.qname"));
    for (alg, kind) in [
        ("sha256", "ecc256"),
        ("sha384", "ecc384"),
        ("sha256", "hmac"),
        ("sha512", "rsa2048"),
    ] {
        tpm.run(&format!(
            "tpm2_create -C parent.ctx -G {kind} -g {alg} -u child.pub -r child.priv"
        ));
        tpm.run("tpm2_flushcontext -t");
        tpm.run("tpm2_load -C parent.ctx -u child.pub -r child.priv -c child.ctx");
        tpm.run("tpm2_readpublic -c child.ctx -o child.full -n child.name -q child.qname");
        tpm.run("tpm2_flushcontext -t");
        let child = Public::from_tpm2b(&tpm.read("child.full")).unwrap();
        assert_eq!(child.name().as_bytes(), tpm.read("child.name"), "{kind} {alg}");
        assert_eq!(
            child.qualified_name(&parent_qualified).as_bytes(),
            tpm.read("child.qname"),
            "{kind} {alg}"
        );
    }
}

/// Quotes and signatures of the TPM verify under the key in its public area, in every mixture of curve and hash.
#[test]
fn tpm_signatures_verify() {
    let Some(tpm) = Tpm::start() else { return };
    let schemes = [
        ("ecc256:ecdsa-sha256", "sha256"),
        ("ecc256:ecdsa-sha384", "sha384"),
        ("ecc384:ecdsa-sha384", "sha384"),
        ("ecc384:ecdsa-sha512", "sha512"),
        ("ecc384:ecdsa-sha256", "sha256"),
        ("rsa2048:rsassa-sha256", "sha256"),
        ("rsa2048:rsapss-sha384", "sha384"),
    ];
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign";
    for (kind, hash) in schemes {
        let scheme = kind.split([':', '-']).nth(1).unwrap();
        tpm.run(&format!(
            "tpm2_createprimary -C e -G {kind}:null -g sha256 -c ak.ctx -a {attributes}"
        ));
        tpm.run("tpm2_readpublic -c ak.ctx -o ak.pub");
        tpm.run(&format!(
            "tpm2_quote -c ak.ctx -l sha256:0,7 -g {hash} -q c0ffee -m quote -s signature --scheme {scheme}"
        ));
        tpm.run("tpm2_flushcontext -t");
        let key = Public::from_tpm2b(&tpm.read("ak.pub")).unwrap();
        let signature = Signature::from_tpmt_signature(&tpm.read("signature")).unwrap();
        assert_eq!(Some(signature.scheme), key.signature_scheme(), "{kind}");
        let key = key.verifying_key().unwrap();
        let mut quote = tpm.read("quote");
        assert_eq!(signature.verify(&key, &quote), Ok(()), "{kind}");
        quote[20] ^= 1;
        assert!(signature.verify(&key, &quote).is_err(), "{kind}");
    }
}

/// The private scalar of a software key, out of its PKCS#8.
fn scalar(key: &SigningKey) -> Secret {
    let der = key.to_pkcs8();
    let at = der
        .expose()
        .windows(4)
        .position(|window| window == [0x02, 0x01, 0x01, 0x04])
        .unwrap()
        + 5;
    let len = usize::from(der.expose()[at - 1]);
    Secret::from_slice(&der.expose()[at..at + len])
}

/// A software key wrapped to a storage parent imports there, loads, and signs.
#[test]
fn a_wrapped_key_imports_and_signs() {
    let Some(tpm) = Tpm::start() else { return };
    let empty = Secret::zeroed(0);
    for (parent, curve) in [
        ("ecc", Curve::P256),
        ("rsa", Curve::P256),
        ("ecc384:aes256cfb", Curve::P384),
    ] {
        let alg = if parent.starts_with("ecc384") {
            "sha384"
        } else {
            "sha256"
        };
        tpm.run(&format!(
            "tpm2_createprimary -C o -G {parent} -g {alg} -c parent.ctx"
        ));
        tpm.run("tpm2_readpublic -c parent.ctx -o parent.pub");
        tpm.run("tpm2_flushcontext -t");
        let new_parent = Public::from_tpm2b(&tpm.read("parent.pub")).unwrap();
        let key = SigningKey::generate(curve).unwrap();
        let object = PublicTemplate::external(&key.verifying_key(), curve.hash())
            .to_public()
            .unwrap();
        let sensitive = duplicate::sensitive(alg::ECC, &empty, &empty, &scalar(&key)).unwrap();
        let wrapped = duplicate::wrap(&new_parent, &object, &sensitive, &mut Counted(3)).unwrap();
        let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        tpm.write("object.pub", &object.to_tpm2b());
        tpm.write("object.dup", &sized(&wrapped.duplicate));
        tpm.write("object.seed", &sized(&wrapped.encrypted_seed));
        tpm.run("tpm2_import -C parent.ctx -u object.pub -i object.dup -s object.seed -r object.priv");
        tpm.run("tpm2_load -C parent.ctx -u object.pub -r object.priv -c object.ctx");
        tpm.run("tpm2_flushcontext -t");
        tpm.write("message", b"message");
        let hash = curve.hash();
        tpm.run(&format!(
            "tpm2_sign -c object.ctx -g {hash} -s ecdsa -o signature message"
        ));
        tpm.run("tpm2_flushcontext -t");
        let signature = Signature::from_tpmt_signature(&tpm.read("signature")).unwrap();
        assert_eq!(
            signature.verify(&key.verifying_key(), b"message"),
            Ok(()),
            "{parent}"
        );
        let mut changed = wrapped.duplicate.clone();
        *changed.last_mut().unwrap() ^= 1;
        tpm.write("object.dup", &sized(&changed));
        let import = "tpm2_import -C parent.ctx -u object.pub -i object.dup -s object.seed -r object.priv";
        assert!(
            !tpm.attempt(import).0,
            "{parent}: a changed duplicate was imported"
        );
    }
}

/// An HMAC key made in software imports and gives the tag that software gives.
#[test]
fn a_wrapped_hmac_key_imports_and_gives_our_tag() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.run("tpm2_createprimary -C o -G ecc -g sha256 -c parent.ctx");
    tpm.run("tpm2_readpublic -c parent.ctx -o parent.pub");
    tpm.run("tpm2_flushcontext -t");
    let new_parent = Public::from_tpm2b(&tpm.read("parent.pub")).unwrap();
    let (seed_value, key) = (
        Secret::from_slice(&[8; 32]),
        Secret::from_slice(b"a key of the authority"),
    );
    let template = PublicTemplate::hmac_key(HashAlg::Sha256, attribute::USER_WITH_AUTH, None);
    let object = duplicate::keyed_hash_object(&template, &seed_value, &key).unwrap();
    let sensitive = duplicate::sensitive(alg::KEYEDHASH, &Secret::zeroed(0), &seed_value, &key).unwrap();
    let wrapped = duplicate::wrap(&new_parent, &object, &sensitive, &mut Counted(4)).unwrap();
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    tpm.write("object.pub", &object.to_tpm2b());
    tpm.write("object.dup", &sized(&wrapped.duplicate));
    tpm.write("object.seed", &sized(&wrapped.encrypted_seed));
    tpm.run("tpm2_import -C parent.ctx -u object.pub -i object.dup -s object.seed -r object.priv");
    tpm.run("tpm2_load -C parent.ctx -u object.pub -r object.priv -c object.ctx");
    tpm.run("tpm2_flushcontext -t");
    tpm.write("message", b"message");
    tpm.run("tpm2_hmac -c object.ctx -g sha256 -o tag message");
    assert_eq!(
        tpm.read("tag"),
        hmac(HashAlg::Sha256, key.expose(), &[b"message"]).as_bytes()
    );
}

/// One raw command to the TPM; the response, after checking its code.
fn transmit(socket: &mut UnixStream, tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(10 + body.len()).unwrap().to_be_bytes();
    socket
        .write_all(&[&tag.to_be_bytes()[..], &size, &code.to_be_bytes(), body].concat())
        .unwrap();
    let mut response = vec![0; 4096];
    let len = socket.read(&mut response).unwrap();
    response.truncate(len);
    assert_eq!(response[6..10], [0; 4], "response code of {code:#x}");
    response.split_off(10)
}

/// A session salted by us authenticates a command, and the response's HMAC is the one the salt gives.
#[test]
fn a_salted_session_authenticates_both_ways() {
    let Some(tpm) = Tpm::start() else { return };
    for (kind, hash) in [
        ("rsa", HashAlg::Sha256),
        ("ecc", HashAlg::Sha256),
        ("ecc384", HashAlg::Sha384),
    ] {
        let ek = endorsement_key(&tpm, kind);
        tpm.run("tpm2_flushcontext -t");
        tpm.run("tpm2_evictcontrol -C o -c ek.ctx 0x81010001");
        let mut socket = UnixStream::connect(tpm.path("tpm")).unwrap();
        let (salt, encrypted) = encrypt_salt(&ek, &mut Counted(5)).unwrap();
        assert_eq!(salt.len(), hash.size());
        let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let nonce = vec![0x11; hash.size()];
        // TPM2_StartAuthSession: tpmKey, no bind, nonce, salt, HMAC session, no symmetric, hash.
        let body = [
            &[0x81, 0x01, 0, 1, 0x40, 0, 0, 7][..],
            &sized(&nonce),
            &sized(&encrypted),
            &[0, 0, 0x10],
            &hash.tpm_id().to_be_bytes(),
        ]
        .concat();
        let response = transmit(&mut socket, 0x8001, 0x176, &body);
        let (handle, nonce_tpm) = (&response[..4], &response[6..]);
        let key = kdfa(hash, salt.expose(), b"ATH", nonce_tpm, &nonce, hash.bits());
        check_get_random(&mut socket, hash, handle, key.expose(), nonce_tpm);
        drop(socket);
        tpm.run("tpm2_evictcontrol -C o -c 0x81010001");
        tpm.run("tpm2_flushcontext -l");
    }
}

/// TPM2_GetRandom(8) with the session for audit only.
fn check_get_random(socket: &mut UnixStream, alg: HashAlg, handle: &[u8], key: &[u8], nonce_tpm: &[u8]) {
    let code = 0x17Bu32;
    let nonce = vec![0x22; alg.size()];
    let attributes = [0x81u8]; // continueSession, audit
    let cp_hash = alg.digest(&[&code.to_be_bytes(), &[0, 8]]);
    let tag = hmac(alg, key, &[cp_hash.as_bytes(), &nonce, nonce_tpm, &attributes]);
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let session = [handle, &sized(&nonce), &attributes, &sized(tag.as_bytes())].concat();
    let size = u32::try_from(session.len()).unwrap().to_be_bytes();
    let response = transmit(socket, 0x8002, code, &[&size[..], &session, &[0, 8]].concat());
    // parameterSize, parameters, then nonceTPM, attributes, HMAC.
    let (parameters, session) = response[4..].split_at(10);
    let new_nonce = &session[2..2 + alg.size()];
    let rp_hash = alg.digest(&[&[0; 4], &code.to_be_bytes(), parameters]);
    let attributes = &session[2 + alg.size()..3 + alg.size()];
    let expected = hmac(alg, key, &[rp_hash.as_bytes(), new_nonce, &nonce, attributes]);
    assert_eq!(&session[5 + alg.size()..], expected.as_bytes());
}

#[test]
fn an_ephemeral_key_out_of_range_is_drawn_again_and_broken_entropy_is_an_error() {
    struct Ones(u32);
    impl alcub3_crypto::Entropy for Ones {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), alcub3_crypto::EntropyError> {
            self.0 += 1;
            out.fill(if self.0 < 3 { 0xFF } else { 0x42 });
            Ok(())
        }
    }
    struct Broken;
    impl alcub3_crypto::Entropy for Broken {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), alcub3_crypto::EntropyError> {
            Err(alcub3_crypto::EntropyError)
        }
    }
    let ek = storage_key();
    let mut ones = Ones(0);
    let (_, first) = encrypt_salt(&ek, &mut ones).unwrap();
    assert_eq!(ones.0, 3, "two draws were out of range");
    let (_, second) = encrypt_salt(&ek, &mut Ones(2)).unwrap();
    assert_eq!(
        first, second,
        "nothing but the entropy handed in decides the ephemeral key"
    );
    assert!(encrypt_salt(&ek, &mut Broken).is_err());
    assert!(encrypt_salt(&ek, &mut Always).is_err());
}

/// Never in range.
struct Always;

impl alcub3_crypto::Entropy for Always {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), alcub3_crypto::EntropyError> {
        out.fill(0xFF);
        Ok(())
    }
}

/// A storage key with a software key's point.
fn storage_key() -> Public {
    let key: VerifyingKey = SigningKey::generate(Curve::P256).unwrap().verifying_key();
    let (_, x, y) = key.ec_point().unwrap();
    let template = PublicTemplate::storage_parent(Curve::P256).into_tpmt_bytes();
    let head = &template[..template.len() - 4];
    Public::from_tpmt(&[head, &[0, 32], x, &[0, 32], y].concat()).unwrap()
}

#[test]
fn unfit_keys_are_refused() {
    let template = PublicTemplate::storage_parent(Curve::P256).to_public().unwrap();
    assert!(
        encrypt_salt(&template, &mut Counted(1)).is_err(),
        "a template has no point"
    );
    let signing = PublicTemplate::attestation_key(Curve::P256).to_public().unwrap();
    assert!(
        encrypt_salt(&signing, &mut Counted(1)).is_err(),
        "a signing key decrypts nothing"
    );
    let sealed = PublicTemplate::sealed_data(HashAlg::Sha256, attribute::NO_DA, None)
        .to_public()
        .unwrap();
    assert!(encrypt_salt(&sealed, &mut Counted(1)).is_err());
    let mut sha1 = storage_key().as_tpmt_bytes().to_vec();
    sha1[3] = 0x04;
    assert!(
        encrypt_salt(&Public::from_tpmt(&sha1).unwrap(), &mut Counted(1)).is_err(),
        "SHA-1"
    );
}
