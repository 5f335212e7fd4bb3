//! The table of known answers, with where each comes from.

use crate::{Curve, HashAlg};

/// An approved algorithm, as the self tests name it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TestedAlgorithm {
    /// A hash.
    Hash(HashAlg),
    /// HMAC.
    Hmac(HashAlg),
    /// The TPM's KDFa.
    Kdfa(HashAlg),
    /// The TPM's KDFe.
    Kdfe(HashAlg),
    /// AES-CFB128 with a key of this many bits.
    AesCfb(u16),
    /// AES-256-GCM.
    AesGcm,
    /// ECDSA verification with the curve's hash.
    Ecdsa(Curve),
    /// RSASSA-PKCS1-v1_5 verification.
    RsaPkcs1,
    /// RSASSA-PSS verification.
    RsaPss,
    /// ECDH and KDFe: the salt shared with a TPM key.
    SharedSeed(Curve),
    /// HPKE opening.
    Hpke,
}

impl TestedAlgorithm {
    /// Every algorithm that must have a known answer.
    pub const ALL: [TestedAlgorithm; 22] = [
        TestedAlgorithm::Hash(HashAlg::Sha256),
        TestedAlgorithm::Hash(HashAlg::Sha384),
        TestedAlgorithm::Hash(HashAlg::Sha512),
        TestedAlgorithm::Hmac(HashAlg::Sha256),
        TestedAlgorithm::Hmac(HashAlg::Sha384),
        TestedAlgorithm::Hmac(HashAlg::Sha512),
        TestedAlgorithm::Kdfa(HashAlg::Sha256),
        TestedAlgorithm::Kdfa(HashAlg::Sha384),
        TestedAlgorithm::Kdfa(HashAlg::Sha512),
        TestedAlgorithm::Kdfe(HashAlg::Sha256),
        TestedAlgorithm::Kdfe(HashAlg::Sha384),
        TestedAlgorithm::Kdfe(HashAlg::Sha512),
        TestedAlgorithm::AesCfb(128),
        TestedAlgorithm::AesCfb(256),
        TestedAlgorithm::AesGcm,
        TestedAlgorithm::Ecdsa(Curve::P256),
        TestedAlgorithm::Ecdsa(Curve::P384),
        TestedAlgorithm::RsaPkcs1,
        TestedAlgorithm::RsaPss,
        TestedAlgorithm::SharedSeed(Curve::P256),
        TestedAlgorithm::SharedSeed(Curve::P384),
        TestedAlgorithm::Hpke,
    ];
}

/// An algorithm and what it must give for the fixed input of `check`; for signatures and
/// HPKE, what must verify or open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAnswer {
    /// The algorithm.
    pub algorithm: TestedAlgorithm,
    /// The answer.
    pub expected: Vec<u8>,
}

/// A table of known answers. [`KnownAnswers::built_in`] is the one that counts; tests corrupt copies of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAnswers(pub Vec<KnownAnswer>);

impl KnownAnswers {
    /// The built-in table.
    #[must_use]
    pub fn built_in() -> Self {
        // An answer that does not decode is empty, and an empty answer is never right.
        let decode = |hexadecimal: &str| hex::decode(hexadecimal).unwrap_or_default();
        Self(
            TestedAlgorithm::ALL
                .into_iter()
                .map(|algorithm| KnownAnswer {
                    algorithm,
                    expected: decode(answer(algorithm)),
                })
                .collect(),
        )
    }
}

fn answer(algorithm: TestedAlgorithm) -> &'static str {
    match algorithm {
        TestedAlgorithm::Hash(alg) => hash(alg),
        TestedAlgorithm::Hmac(alg) => hmac(alg),
        TestedAlgorithm::Kdfa(alg) => kdfa(alg),
        TestedAlgorithm::Kdfe(alg) => kdfe(alg),
        // SP 800-38A, F.3.13 and F.3.17: four blocks.
        TestedAlgorithm::AesCfb(128) => {
            "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b\
             26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6"
        }
        TestedAlgorithm::AesCfb(_) => {
            "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b\
             df10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471"
        }
        // SP 800-38D's test case 16 of the GCM submission: ciphertext and tag.
        TestedAlgorithm::AesGcm => {
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662\
             76fc6ece0f4e1768cddf8853bb2d551b"
        }
        // RFC 6979, A.2.5 and A.2.6: message "sample".
        TestedAlgorithm::Ecdsa(Curve::P256) => {
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        }
        TestedAlgorithm::Ecdsa(Curve::P384) => {
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46\
             99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"
        }
        TestedAlgorithm::RsaPkcs1 => RSA_PKCS1,
        TestedAlgorithm::RsaPss => RSA_PSS,
        // Made with Python's cryptography 48 (ECDH) and hashlib (KDFe): the keys of RFC 6979, A.2.5 and A.2.6, against the
        // ephemeral scalar 01 02 03 and so on.
        TestedAlgorithm::SharedSeed(Curve::P256) => {
            "725e08b0515f73035b5b3cf076649083095cb0048a39e08a500b199168415848"
        }
        TestedAlgorithm::SharedSeed(Curve::P384) => {
            "720b9f5f730125333687e99045b58f8b66a60a86cebcaf6366853805b7f935c061bd98b6c43219e8a006c975b6522b01"
        }
        // The message of `check`, sealed with Python's cryptography 48 to the key of RFC 6979, A.2.6.
        TestedAlgorithm::Hpke => {
            "0407999eafbef13e8cb612d3da24db2ddbe372b696234ba85ddeec9901c2291ba4a228dbd68fb774d18fa58a11bcb5437c\
             d5266bc7bddb53fbb8f00da8f0d3a48042ebb9bf2194af7b702cef689151a7f1b012fc5ab235fc3843df5176f702f0ed\
             9d7bc6ccff3df784a5576c04885fcb46919c4dbd530e140186660410942cdc9f125ce8"
        }
    }
}

/// FIPS 180-4's example "abc".
fn hash(alg: HashAlg) -> &'static str {
    match alg {
        HashAlg::Sha1 => "",
        HashAlg::Sha256 => "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        HashAlg::Sha384 => {
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
        }
        HashAlg::Sha512 => {
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        }
    }
}

/// RFC 4231, test case 2.
fn hmac(alg: HashAlg) -> &'static str {
    match alg {
        HashAlg::Sha1 => "",
        HashAlg::Sha256 => "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        HashAlg::Sha384 => {
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
        }
        HashAlg::Sha512 => {
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        }
    }
}

/// SP 800-108 in counter mode, made with OpenSSL 3.0: `openssl kdf -keylen 64 -kdfopt mac:HMAC -kdfopt digest:ALG -kdfopt
/// mode:COUNTER -kdfopt hexkey:00..1f -kdfopt salt:STORAGE -kdfopt hexinfo:a0a1a2a3a4a5a6a7b0b1b2b3 KBKDF`.
fn kdfa(alg: HashAlg) -> &'static str {
    match alg {
        HashAlg::Sha1 => "",
        HashAlg::Sha256 => {
            "1ad0bd1ac9541ac0fe3c30e0cb5fc4202f10c585819bda8ed35f20d8002fff5a\
             d58d2bd30f39dcbc7b8e17a24959b4d5f9866dc0fc0c91fedb976b3e76c901a8"
        }
        HashAlg::Sha384 => {
            "c3a7d6a200d574c376b7c2806ed552de1d1a6f9b2252eba2959c6d1853462ff7\
             d9070ed21e3f77f5f20a432ed64b1a229fc3655ea615da842362980b2528c9f7"
        }
        HashAlg::Sha512 => {
            "b68c72be6d336c063b87a3f841f797b870cba7bb4328ad7726cfe66728d1f188\
             bc3fa9ef4e40349ac01d14d14d2ec6bb95a8b0e9c0f7bbfa03f81fc174df39b5"
        }
    }
}

/// SP 800-56A's one step, made with OpenSSL 3.0: `openssl kdf -keylen 48 -kdfopt digest:ALG -kdfopt hexkey:00..1f -kdfopt
/// hexinfo:4944454e5449545900a0a1a2a3a4a5a6a7b0b1b2b3 SSKDF` (the info is "IDENTITY", NUL, party U, party V).
fn kdfe(alg: HashAlg) -> &'static str {
    match alg {
        HashAlg::Sha1 => "",
        HashAlg::Sha256 => {
            "32e406b3952dd6779ca990a443d4e852aed8f0c26787d130123247bdf06d6a15439a62328fee25a46b42967be409bca8"
        }
        HashAlg::Sha384 => {
            "58bd825a729785cd9c5bbf05acad4800476358d02d064978618da7006d2414e821c68464c04b72d7da379ab7ca867880"
        }
        HashAlg::Sha512 => {
            "2a4ce98004d755d5edf167c55eb0459df48933aebba817c01c0e356074534f718fe50a0278b674f5522188cc4a8e36b8"
        }
    }
}

/// The key of the two RSA answers, made with OpenSSL 3.0 (`openssl genrsa 2048`) and thrown away; exponent 65537.
pub(super) const RSA_MODULUS: &str = "\
    ca7a21ed7936b5b8cd134f7e3918df8ba4786a4754ae587b86697982662c61178feebfd4d808823929bf21932a96ede8\
    dda7ef9762edd801c6d61e6fd2e71855a8ecae9c14b13547ff8816711e9e1c6616028b6acff9a12faab927c6865dc845\
    fd9f2030c5a24bdbff4cefe6187f10c57b9ec97912790b1a38c3c2f5226e73b0e405444bc86fadc03ea194794293ae7c\
    85c20809bf8b898b9812a7b9f2ee389dfa817e8e6d5297023b635363294c1bcad7803e991c0dbd4fa986022f5f3482e5\
    8f1ea8261a6009c7c60cfcc78dd83612ef036eefc89e65fc32521ea186633dd47fe78b2d1cd97a11e6350f77de5759d1\
    eda1f4c75f5781c8487eb42f492236ff";

/// `printf sample | openssl dgst -sha256 -sign KEY`.
const RSA_PKCS1: &str = "\
    8b4ab9bab2a26ad60ac38c450fe77fd59e551cbed00ee6f529f719a264716453fc2a120ebc7bd7c432c4e6fb3634a256\
    e3ed4af2044fc2c75da9f93bb230f944dfe4b7d44c71b9c848cf9423c783386612675ee2e8f05940f2c101198c6193a8\
    23cc6527118311e87fa7aceb26d052e6db7887f871d61b97ebab64f7d7f540c4661af50f220af9f2faca8df5b870e636\
    e11cb1e0bfb09f349dd79989fcce8e67e0a8c89bba1479d9891246ab9b74af9f86a8aadde2eebfe0d31580f2c153c33e\
    bb2493a9fa9750a99db8e9e3bff26d7a9a25b73ceaa64bb42f5fb17f111bfbf75df62cda054aa744428e388ba3e928ba\
    2db82ddf5431e207b877b56fa602f2aa";

/// `printf sample | openssl dgst -sha384 -sign KEY -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest`.
const RSA_PSS: &str = "\
    aa60d5cd98a97ab80f3ead22c9508d1c3d2c024c0d9fa1c361cdd31d2a4dd8912353247c504cb6a5edc90b19d252aed6\
    d3f4532560f732b002391f9b4d6576a806c8c40832a6ff9601a39097bd2cac83a2bf1067ada59f7debc4ac78e8eec4a4\
    0f11b1f24c41fc1295671f75960f534a4f203a5e4416d3ec656cc8d33b257e12a9f7ec16e93fe1e6242a994f95ece5b8\
    1b56b6924dc4acaf26a36aa25a42f746a91ddc56dc0518da34a1e6bf9365829be1146eae34b32ad28109507eee4d6f02\
    da36eee7a510c90627d79dfc7dc12e43a512204bc1b7d393b8bf129b5f37ea3fed3429a4d5aec567e054f92590f4858e\
    79b74d640ca878dcc6a29ba8c73c7b7e";
