//! A client of the registry protocol for tests that are about something else: pushes and pulls whole images
//! as docker does, request by request, and says exactly what went wrong. The protocol's own tests speak
//! through [`crate::http`].

use std::io;
use std::net::SocketAddr;

use crate::http::{Http, Request, Response};
use crate::image::{Blob, Image, OCI_MANIFEST, sha256};

/// Why a push, pull or deletion did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There was no answer, or half of one. What was asked may have happened or not.
    #[error("{what}: {source}")]
    NoAnswer {
        /// The request.
        what: String,
        /// How it ended.
        source: io::Error,
    },
    /// The answer was another one.
    #[error("{what}: expected {expected}, got {response:?}")]
    Refused {
        /// The request.
        what: String,
        /// The status it should have had.
        expected: u16,
        /// The answer.
        response: Box<Response>,
    },
    /// The answer did not hold what it should.
    #[error("{what}: {problem}")]
    WrongContent {
        /// The request.
        what: String,
        /// What is wrong.
        problem: String,
    },
}

impl ClientError {
    /// Whether the server gave no answer, as one that was killed.
    pub const fn is_no_answer(&self) -> bool {
        matches!(self, ClientError::NoAnswer { .. })
    }

    /// The status of an answer that was another one than expected.
    pub const fn status(&self) -> Option<u16> {
        match self {
            ClientError::Refused { response, .. } => Some(response.status),
            ClientError::NoAnswer { .. } | ClientError::WrongContent { .. } => None,
        }
    }
}

type Result<T, E = ClientError> = std::result::Result<T, E>;

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    http: Http,
    forwarded_for: Option<String>,
}

impl Client {
    /// For the server at that address.
    pub const fn new(address: SocketAddr) -> Client {
        Client { http: Http::new(address), forwarded_for: None }
    }

    /// The same client, as a proxy presents it whose word the server takes: as the one at that address.
    #[must_use]
    pub fn forwarded_for(self, client: &str) -> Client {
        Client { forwarded_for: Some(client.to_owned()), ..self }
    }

    /// Sends any request.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`].
    pub fn send(&self, request: &Request) -> Result<Response> {
        let what =
            || String::from_utf8_lossy(&request.to_bytes()).lines().next().unwrap_or_default().to_owned();
        let sent = match &self.forwarded_for {
            Some(client) => self.http.send(&request.clone().header("X-Forwarded-For", client)),
            None => self.http.send(request),
        };
        sent.map_err(|source| ClientError::NoAnswer { what: what(), source })
    }

    /// GET of a path.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`].
    pub fn get(&self, path: &str) -> Result<Response> {
        self.send(&Request::new("GET", path))
    }

    /// HEAD of a path.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`].
    pub fn head(&self, path: &str) -> Result<Response> {
        self.send(&Request::new("HEAD", path))
    }

    /// DELETE of a path.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`].
    pub fn delete(&self, path: &str) -> Result<Response> {
        self.send(&Request::new("DELETE", path))
    }

    /// Sends a request whose answer must have that status.
    fn want(&self, request: &Request, expected: u16) -> Result<Response> {
        let response = self.send(request)?;
        if response.status == expected {
            return Ok(response);
        }
        let what = String::from_utf8_lossy(&request.to_bytes()).lines().next().unwrap_or_default().to_owned();
        Err(ClientError::Refused { what, expected, response: Box::new(response) })
    }

    /// Opens an upload session; answers its location.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn start_upload(&self, name: &str) -> Result<String> {
        let path = format!("/v2/{name}/blobs/uploads/");
        let response = self.want(&Request::new("POST", &path), 202)?;
        location(&path, &response)
    }

    /// Pushes a blob unless it is there: HEAD, POST, PATCH, PUT, as docker does.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn push_blob(&self, name: &str, blob: &Blob) -> Result<()> {
        let path = format!("/v2/{name}/blobs/{}", blob.digest);
        if self.head(&path)?.status == 200 {
            return Ok(());
        }
        let session = self.start_upload(name)?;
        let patch = Request::new("PATCH", &session).chunked(blob.bytes.chunks(64 * 1024).map(<[u8]>::to_vec));
        let session = location(&session, &self.want(&patch, 202)?)?;
        self.want(&Request::new("PUT", &with_query(&session, &format!("digest={}", blob.digest))), 201)?;
        Ok(())
    }

    /// Puts a manifest's bytes under a tag or digest; answers what the server says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn push_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Response> {
        let request = Request::new("PUT", &format!("/v2/{name}/manifests/{reference}"));
        self.want(&request.header("Content-Type", media_type).body(bytes), 201)
    }

    /// Pushes an image under a tag.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn push_image(&self, name: &str, tag: &str, image: &Image) -> Result<()> {
        image.blobs().try_for_each(|blob| self.push_blob(name, blob))?;
        let response = self.push_manifest(name, tag, OCI_MANIFEST, &image.manifest.bytes)?;
        let what = format!("PUT of {name}:{tag}");
        equal(
            &what,
            "Docker-Content-Digest",
            response.header("Docker-Content-Digest"),
            &image.manifest.digest,
        )
    }

    /// The digest a tag points at. None where there is no such tag.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn resolve(&self, name: &str, tag: &str) -> Result<Option<String>> {
        let request =
            Request::new("HEAD", &format!("/v2/{name}/manifests/{tag}")).header("Accept", OCI_MANIFEST);
        let response = self.send(&request)?;
        if response.status == 404 {
            return Ok(None);
        }
        let response = self.want(&request, 200)?;
        Ok(response.header("Docker-Content-Digest").map(str::to_owned))
    }

    /// Pulls an image and compares every byte of it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn pull_and_check(&self, name: &str, reference: &str, image: &Image) -> Result<()> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let response = self.want(&Request::new("GET", &path).header("Accept", OCI_MANIFEST), 200)?;
        equal(&path, "the manifest's digest", Some(&sha256(&response.body)), &image.manifest.digest)?;
        equal(
            &path,
            "Docker-Content-Digest",
            response.header("Docker-Content-Digest"),
            &image.manifest.digest,
        )?;
        equal(&path, "Content-Type", response.header("Content-Type"), OCI_MANIFEST)?;
        for blob in image.blobs() {
            let path = format!("/v2/{name}/blobs/{}", blob.digest);
            let response = self.want(&Request::new("GET", &path), 200)?;
            equal(&path, "the blob's digest", Some(&sha256(&response.body)), &blob.digest)?;
        }
        Ok(())
    }

    /// Deletes a tag, or a manifest with all its tags.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn delete_manifest(&self, name: &str, reference: &str) -> Result<()> {
        self.want(&Request::new("DELETE", &format!("/v2/{name}/manifests/{reference}")), 202).map(drop)
    }

    /// Whether the name holds a blob.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn has_blob(&self, name: &str, digest: &str) -> Result<bool> {
        // A GET, for a HEAD takes a lease on what it finds.
        let request = Request::new("GET", &format!("/v2/{name}/blobs/{digest}")).header("Range", "bytes=0-0");
        Ok(matches!(self.send(&request)?.status, 200 | 206))
    }
}

/// The path in a Location header, be it absolute or relative.
fn location(what: &str, response: &Response) -> Result<String> {
    let missing = || ClientError::WrongContent {
        what: what.to_owned(),
        problem: format!("no Location in {response:?}"),
    };
    let text = response.header("Location").ok_or_else(missing)?;
    Ok(match text.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None => text.to_owned(),
    })
}

/// A location with a parameter more.
pub fn with_query(location: &str, query: &str) -> String {
    let mark = if location.contains('?') { '&' } else { '?' };
    format!("{location}{mark}{query}")
}

fn equal(what: &str, which: &str, found: Option<&str>, expected: &str) -> Result<()> {
    if found == Some(expected) {
        return Ok(());
    }
    let problem = format!("{which} is {}, not {expected}", found.unwrap_or("not there"));
    Err(ClientError::WrongContent { what: what.to_owned(), problem })
}
