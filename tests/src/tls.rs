//! TLS for tests: certificates made on the spot, and connections whose other end speaks plain bytes, so that everything that
//! works on a `TcpStream` works over TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, HandshakeKind, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme,
};

use crate::home::Home;
use crate::wait::PATIENCE;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// Files in a daemon's home.
#[derive(Clone, Debug)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate of this common name for these DNS names or addresses.
    pub fn signs(&self, common: &str, names: &[&str]) -> Pair {
        self.signs_also(common, names, &[])
    }

    /// A certificate of this common name that is good for so long from now.
    pub fn signs_for(&self, common: &str, lasts: Duration) -> Pair {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
        let end = rcgen::date_time_ymd(1970, 1, 1) + since_epoch + lasts;
        self.signed(common, &[], &[], |params| params.not_after = end)
    }

    /// The same with alternative names that are URIs.
    pub fn signs_also(&self, common: &str, names: &[&str], uris: &[&str]) -> Pair {
        self.signed(common, names, uris, |_| ())
    }

    fn signed(&self, common: &str, names: &[&str], uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().expect("a URI")));
        }
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { cert, key: key.serialize_pem() }
    }
}

/// A new folder with the PEM files of another one: each daemon has its own.
pub fn copied(home: &Home) -> Home {
    let copy = Home::default();
    for entry in std::fs::read_dir(home.path()).expect("a folder can be read") {
        let name = entry.expect("a folder can be read").file_name().into_string().expect("a name");
        if [".pem", ".crt", ".key"].iter().any(|end| name.ends_with(end)) {
            copy.write(&name, &home.read(&name));
        }
    }
    copy
}

impl Pair {
    /// Written as `NAME.crt` and `NAME.key`, each in one step.
    pub fn write(&self, home: &Home, name: &str) -> Files {
        let put = |file: String, text: &str| {
            let new = home.write(&format!("{file}.new"), text);
            let path = home.file(&file);
            std::fs::rename(new, &path).expect("a file can be renamed");
            path
        };
        Files { cert: put(format!("{name}.crt"), &self.cert), key: put(format!("{name}.key"), &self.key) }
    }

    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate");
        (vec![cert], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key"))
    }
}

/// How a client greets.
#[derive(Clone)]
pub struct Client(ClientConfig);

impl Client {
    /// Takes any certificate, and tells afterwards which it was.
    pub fn new(alpn: &[&str]) -> Self {
        Self::with(alpn, rustls::ALL_VERSIONS, None)
    }

    /// Shows this certificate.
    pub fn showing(alpn: &[&str], pair: &Pair) -> Self {
        Self::with(alpn, rustls::ALL_VERSIONS, Some(pair))
    }

    /// Speaks no later version.
    pub fn tls12(alpn: &[&str]) -> Self {
        Self::with(alpn, &[&rustls::version::TLS12], None)
    }

    fn with(alpn: &[&str], versions: &[&'static rustls::SupportedProtocolVersion], pair: Option<&Pair>) -> Self {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider())));
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let (chain, key) = pair.der();
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(config)
    }

    /// Connects and greets; an error is what TLS says.
    pub fn connect(&self, address: SocketAddr, name: &str) -> Result<Secure, String> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        self.over(stream, name)
    }

    /// Greets over this connection.
    pub fn over(&self, stream: TcpStream, name: &str) -> Result<Secure, String> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(Arc::new(self.0.clone()), name).expect("a client");
        Secure::over(Connection::Client(connection), stream)
    }
}

/// How an upstream of a test answers.
#[derive(Clone)]
pub struct Server(Arc<ServerConfig>);

impl Server {
    pub fn new(pair: &Pair, alpn: &[&str]) -> Self {
        Self::with(pair, alpn, None)
    }

    /// Asks clients for a certificate of this authority.
    pub fn asking(pair: &Pair, alpn: &[&str], authority: &Authority) -> Self {
        Self::with(pair, alpn, Some(authority))
    }

    fn with(pair: &Pair, alpn: &[&str], authority: Option<&Authority>) -> Self {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(rustls::ALL_VERSIONS).expect("TLS");
        let builder = match authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let own = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate");
                roots.add(own).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let (chain, key) = pair.der();
        let mut config = builder.with_single_cert(chain, key).expect("a pair");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// Answers a client's greeting.
    pub fn accept(&self, stream: TcpStream) -> Result<Secure, String> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).expect("a server");
        Secure::over(Connection::Server(connection), stream)
    }
}

/// A connection in TLS: what both sides agreed on, and its plain side.
#[derive(Debug)]
pub struct Secure {
    pub plain: TcpStream,
    pub alpn: Option<String>,
    pub tls13: bool,
    pub resumed: bool,
    /// The other side's certificates, the first in hexadecimal digits of its DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The name that a client asked for.
    pub asked: Option<String>,
    /// What TLS said when the connection broke.
    pub error: Arc<Mutex<Option<String>>>,
}

impl Secure {
    fn over(mut connection: Connection, mut stream: TcpStream) -> Result<Self, String> {
        stream.set_nodelay(true).expect("nodelay can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
        }
        let alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let asked = match &connection {
            Connection::Server(server) => server.server_name().map(ToString::to_string),
            Connection::Client(_) => None,
        };
        let (plain, inner) = pair();
        let error = Arc::default();
        let secure = Self {
            plain,
            alpn,
            asked,
            tls13: connection.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            chain: connection
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|one| one.clone().into_owned())
                .collect(),
            error: Arc::clone(&error),
        };
        carry(connection, stream, inner, error);
        Ok(secure)
    }

    /// Whether the other side showed this certificate.
    pub fn shows(&self, pair: &Pair) -> bool {
        self.chain.first() == pair.der().0.first()
    }

    /// What TLS said when the connection broke.
    pub fn broke(&self) -> Option<String> {
        self.error.lock().expect("nobody panicked").clone()
    }
}

/// Two ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let one = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (other, _) = listener.accept().expect("a connection");
    for end in [&one, &other] {
        end.set_nodelay(true).expect("nodelay can be set");
    }
    (one, other)
}

/// Two threads, one for each direction, until each has ended.
fn carry(connection: Connection, secure: TcpStream, plain: TcpStream, error: Arc<Mutex<Option<String>>>) {
    secure.set_read_timeout(None).expect("a timeout can be taken away");
    let connection = Arc::new(Mutex::new(connection));
    let share = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
    let (theirs, out, back) = (Arc::clone(&connection), share(&secure), share(&plain));
    std::thread::spawn(move || {
        if let Err(told) = unwrap(&theirs, out, &back) {
            *error.lock().expect("nobody panicked") = Some(told);
        }
        let _ = back.shutdown(Shutdown::Write);
    });
    std::thread::spawn(move || wrap(&connection, secure, plain));
}

fn unwrap(connection: &Mutex<Connection>, mut from: TcpStream, mut to: &TcpStream) -> Result<(), String> {
    let mut room = [0; 16 * 1024];
    let mut came = 0;
    loop {
        let mut plain = Vec::new();
        let ended = {
            let mut connection = connection.lock().expect("nobody panicked");
            let mut bytes = room.get(..came).unwrap_or_default();
            loop {
                // It takes no more than fits: what came of it is taken out at once.
                if !bytes.is_empty() {
                    connection.read_tls(&mut bytes).map_err(|error| error.to_string())?;
                }
                let state = connection.process_new_packets();
                while connection.wants_write() && connection.write_tls(&mut from).is_ok() {}
                state.map_err(|error| error.to_string())?;
                match connection.reader().read_to_end(&mut plain) {
                    Ok(_) => break true,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.to_string()),
                }
                if bytes.is_empty() {
                    break false;
                }
            }
        };
        if to.write_all(&plain).is_err() {
            // Nobody listens: what still comes is of no use.
            let _ = from.shutdown(Shutdown::Read);
            return Ok(());
        }
        if ended {
            return Ok(());
        }
        came = match from.read(&mut room) {
            Ok(0) => return Err("ended without a goodbye".to_owned()),
            Ok(came) => came,
            Err(error) => return Err(error.to_string()),
        };
    }
}

fn wrap(connection: &Mutex<Connection>, mut to: TcpStream, mut from: TcpStream) {
    let mut room = [0; 16 * 1024];
    loop {
        let read = from.read(&mut room).unwrap_or(0);
        let mut connection = connection.lock().expect("nobody panicked");
        if read == 0 {
            connection.send_close_notify();
        } else if connection.writer().write_all(room.get(..read).unwrap_or_default()).is_err() {
            return;
        }
        while connection.wants_write() {
            if connection.write_tls(&mut to).is_err() {
                return;
            }
        }
        if read == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// Believes anyone.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
