//! A client that pushes, pulls, searches and logs in as docker 1.5, 1.9 and 1.12 do with a registry that speaks
//! their old protocol alone: the same requests in the same order, with the same headers, and as particular about
//! the answers. A push can also be made step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::{Value, json};

use crate::accounts::basic;
use crate::client::ClientError;
use crate::http::{Request, Response};
use crate::v1::image::{Chain, V1Image};
use crate::v1::wire::Wire;

type Result<T, E = ClientError> = std::result::Result<T, E>;

/// How many images are looked up at the same time.
const LOOKUPS_MAX: usize = 5;
/// A layer is sent in pieces of this size.
const PIECE_BYTES: usize = 32 * 1024;

/// Which docker it is, of those that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.5.
    V1_5,
    /// 1.8 and 1.9.
    V1_9,
    /// 1.10 to 1.12, and on to 17.06.
    V1_12,
}

impl Version {
    /// All of them.
    pub const ALL: [Version; 3] = [Version::V1_5, Version::V1_9, Version::V1_12];

    /// What it says in `User-Agent`.
    pub const fn user_agent(self) -> &'static str {
        match self {
            Version::V1_5 => "docker/1.5.0 go/go1.4.1 git-commit/a8a31ef kernel/3.19.0 os/linux arch/amd64",
            Version::V1_9 => "docker/1.9.1 go/go1.4.2 git-commit/a34a1d5 kernel/4.4.0 os/linux arch/amd64",
            Version::V1_12 => concat!(
                "docker/1.12.6 go/go1.6.4 git-commit/78d1802 kernel/4.4.0 os/linux arch/amd64 ",
                r"UpstreamClient(Docker-Client/1.12.6 \(linux\))",
            ),
        }
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub struct V1Client {
    wire: Wire,
    version: Version,
    login: Option<(String, String)>,
    keeps_cookies: bool,
    asks_for_v2: bool,
    breaks_after: Option<u64>,
}

impl V1Client {
    /// Of that version, logged in as nobody.
    pub const fn new(wire: Wire, version: Version) -> V1Client {
        V1Client { wire, version, login: None, keeps_cookies: true, asks_for_v2: true, breaks_after: None }
    }

    /// The same client, with a user's name and password.
    #[must_use]
    pub fn logged_in(self, user: &str, password: &str) -> V1Client {
        V1Client { login: Some((user.to_owned(), password.to_owned())), ..self }
    }

    /// The same client, which forgets every cookie.
    #[must_use]
    pub fn without_cookies(self) -> V1Client {
        V1Client { keeps_cookies: false, ..self }
    }

    /// The same client, as one that knows of no other protocol, or from which the newer one is hidden.
    #[must_use]
    pub fn knowing_v1_alone(self) -> V1Client {
        V1Client { asks_for_v2: false, ..self }
    }

    /// The same client, whose connection breaks once in each layer that it pulls, after that many bytes.
    #[must_use]
    pub fn breaking_after(self, bytes: u64) -> V1Client {
        V1Client { breaks_after: Some(bytes), ..self }
    }

    /// How it reaches the server.
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Sends any request with its `User-Agent` and login.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`].
    pub fn send(&self, request: &Request) -> Result<Response> {
        let request = match &self.login {
            Some((user, password)) => request.clone().header("Authorization", &basic(user, password)),
            None => request.clone(),
        };
        send(&self.wire, &request.header("User-Agent", self.version.user_agent()))
    }

    /// Pushes a chain under these tags; answers the ids of what was uploaded, in order.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn push(&self, name: &str, tags: &[&str], chain: &Chain) -> Result<Vec<String>> {
        let push = self.begin_push(name, tags, chain)?;
        let there = push.look_up(chain)?;
        let mut uploaded = Vec::new();
        for image in &chain.images {
            if !there.contains(&image.id) && push.upload(image)? {
                uploaded.push(image.id.clone());
            }
        }
        tags.iter().try_for_each(|tag| push.put_tag(tag, chain.id()))?;
        push.finish()?;
        Ok(uploaded)
    }

    /// Begins a push: finds out which protocol it will be, and sends the list of images.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn begin_push(&self, name: &str, tags: &[&str], chain: &Chain) -> Result<Push> {
        let mut session = Session::new(self.clone());
        session.choose_protocol()?;
        if self.version == Version::V1_12 && self.asks_for_v2 {
            for _ in &chain.images {
                session.want(&Request::new("POST", &format!("/v2/{name}/blobs/uploads/")), 404)?;
            }
        }
        let mut list: Vec<Value> =
            chain.images[..chain.images.len() - 1].iter().map(|image| json!({ "id": image.id })).collect();
        list.extend(tags.iter().map(|tag| json!({ "id": chain.id(), "Tag": tag })));
        let put = session.index("PUT", &format!("/v1/repositories/{name}/"));
        let put = put.header("Content-Type", "application/json").body(json!(list).to_string());
        let answer = session.want(&put, 200)?;
        session.keep_token(&answer)?;
        let endpoint = answer.header("X-Docker-Endpoints");
        if endpoint != Some(&*self.wire.host()) {
            return Err(wrong(&put, format!("X-Docker-Endpoints is {endpoint:?}")));
        }
        Ok(Push { session, name: name.to_owned() })
    }

    /// Pulls what a tag is set to.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn pull(&self, name: &str, tag: &str) -> Result<Chain> {
        let session = self.begin_pull(name, &format!("manifests/{tag}"))?;
        let id = if self.version == Version::V1_5 {
            // Versions before 1.8 know no other way than the whole list.
            let get = session.get(&format!("/v1/repositories/{}/tags", full(name)));
            let tags = session.want(&get, 200)?;
            let id = tags.json()[tag].as_str().map(str::to_owned);
            id.ok_or_else(|| wrong(&get, format!("no tag {tag} in {tags:?}")))?
        } else {
            let get = session.get(&format!("/v1/repositories/{}/tags/{tag}", full(name)));
            let answer = session.want(&get, 200)?;
            answer.json().as_str().map(str::to_owned).ok_or_else(|| wrong(&get, format!("{answer:?}")))?
        };
        session.chain(&id, &mut BTreeMap::new())
    }

    /// Pulls all that is there under a name, by tag.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn pull_all(&self, name: &str) -> Result<BTreeMap<String, Chain>> {
        let session = self.begin_pull(name, "tags/list")?;
        let get = session.get(&format!("/v1/repositories/{}/tags", full(name)));
        let tags = session.want(&get, 200)?.json();
        let tags = tags.as_object().ok_or_else(|| wrong(&get, "no object".to_owned()))?;
        let mut known = BTreeMap::new();
        let mut chains = BTreeMap::new();
        for (tag, id) in tags {
            let id = id.as_str().ok_or_else(|| wrong(&get, format!("{tag} is {id}")))?;
            chains.insert(tag.clone(), session.chain(id, &mut known)?);
        }
        Ok(chains)
    }

    fn begin_pull(&self, name: &str, v2: &str) -> Result<Session> {
        let mut session = Session::new(self.clone());
        session.choose_protocol()?;
        if self.version == Version::V1_12 && self.asks_for_v2 {
            session.want(&Request::new("GET", &format!("/v2/{name}/{v2}")), 404)?;
        }
        let get = session.index("GET", &format!("/v1/repositories/{name}/images"));
        let answer = session.want(&get, 200)?;
        session.keep_token(&answer)?;
        let ids = answer.json();
        let is_list = |list: &Vec<Value>| list.iter().all(|entry| entry["id"].is_string());
        if !ids.as_array().is_some_and(is_list) {
            return Err(wrong(&get, format!("no list of images in {answer:?}")));
        }
        Ok(session)
    }

    /// The names that a search finds on its first page.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn search(&self, term: &str) -> Result<Vec<String>> {
        let session = Session::new(self.clone());
        session.ping()?;
        let limit = if self.version == Version::V1_12 { "&n=25" } else { "" };
        let get = session.index("GET", &format!("/v1/search?q={term}{limit}"));
        let found = session.want(&get, 200)?.json();
        let names = found["results"].as_array().map(|results| {
            results
                .iter()
                .map(|result| result["name"].as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        });
        names.flatten().ok_or_else(|| wrong(&get, format!("no results in {found}")))
    }

    /// Whether the server knows this user with this password, as `docker login` finds out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn log_in(&self) -> Result<bool> {
        let mut session = Session::new(self.clone());
        session.choose_protocol()?;
        let (user, password) = self.login.as_ref().expect("somebody to log in as");
        if self.version != Version::V1_12 {
            session.ping()?;
            let account =
                json!({ "username": user, "password": password, "email": "a@example.test", "auth": "" });
            let post = Request::new("POST", "/v1/users/").body(account.to_string());
            let post = post.header("Content-Type", "application/json; charset=utf-8");
            let answer = session.send(&post)?;
            match answer.status {
                401 => {}
                400 if answer.body == br#""Username or email already exists""# => {}
                _ => return Err(refused(&post, 401, answer)),
            }
        }
        let get = Request::new("GET", "/v1/users/").header("Authorization", &basic(user, password));
        let answer = session.send(&get)?;
        match answer.status {
            200 => Ok(true),
            401 => Ok(false),
            _ => Err(refused(&get, 200, answer)),
        }
    }
}

/// A push that has begun: what it knows by now.
#[derive(Debug, Clone)]
pub struct Push {
    session: Session,
    name: String,
}

impl Push {
    /// The same push, going on with a server that has moved.
    #[must_use]
    pub fn moved_to(mut self, wire: Wire) -> Push {
        self.session.client.wire = wire;
        self
    }

    /// Which of these images are there already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn look_up(&self, chain: &Chain) -> Result<BTreeSet<String>> {
        let mut there = BTreeSet::new();
        for images in chain.images.chunks(LOOKUPS_MAX) {
            let answers: Vec<Result<(String, bool)>> = std::thread::scope(|scope| {
                let lookups: Vec<_> = images
                    .iter()
                    .map(|image| scope.spawn(move || Ok((image.id.clone(), self.is_there(&image.id)?))))
                    .collect();
                lookups.into_iter().map(|lookup| lookup.join().expect("a lookup does not panic")).collect()
            });
            for answer in answers {
                let (id, is_there) = answer?;
                if is_there {
                    there.insert(id);
                }
            }
        }
        Ok(there)
    }

    /// Whether an image is there, to be skipped.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`].
    pub fn is_there(&self, id: &str) -> Result<bool> {
        let get = self.session.get(&format!("/v1/images/{id}/json"));
        Ok(self.session.send(&get)?.status == 200)
    }

    /// Uploads an image, unless the server says that it has it. Answers whether it did.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn upload(&self, image: &V1Image) -> Result<bool> {
        if !self.put_json(image)? {
            return Ok(false);
        }
        self.put_layer(image)?;
        self.put_checksum(image)?;
        Ok(true)
    }

    /// Puts an image's JSON; false where the server has the image.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_json(&self, image: &V1Image) -> Result<bool> {
        let put = self.session.put(&format!("/v1/images/{}/json", image.id));
        let put = put.header("Content-Type", "application/json").body(&*image.json);
        let answer = self.session.send(&put)?;
        match answer.status {
            200 => Ok(true),
            409 if says_exists(&answer) => Ok(false),
            _ => Err(refused(&put, 200, answer)),
        }
    }

    /// Puts an image's layer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_layer(&self, image: &V1Image) -> Result<()> {
        let put = self.layer_request(&image.id);
        let put = put.chunked(image.layer.chunks(PIECE_BYTES).map(<[u8]>::to_vec));
        self.session.want(&put, 200).map(drop)
    }

    /// Puts a layer that `write` writes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stream_layer(
        &self,
        id: &str,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<()> {
        let put = self.layer_request(id).streamed();
        let sent = self.session.client.wire.stream(&self.session.dressed(&put), write);
        let answer = sent.map_err(|source| ClientError::NoAnswer { what: what(&put), source })?;
        expect(&put, answer, 200).map(drop)
    }

    fn layer_request(&self, id: &str) -> Request {
        let put = self.session.put(&format!("/v1/images/{id}/layer"));
        put.header("Content-Type", "application/octet-stream")
    }

    /// Puts an image's checksums.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_checksum(&self, image: &V1Image) -> Result<()> {
        self.put_checksums(&image.id, &image.payload(), &image.tarsum())
    }

    /// Puts an image's checksums, as they are given.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_checksums(&self, id: &str, payload: &str, tarsum: &str) -> Result<()> {
        let put = self.session.put(&format!("/v1/images/{id}/checksum"));
        let put = put.header("X-Docker-Checksum", tarsum).header("X-Docker-Checksum-Payload", payload);
        self.session.want(&put, 200).map(drop)
    }

    /// Sets a tag.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_tag(&self, tag: &str, id: &str) -> Result<()> {
        let put = self.session.put(&format!("/v1/repositories/{}/tags/{tag}", self.name));
        let put = put.header("Content-Type", "application/json").body(format!("\"{id}\""));
        let answer = self.session.send(&put)?;
        if answer.status == 201 {
            return Ok(());
        }
        expect(&put, answer, 200).map(drop)
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn finish(self) -> Result<()> {
        let put = self.session.index("PUT", &format!("/v1/repositories/{}/images", self.name));
        let wire = &self.session.client.wire;
        let endpoint = format!("{}://{}/v1/", wire.scheme(), wire.host());
        let put = put.header("Content-Type", "application/json").header("X-Docker-Endpoints", &endpoint);
        self.session.want(&put.body("[]"), 204).map(drop)
    }
}

/// What a client knows for the time of one command.
#[derive(Debug, Clone)]
struct Session {
    client: V1Client,
    token: Option<String>,
    cookie: Option<String>,
}

impl Session {
    const fn new(client: V1Client) -> Session {
        Session { client, token: None, cookie: None }
    }

    /// Asks what there is, as far as an old client does that.
    fn choose_protocol(&mut self) -> Result<()> {
        if !self.client.asks_for_v2 {
            return self.ping();
        }
        let get = Request::new("GET", "/v2/");
        let answer = self.want(&get, 404)?;
        if answer.header("Docker-Distribution-Api-Version").is_some() {
            return Err(wrong(&get, "the newer protocol is spoken here".to_owned()));
        }
        if self.client.version == Version::V1_5 || self.client.wire.is_tls() { self.ping() } else { Ok(()) }
    }

    fn ping(&self) -> Result<()> {
        let get = Request::new("GET", "/v1/_ping");
        let answer = self.want(&get, 200)?;
        match answer.header("X-Docker-Registry-Standalone") {
            Some("true") => Ok(()),
            other => Err(wrong(&get, format!("X-Docker-Registry-Standalone is {other:?}"))),
        }
    }

    /// A request to the index: one that asks for a token.
    fn index(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, path).header("X-Docker-Token", "true");
        match &self.client.login {
            Some((user, password)) => request.header("Authorization", &basic(user, password)),
            None if self.client.wire.is_tls() || (self.client.version, method) == (Version::V1_5, "PUT") => {
                request.header("Authorization", &basic("", ""))
            }
            None => request,
        }
    }

    fn get(&self, path: &str) -> Request {
        self.with_token(Request::new("GET", path))
    }

    fn put(&self, path: &str) -> Request {
        self.with_token(Request::new("PUT", path))
    }

    /// A request that is not to the index: the password goes with it over TLS alone.
    fn with_token(&self, request: Request) -> Request {
        if self.client.wire.is_tls() {
            let (user, password) =
                self.client.login.as_ref().map_or(("", ""), |(user, password)| (&**user, &**password));
            return request.header("Authorization", &basic(user, password));
        }
        match &self.token {
            Some(token) => request.header("Authorization", &format!("Token {token}")),
            None if self.client.version == Version::V1_5 => request.header("Authorization", "Token "),
            None => request,
        }
    }

    /// Remembers what an answer of the index says for the rest of the session.
    fn keep_token(&mut self, answer: &Response) -> Result<()> {
        let tokens = answer.headers("X-Docker-Token");
        if tokens.is_empty() {
            let problem = format!("no X-Docker-Token in {answer:?}");
            return Err(ClientError::WrongContent { what: "the index".to_owned(), problem });
        }
        self.token = Some(tokens.join(","));
        if self.client.keeps_cookies {
            let cookie = answer.header("Set-Cookie").and_then(|cookie| cookie.split(';').next());
            self.cookie = cookie.map(str::to_owned).or(self.cookie.take());
        }
        Ok(())
    }

    /// A request with what goes with all of them.
    fn dressed(&self, request: &Request) -> Request {
        let request = request.clone().header("User-Agent", self.client.version.user_agent());
        let request = request.header("Accept-Encoding", "gzip");
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }

    fn send(&self, request: &Request) -> Result<Response> {
        send(&self.client.wire, &self.dressed(request))
    }

    fn want(&self, request: &Request, status: u16) -> Result<Response> {
        expect(request, self.send(request)?, status)
    }

    /// Pulls an image and what it is built on, but for what is known.
    fn chain(&self, id: &str, known: &mut BTreeMap<String, V1Image>) -> Result<Chain> {
        let get = self.get(&format!("/v1/images/{id}/ancestry"));
        let ancestry = self.want(&get, 200)?.json();
        let ids: Option<Vec<&str>> =
            ancestry.as_array().and_then(|ids| ids.iter().map(Value::as_str).collect());
        let ids = ids.filter(|ids| ids.first() == Some(&id));
        let ids = ids.ok_or_else(|| wrong(&get, format!("the ancestry of {id} is {ancestry}")))?;
        let ids: Vec<&str> = ids.into_iter().rev().collect();
        // 1.12 asks for every JSON first, others for JSON and layer in turns; 1.12 also for what it has.
        let all_first = self.client.version == Version::V1_12;
        let mut described = BTreeMap::new();
        if all_first {
            for id in &ids {
                described.insert(*id, self.image_json(id)?);
            }
        }
        for id in &ids {
            if known.contains_key(*id) {
                continue;
            }
            let (json, size) = match described.remove(id) {
                Some(found) => found,
                None => self.image_json(id)?,
            };
            let layer = self.layer(id, size)?;
            known.insert((*id).to_owned(), V1Image { id: (*id).to_owned(), json, layer });
        }
        Ok(Chain { images: ids.iter().map(|id| known[*id].clone()).collect() })
    }

    /// An image's JSON, and the size of its layer.
    fn image_json(&self, id: &str) -> Result<(Vec<u8>, u64)> {
        let get = self.get(&format!("/v1/images/{id}/json"));
        let answer = self.want(&get, 200)?;
        let size = answer.header("X-Docker-Size").and_then(|size| size.parse().ok());
        let size = size.ok_or_else(|| wrong(&get, format!("no X-Docker-Size in {answer:?}")))?;
        Ok((answer.body, size))
    }

    fn layer(&self, id: &str, size: u64) -> Result<Vec<u8>> {
        let get = self.get(&format!("/v1/images/{id}/layer"));
        let Some(broken) = self.client.breaks_after.filter(|bytes| *bytes <= size) else {
            let answer = self.want(&get, 200)?;
            if answer.header("Content-Encoding").is_some() || answer.body.len() as u64 != size {
                return Err(wrong(&get, format!("it is no layer of {size} bytes: {answer:?}")));
            }
            return Ok(answer.body);
        };
        let first = self.client.wire.send_and_hang_up(&self.dressed(&get), broken);
        let first = first.map_err(|source| ClientError::NoAnswer { what: what(&get), source })?;
        let mut layer = expect(&get, first, 200)?;
        if layer.header("Accept-Ranges") != Some("bytes") {
            return Err(wrong(&get, "the layer can't be resumed".to_owned()));
        }
        // The last byte's number is one too large, as in all these versions.
        let rest = get.header("Range", &format!("bytes={broken}-{size}"));
        let answer = self.send(&rest)?;
        if broken == size {
            // There is nothing left, which must be said with an empty body.
            let answer = expect(&rest, answer, 416)?;
            return match answer.header("Content-Length") {
                Some("0") => Ok(layer.body),
                _ => Err(wrong(&rest, format!("{answer:?}"))),
            };
        }
        let answer = expect(&rest, answer, 206)?;
        let range = format!("bytes {broken}-{}/{size}", size - 1);
        if answer.header("Content-Range") != Some(&*range) {
            return Err(wrong(&rest, format!("Content-Range is not {range}: {answer:?}")));
        }
        layer.body.extend(answer.body);
        Ok(layer.body)
    }
}

/// Whether the answer is the one that makes a client skip an image: an object with strings alone, and this error.
fn says_exists(answer: &Response) -> bool {
    let texts: Result<BTreeMap<String, Option<String>>, _> = serde_json::from_slice(&answer.body);
    texts.is_ok_and(|texts| texts.get("error") == Some(&Some("Image already exists".to_owned())))
}

/// The name as clients write it where they ask for tags.
fn full(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("library/{name}") }
}

fn send(wire: &Wire, request: &Request) -> Result<Response> {
    wire.send(request).map_err(|source| ClientError::NoAnswer { what: what(request), source })
}

fn expect(request: &Request, answer: Response, status: u16) -> Result<Response> {
    if answer.status == status { Ok(answer) } else { Err(refused(request, status, answer)) }
}

fn refused(request: &Request, expected: u16, answer: Response) -> ClientError {
    ClientError::Refused { what: what(request), expected, response: Box::new(answer) }
}

fn wrong(request: &Request, problem: String) -> ClientError {
    ClientError::WrongContent { what: what(request), problem }
}

fn what(request: &Request) -> String {
    request.to_string()
}
