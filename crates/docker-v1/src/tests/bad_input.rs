//! What nobody should send: the V1 specification's section 11, and the checks of 7.1.

use axum::body::Body;
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::limits;

use super::support::{Fixture, Image, id};

/// Nothing that is refused leaves anything.
#[tokio::test]
async fn an_images_json_is_checked() {
    let surface = Fixture::v1().await;
    let (own, other) = (id('1'), id('2'));
    let path = format!("/v1/images/{own}/json");
    for (sent, text) in [
        (String::new(), "Invalid JSON"),
        ("x".to_owned(), "Invalid JSON"),
        ("[]".to_owned(), "Invalid JSON"),
        ("\"x\"".to_owned(), "Invalid JSON"),
        ("{\"id\":\"\u{0}\"}".to_owned(), "Invalid JSON"),
        ("{}".to_owned(), "Missing key `id' in JSON"),
        (r#"{"id":1}"#.to_owned(), "JSON data contains invalid id"),
        (format!(r#"{{"id":"{other}"}}"#), "JSON data contains invalid id"),
        (format!(r#"{{"id":"{own}","parent":"{other}"}}"#), "Image depends on a non existing parent"),
        (format!(r#"{{"id":"{own}","parent":"{own}"}}"#), "Image depends on itself"),
    ] {
        let refused = surface.send("PUT", &path, &[], sent.clone()).await;
        assert_eq!(refused.error(), (400, text.to_owned()), "{sent}");
    }
    let deep = format!(r#"{{"id":"{own}","a":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    for sent in [format!(r#"{{"id":"{own}","parent":"x"}}"#), format!(r#"{{"id":"{own}","parent":1}}"#), deep]
    {
        assert_eq!(surface.send("PUT", &path, &[], sent.clone()).await.status, 400, "{sent}");
    }
    let large = format!(r#"{{"id":"{own}","a":"{}"}}"#, "x".repeat(limits::IMAGE_JSON_BYTES_MAX));
    let refused = surface.send("PUT", &path, &[], large).await;
    assert_eq!((refused.status, refused.header("connection")), (413, "close"));
    assert_eq!(surface.ask("GET", &path).await.status, 404);
}

#[tokio::test]
async fn a_parent_of_the_same_session_may_come_after_but_is_whole_before() {
    let surface = Fixture::v1().await;
    let (base, top) = (Image::new('1', None, b"base"), Image::new('2', Some('1'), b"top"));
    let path = |image: &Image, part: &str| format!("/v1/images/{}/{part}", image.id);
    let json = async |image: &Image| surface.send("PUT", &path(image, "json"), &[], image.json.clone()).await;
    assert_eq!(json(&top).await.error(), (400, "Image depends on a non existing parent".to_owned()));
    assert_eq!(json(&base).await.status, 200);
    assert_eq!(json(&top).await.status, 200);
    assert_eq!(surface.send("PUT", &path(&top, "layer"), &[], top.layer).await.status, 200);
    let checksum = top.checksum();
    let headers = [("x-docker-checksum-payload", &*checksum)];
    let early = surface.send("PUT", &path(&top, "checksum"), &headers, Body::empty()).await;
    assert_eq!(early.error(), (400, "Image depends on a parent that is being uploaded".to_owned()));
    surface.push_image(&base, &[]).await;
    let whole = surface.send("PUT", &path(&top, "checksum"), &headers, Body::empty()).await;
    assert_eq!(whole.text(), "true");
}

#[tokio::test]
async fn a_checksum_is_there_and_right() {
    let surface = Fixture::v1().await;
    let image = Image::new('1', None, b"layer");
    let path = |part: &str| format!("/v1/images/{}/{part}", image.id);
    assert_eq!(surface.send("PUT", &path("json"), &[], image.json.clone()).await.status, 200);
    assert_eq!(surface.send("PUT", &path("layer"), &[], image.layer).await.status, 200);
    let send = async |headers: &[(&str, &str)]| {
        surface.send("PUT", &path("checksum"), headers, Body::empty()).await.error()
    };
    // What docker sent before 0.10.
    let (status, text) = send(&[("x-docker-checksum", "tarsum+sha256:00")]).await;
    assert!(status == 412 && text.starts_with("X-Docker-Checksum-Payload not set"), "{status} {text}");
    let payload = "x-docker-checksum-payload";
    assert_eq!(send(&[(payload, "")]).await, (400, "Missing Image's checksum".to_owned()));
    let wrong = format!("sha256:{}", id('0'));
    assert_eq!(send(&[(payload, &wrong)]).await, (400, "Checksum mismatch".to_owned()));
    for malformed in ["sha256:00", "md5:00", &id('0'), &wrong.to_uppercase()] {
        assert_eq!(send(&[(payload, malformed)]).await.0, 400, "{malformed}");
    }
    assert_eq!(surface.ask("GET", &path("json")).await.status, 400, "it can be tried again");
    let right = image.checksum();
    let whole = surface.send("PUT", &path("checksum"), &[(payload, &right)], Body::empty()).await;
    assert_eq!(whole.text(), "true");
}

#[tokio::test]
async fn what_is_refused_at_the_edge_has_its_status_and_text() {
    let surface = Fixture::v1().await;
    surface.push("ann/app", "latest", &[]).await;
    let long = format!("/v1/repositories/{}/", "a".repeat(256));
    for (method, path, status, text) in [
        ("GET", "/v1/other", 404, "There is no such endpoint"),
        ("GET", "/v1/images", 404, "There is no such endpoint"),
        ("GET", "/v1/images/x/json", 404, "Invalid image ID"),
        ("PUT", "/v1/images/0f0f/layer", 404, "Invalid image ID"),
        ("GET", "/v1/repositories/ann/app/tags/v1", 404, "Tag not found"),
        ("GET", "/v1/repositories/ann/app/tags/v1/json", 404, "Tag not found"),
        ("GET", "/v1/repositories/ann/app/tags/.x", 400, "Invalid tag name"),
        ("PUT", "/v1/repositories/ann/app/tags/a%2Fb", 400, "Invalid tag name"),
        ("DELETE", "/v1/repositories/ann/app/tags/v1", 404, "Tag not found: v1"),
        ("GET", "/v1/repositories/ann/none/images", 404, "Repository not found"),
        ("GET", "/v1/repositories/ann/none/tags", 404, "Repository not found"),
        ("GET", "/v1/repositories/ann/none/tags/v1", 404, "Tag not found"),
        ("GET", "/v1/repositories/ann/none/json", 404, "Repository not found"),
        ("GET", "/v1/repositories/ann/none/properties", 404, "Repository not found"),
        ("DELETE", "/v1/repositories/ann/none/", 404, "Repository not found"),
        ("DELETE", "/v1/repositories/ann/none/tags", 404, "Repository not found"),
        ("DELETE", "/v1/repositories/ann/none/tags/v1", 404, "Tag not found: v1"),
    ] {
        let refused = surface.ask(method, path).await;
        assert_eq!(refused.error(), (status, text.to_owned()), "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/v1/repositories/A/tags"),
        ("GET", "/v1/repositories/a%2Fb/tags"),
        ("GET", "/v1/repositories/a%00/tags"),
        ("PUT", "/v1/repositories/a/../b/"),
        ("PUT", "/v1/repositories/%2e%2e/"),
        ("PUT", "/v1/repositories/_x/"),
        ("PUT", "/v1/repositories/a..b/"),
        ("PUT", &long),
    ] {
        let (status, text) = surface.ask(method, path).await.error();
        assert_eq!(status, 400, "{method} {path}");
        assert!(text.starts_with("Invalid repository name: "), "{text}");
    }
    for (method, path, allow) in [
        ("POST", "/v1/_ping", "GET, HEAD"),
        ("DELETE", "/v1/search", "GET, HEAD"),
        ("POST", "/v1/repositories/ann/app/", "PUT, DELETE"),
        ("PATCH", "/v1/repositories/ann/app/tags/v1", "GET, HEAD, PUT, DELETE"),
    ] {
        let refused = surface.ask(method, path).await;
        assert_eq!((refused.error().0, refused.header("allow")), (405, allow), "{method} {path}");
    }
}

#[tokio::test]
async fn lists_and_tags_say_what_they_should() {
    let surface = Fixture::v1().await;
    let [_, top] = surface.push("ann/app", "latest", &[]).await;
    for path in ["/v1/repositories/ann/app/", "/v1/repositories/ann/app/images"] {
        for (sent, text) in [
            ("", "Error Decoding JSON"),
            ("[", "Error Decoding JSON"),
            ("{}", "Invalid data"),
            ("[1]", "Invalid data"),
            ("[{\"id\":\"x\"}]", "Invalid data"),
        ] {
            let refused = surface.send("PUT", path, &[], sent).await;
            assert_eq!(refused.error(), (400, text.to_owned()), "{path} {sent}");
        }
    }
    let path = "/v1/repositories/ann/app/tags/v2";
    for sent in ["", "{}", "\"\"", "null", &*top.id, "[\"x\"]"] {
        assert_eq!(
            surface.send("PUT", path, &[], sent.to_owned()).await.error(),
            (400, "Invalid data".to_owned()),
            "{sent}"
        );
    }
    for sent in ["x", &*id('f')] {
        let refused = surface.send("PUT", path, &[], format!("\"{sent}\"")).await;
        assert_eq!(refused.error(), (404, "Image not found".to_owned()), "{sent}");
    }
    let refused = surface.send("PUT", path, &[], "x".repeat(crate::SMALL_BODY_BYTES_MAX + 1)).await;
    assert_eq!(refused.status, 413);
    for sent in ["", "{}", r#"{"access":"secret"}"#, "[]"] {
        let refused = surface.send("PUT", "/v1/repositories/ann/app/properties", &[], sent).await;
        assert_eq!(refused.error(), (400, "Invalid data".to_owned()), "{sent}");
    }
    let tags = surface.ask("GET", "/v1/repositories/ann/app/tags").await;
    assert_eq!(tags.text(), format!(r#"{{"latest":"{}"}}"#, top.id), "nothing was changed");
}

#[tokio::test]
async fn a_repository_that_speaks_v2_alone_is_searched_and_nothing_else() {
    let surface = Fixture::new(DockerApiVersion::V2).await;
    for (method, path) in [
        ("GET", "/v1/_ping"),
        ("GET", "/_ping"),
        ("GET", "/v1/"),
        ("GET", "/v1/users/"),
        ("POST", "/v1/users/"),
        ("PUT", "/v1/repositories/ann/app/"),
        ("GET", "/v1/images/x/json"),
        ("GET", "/v1/other"),
        ("POST", "/v1/search"),
    ] {
        let refused = surface.ask(method, path).await;
        let text = "Unsupported docker v1 repository request for 'docker-local'";
        assert_eq!(refused.error(), (404, text.to_owned()), "{method} {path}");
    }
    assert_eq!(surface.ask("GET", "/v1/search?q=x").await.json()["num_results"], 0);
}
