//! An identity provider on a loopback port: a discovery document, a key set, and tokens signed as the test likes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// A key that the provider signs with.
#[derive(Debug)]
pub struct Key {
    /// What tokens name it by.
    pub id: &'static str,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The key itself.
    pub signing: EncodingKey,
}

impl Key {
    /// One of RSA, with 2048 bits.
    pub fn rsa(id: &'static str) -> Key {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        // `RSAPrivateKey`, which is inside the PKCS#8 document, is what the library signs with.
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        Key { id, algorithm: Algorithm::RS256, signing: EncodingKey::from_rsa_der(&inner_rsa(der.as_ref())) }
    }

    /// One on the curve P-256.
    pub fn ec(id: &'static str) -> Key {
        let rng = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        Key { id, algorithm: Algorithm::ES256, signing: EncodingKey::from_ec_der(der.as_ref()) }
    }

    /// One on the curve Ed25519.
    pub fn ed(id: &'static str) -> Key {
        let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        Key { id, algorithm: Algorithm::EdDSA, signing: EncodingKey::from_ed_der(der.as_ref()) }
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.signing).unwrap()
    }

    /// Its public half, as the provider publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }
}

/// The key inside a PKCS#8 document (RFC 5958, section 2): the last octet string, which begins with a sequence.
fn inner_rsa(pkcs8: &[u8]) -> Vec<u8> {
    let at = (20..40).find(|at| pkcs8[*at] == 0x04 && pkcs8[at + 4] == 0x30).unwrap();
    pkcs8[at + 4..].to_vec()
}

/// The provider. It ends when it is dropped: then nobody listens at its address any more.
#[derive(Debug)]
pub struct IdentityProvider {
    /// Its name for itself, a URL.
    pub issuer: String,
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    answers: Mutex<HashMap<String, (u16, Vec<u8>)>>,
    asked: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl IdentityProvider {
    /// Starts one that publishes these keys.
    pub fn start(keys: &[&Key]) -> IdentityProvider {
        IdentityProvider::start_with(None, keys)
    }

    /// Like [`IdentityProvider::start`], over TLS. Also gives the certificate of the authority to trust, in PEM.
    pub fn start_tls(keys: &[&Key]) -> (IdentityProvider, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let der = made.cert.der().clone();
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()));
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(crypto).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![der], key).unwrap();
        (IdentityProvider::start_with(Some(Arc::new(config)), keys), pem)
    }

    fn start_with(tls: Option<Arc<rustls::ServerConfig>>, keys: &[&Key]) -> IdentityProvider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = match tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://localhost:{}", address.port()),
        };
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                let stream = stream.unwrap();
                // A client that goes away is none of the test's concern.
                let _ = match &tls {
                    None => serving.serve(stream),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                        serving.serve(rustls::StreamOwned::new(connection, stream))
                    }
                };
            }
        });
        let provider = IdentityProvider { issuer, address, state };
        let keys_at = format!("{}/keys", provider.issuer);
        provider.answer(
            "/.well-known/openid-configuration",
            200,
            &json!({"issuer": provider.issuer, "jwks_uri": keys_at}),
        );
        provider.publish(keys);
        provider
    }

    /// Publishes these keys, and no others.
    pub fn publish(&self, keys: &[&Key]) {
        let keys = keys.iter().map(|key| key.jwk()).collect::<Vec<_>>();
        self.answer("/keys", 200, &json!({"keys": keys}));
    }

    /// Answers a path like this from now on.
    pub fn answer(&self, path: &str, status: u16, body: &Value) {
        let body = body.to_string().into_bytes();
        self.state.answers.lock().unwrap().insert(path.to_owned(), (status, body));
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    /// One request for each connection.
    fn serve(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let mut lines = BufReader::new(&mut stream).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        drop(lines);
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = self.answers.lock().unwrap().get(&path).cloned().unwrap_or((404, Vec::new()));
        self.asked.lock().unwrap().push(path);
        write!(
            stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nLocation: /keys\r\n\
             Connection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
        stream.flush()
    }
}
