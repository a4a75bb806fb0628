//! What Docker clients up to 17.06 ask of a V1 registry, as sequences of requests on one connection.

use bytes::Bytes;
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use supercargo_model::{Digest, ImageId};

use crate::content::{Blob, Image};
use crate::http::{Answer, Call, Connection, Payload};
use crate::{Error, Result};

/// One image of a chain.
#[derive(Debug, Clone)]
pub struct V1Image {
    id: ImageId,
    json: Bytes,
    layer: Blob,
    checksum: Digest,
}

/// The chain that has these layers, base first, with ids that no other image has.
pub fn chain(image: &Image) -> Vec<V1Image> {
    let mut chain: Vec<V1Image> = Vec::new();
    // The first blob is the configuration.
    for layer in &image.blobs[1..] {
        let parent = chain.last().map(|below| below.id);
        let below = parent.map(|id| id.to_string()).unwrap_or_default();
        let id = ImageId::from_bytes(Sha256::digest(format!("{below} {}", layer.digest)).into());
        let parent = if below.is_empty() { below } else { format!(r#","parent":"{below}""#) };
        let json = Bytes::from(format!(r#"{{"id":"{id}"{parent}}}"#));
        let hash = Sha256::new().chain_update(&json).chain_update(b"\n");
        let hash = hash.chain_update(&layer.head).chain_update(&layer.tail);
        let checksum = Digest::sha256(hash.finalize().into());
        chain.push(V1Image { id, json, layer: layer.clone(), checksum });
    }
    chain
}

fn json<'c>(method: Method, path: &'c str, body: impl Into<Bytes>) -> Call<'c> {
    let headers = &[("X-Docker-Token", "true")];
    let payload = body.into().into();
    Call { content_type: Some("application/json"), headers, payload, ..Call::new(method, path) }
}

/// What the client says who it is with from here on: the token that it was given.
fn token(answer: &Answer) -> Result<String> {
    let token = answer.headers.get("x-docker-token").and_then(|token| token.to_str().ok());
    token.map(|token| format!("Token {token}")).ok_or_else(|| Error::Wrong("no X-Docker-Token".to_owned()))
}

/// Pushes a chain that is not there: the list of its images, a lookup of each, JSON, layer and checksum of each, the
/// tag, and the list again.
///
/// # Errors
/// As [`Connection::send`].
pub async fn push(connection: &mut Connection, name: &str, tag: &str, chain: &[V1Image]) -> Result<()> {
    let repository = format!("/v1/repositories/{name}");
    let ids: Vec<String> = chain.iter().map(|image| format!(r#"{{"id":"{}"}}"#, image.id)).collect();
    let list = format!("[{}]", ids.join(","));
    let begin = format!("{repository}/");
    let token = token(&connection.send(json(Method::PUT, &begin, list), StatusCode::OK).await?)?;
    let authorization = Some(&*token);
    for V1Image { id, .. } in chain {
        let path = format!("/v1/images/{id}/json");
        let call = Call { authorization, ..Call::new(Method::GET, &path) };
        connection.send(call, StatusCode::NOT_FOUND).await?;
    }
    for V1Image { id, json: text, layer, checksum } in chain {
        let path = format!("/v1/images/{id}/json");
        let call = Call { authorization, ..json(Method::PUT, &path, text.clone()) };
        connection.send(call, StatusCode::OK).await?;
        let path = format!("/v1/images/{id}/layer");
        let octets = Some("application/octet-stream");
        let layer = Payload::chunked(layer);
        let call =
            Call { authorization, content_type: octets, payload: layer, ..Call::new(Method::PUT, &path) };
        connection.send(call, StatusCode::OK).await?;
        let path = format!("/v1/images/{id}/checksum");
        let checksum = checksum.to_string();
        let headers = &[("X-Docker-Checksum-Payload", &*checksum)];
        let call = Call { authorization, headers, ..Call::new(Method::PUT, &path) };
        connection.send(call, StatusCode::OK).await?;
    }
    let top = chain.last().map(|top| format!("\"{}\"", top.id)).unwrap_or_default();
    let path = format!("{repository}/tags/{tag}");
    let call = Call { authorization, ..json(Method::PUT, &path, top) };
    connection.send(call, StatusCode::OK).await?;
    let path = format!("{repository}/images");
    connection.send(json(Method::PUT, &path, "[]"), StatusCode::NO_CONTENT).await.map(drop)
}

/// Pulls a chain: the list of images, the tag, the ancestry, and JSON and layer of each image.
///
/// # Errors
/// As [`Connection::send`], and [`Error::Wrong`] where a layer has another size.
pub async fn pull(connection: &mut Connection, name: &str, tag: &str, chain: &[V1Image]) -> Result<()> {
    let repository = format!("/v1/repositories/{name}");
    let top = chain.last().map(|top| top.id.to_string()).unwrap_or_default();
    let path = format!("{repository}/images");
    let token = token(&connection.send(json(Method::GET, &path, Bytes::new()), StatusCode::OK).await?)?;
    let authorization = Some(&*token);
    for path in [format!("{repository}/tags/{tag}"), format!("/v1/images/{top}/ancestry")] {
        connection.send(Call { authorization, ..Call::new(Method::GET, &path) }, StatusCode::OK).await?;
    }
    for V1Image { id, layer, .. } in chain {
        let path = format!("/v1/images/{id}/json");
        connection.send(Call { authorization, ..Call::new(Method::GET, &path) }, StatusCode::OK).await?;
        let path = format!("/v1/images/{id}/layer");
        let call = Call { authorization, ..Call::new(Method::GET, &path) };
        let answer = connection.send(call, StatusCode::OK).await?;
        if answer.body_bytes != layer.size() {
            return Err(Error::Wrong(format!(
                "GET {path}: {} bytes, not {}",
                answer.body_bytes,
                layer.size()
            )));
        }
    }
    Ok(())
}
