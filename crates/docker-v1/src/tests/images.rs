//! Images coming in and going out: the V1 specification's sections 5 to 7.

use axum::body::Body;
use http::HeaderMap;

use super::support::{Fixture, Image, cut_off, id};

/// What a push and a pull ask, in their order, and what they hear.
#[tokio::test]
async fn an_image_is_pushed_and_pulled() {
    let surface = Fixture::v1().await;
    let list = format!(r#"[{{"id":"{}"}},{{"id":"{}","Tag":"latest"}}]"#, id('1'), id('2'));
    let wanted = [("x-docker-token", "true"), ("content-type", "application/json")];
    let begun = surface.send("PUT", "/v1/repositories/ann/app/", &wanted, list).await;
    assert_eq!((begun.status, begun.text()), (200, "\"\""));
    assert_eq!(begun.header("x-docker-endpoints"), "registry.example:5000");
    let token = begun.token();
    assert!(token.ends_with(",repository=\"ann/app\",access=write"), "{token}");
    let cookie = begun.header("set-cookie");
    assert!(cookie.starts_with("session=") && cookie.ends_with("; Path=/; HttpOnly"), "{cookie}");
    assert!(!surface.exists("ann/app"), "a push that only began is nothing that others see");

    for digit in ['1', '2'] {
        let missing = surface.ask("GET", &format!("/v1/images/{}/json", id(digit))).await;
        assert_eq!(missing.error(), (404, "Image not found".to_owned()));
    }
    let auth = [("authorization", &*token)];
    let [base, top] = surface.push("ann/app", "latest", &auth).await;
    let ended = surface.send("PUT", "/v1/repositories/ann/app/images", &auth, "[]").await;
    assert_eq!((ended.status, ended.body.len()), (204, 0));

    let images = surface.ask("GET", "/v1/repositories/ann/app/images").await;
    let mut listed: Vec<String> = images
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|image| {
            assert!(image.get("Tag").is_none());
            format!("{} {}", image["id"].as_str().unwrap(), image["checksum"].as_str().unwrap())
        })
        .collect();
    listed.sort();
    assert_eq!(listed, [&base, &top].map(|image| format!("{} {}", image.id, image.checksum())));
    let token = images.token();
    assert!(token.ends_with(",access=read"));
    let auth = [("authorization", &*token)];

    let tag = surface.send("GET", "/v1/repositories/ann/app/tags/latest", &auth, Body::empty()).await;
    assert_eq!((tag.status, tag.text().to_owned()), (200, format!("\"{}\"", top.id)));
    let tags = surface.send("GET", "/v1/repositories/ann/app/tags", &auth, Body::empty()).await;
    assert_eq!(tags.text(), format!(r#"{{"latest":"{}"}}"#, top.id));
    let path = format!("/v1/images/{}/ancestry", top.id);
    let ancestry = surface.send("GET", &path, &auth, Body::empty()).await;
    assert_eq!(ancestry.text(), format!(r#"["{}","{}"]"#, top.id, base.id));
    for image in [&base, &top] {
        let path = format!("/v1/images/{}/json", image.id);
        let json = surface.send("GET", &path, &auth, Body::empty()).await;
        assert_eq!((json.status, json.text()), (200, &*image.json));
        assert_eq!(json.header("content-type"), "application/json");
        assert_eq!(json.header("x-docker-size"), image.layer.len().to_string());
        assert_eq!(json.header("x-docker-checksum-payload"), image.checksum());
        let path = format!("/v1/images/{}/layer", image.id);
        let layer = surface.send("GET", &path, &auth, Body::empty()).await;
        assert_eq!((layer.status, &layer.body[..]), (200, image.layer));
        assert_eq!(layer.header("content-type"), "application/octet-stream");
        assert_eq!(layer.header("content-length"), image.layer.len().to_string());
        assert_eq!(layer.header("accept-ranges"), "bytes");
        assert!(!layer.headers.contains_key("content-encoding"));
    }
}

#[tokio::test]
async fn what_is_there_is_not_pushed_again() {
    let surface = Fixture::v1().await;
    let [base, top] = surface.push("ann/app", "latest", &[]).await;
    let path = |part: &str| format!("/v1/images/{}/{part}", top.id);
    let exists = (409, "Image already exists".to_owned());
    let again = surface.send("PUT", &path("json"), &[], top.json.clone()).await;
    assert_eq!(again.error(), exists);
    assert_eq!(again.text(), r#"{"error":"Image already exists"}"#, "clients compare it");
    let other = format!(r#"{{"id":"{}","parent":"{}"}}"#, top.id, base.id);
    assert_eq!(surface.send("PUT", &path("json"), &[], other).await.error(), exists);
    assert_eq!(surface.send("PUT", &path("layer"), &[], "x").await.error(), exists);
    let checksum = [("x-docker-checksum-payload", &*top.checksum())];
    let again = surface.send("PUT", &path("checksum"), &checksum, Body::empty()).await;
    assert_eq!(again.error(), (409, "Cannot set this image checksum".to_owned()));
    assert_eq!(surface.ask("GET", &path("json")).await.text(), top.json);
}

#[tokio::test]
async fn an_image_that_comes_in_is_seen_by_nobody() {
    let surface = Fixture::v1().await;
    let image = Image::new('1', None, b"layer");
    let path = |part: &str| format!("/v1/images/{}/{part}", image.id);
    let states = async |expected: (u16, &str)| {
        for part in ["json", "layer", "ancestry"] {
            let found = surface.ask("GET", &path(part)).await;
            assert_eq!(found.error(), (expected.0, expected.1.to_owned()), "{part}");
        }
    };
    let checksum = async |checksum: &str| {
        surface
            .send("PUT", &path("checksum"), &[("x-docker-checksum-payload", checksum)], Body::empty())
            .await
    };
    states((404, "Image not found")).await;
    for (part, body) in [("layer", "x"), ("checksum", "")] {
        let sent = [("x-docker-checksum-payload", &*image.checksum())];
        let early = surface.send("PUT", &path(part), &sent, body).await;
        assert_eq!(early.error(), (404, "Image not found".to_owned()), "{part}");
    }

    let uploading = (400, "Image is being uploaded, retry later");
    assert_eq!(surface.send("PUT", &path("json"), &[], image.json.clone()).await.status, 200);
    states(uploading).await;
    let mismatch = (400, "Checksum mismatch".to_owned());
    assert_eq!(checksum(&image.checksum()).await.error(), mismatch, "there is no layer yet");
    assert_eq!(
        surface.set_tag("ann/app", "latest", &image.id, &[]).await.error(),
        (404, "Image not found".to_owned())
    );

    assert_eq!(surface.send("PUT", &path("layer"), &[], "other").await.status, 200);
    assert_eq!(checksum(&image.checksum()).await.error(), mismatch);
    states(uploading).await;
    assert_eq!(surface.send("PUT", &path("layer"), &[], image.layer).await.status, 200);
    assert_eq!(surface.send("PUT", &path("json"), &[], image.json.clone()).await.status, 200);
    assert_eq!(checksum(&image.checksum()).await.error(), mismatch, "a new JSON drops the layer");

    assert_eq!(surface.send("PUT", &path("layer"), &[], image.layer).await.status, 200);
    assert_eq!(checksum(&image.checksum()).await.text(), "true");
    assert_eq!(surface.ask("GET", &path("json")).await.status, 200);
    assert_eq!(surface.ask("GET", "/v1/repositories/ann/app/tags").await.status, 404);
}

/// The reference implementation lets two who push the same image destroy each other's work.
#[tokio::test]
async fn who_push_the_same_image_do_not_meet() {
    let surface = Fixture::v1().await;
    let begin = async || surface.send("PUT", "/v1/repositories/ann/app/", &[], "[]").await.token();
    let (one, other) = (begin().await, begin().await);
    let (one, other) = ([("authorization", &*one)], [("authorization", &*other)]);
    let image = Image::new('1', None, b"layer");
    let path = |part: &str| format!("/v1/images/{}/{part}", image.id);
    assert_eq!(surface.send("PUT", &path("json"), &one, image.json.clone()).await.status, 200);
    assert_eq!(surface.send("PUT", &path("layer"), &one, image.layer).await.status, 200);
    let seen = surface.send("GET", &path("json"), &other, Body::empty()).await;
    assert_eq!(seen.status, 404, "for the other it is not there");
    assert_eq!(surface.send("PUT", &path("json"), &other, image.json.clone()).await.status, 200);

    let checksum = image.checksum();
    let finish = async |who: [(&str, &str); 1]| {
        let headers = [who[0], ("x-docker-checksum-payload", &checksum)];
        surface.send("PUT", &path("checksum"), &headers, Body::empty()).await
    };
    assert_eq!(finish(one).await.text(), "true");
    // Late, and let go on to the end.
    assert_eq!(surface.send("PUT", &path("layer"), &other, image.layer).await.status, 200);
    assert_eq!(finish(other).await.text(), "true");
    assert_eq!(surface.ask("GET", &path("layer")).await.body, image.layer);
}

/// Over https there are no tokens: the cookie tells pushers apart.
#[tokio::test]
async fn a_cookie_tells_pushers_apart_that_have_no_token() {
    let surface = Fixture::v1().await;
    let begun = surface.send("PUT", "/v1/repositories/ann/app/", &[], "[]").await;
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    let image = Image::new('1', None, b"layer");
    let path = format!("/v1/images/{}/json", image.id);
    let with = [("cookie", &*cookie)];
    assert_eq!(surface.send("PUT", &path, &with, image.json.clone()).await.status, 200);
    assert_eq!(surface.send("GET", &path, &with, Body::empty()).await.status, 400);
    assert_eq!(surface.ask("GET", &path).await.status, 404);
    // The token of the same answer is of the same session.
    let token = begun.token();
    let with = [("authorization", &*token)];
    assert_eq!(surface.send("GET", &path, &with, Body::empty()).await.status, 400);
}

#[tokio::test]
async fn a_layer_comes_back_from_where_it_was_lost() {
    let surface = Fixture::v1().await;
    let [_, top] = surface.push("ann/app", "latest", &[]).await;
    let path = format!("/v1/images/{}/layer", top.id);
    let etag = format!("\"{}\"", top.checksum());
    for (range, status, body, described) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        // As docker resumes: the end is one past the last byte.
        ("bytes=4-10", 206, "456789", "bytes 4-9/10"),
        ("bytes=8-", 206, "89", "bytes 8-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=10-10", 416, "", "bytes */10"),
        ("bytes=99-", 416, "", "bytes */10"),
        ("bytes=9-3", 200, "0123456789", ""),
        ("bytes=0-1,4-5", 200, "0123456789", ""),
        ("nonsense", 200, "0123456789", ""),
        ("lines=1-2", 200, "0123456789", ""),
    ] {
        let part = surface.send("GET", &path, &[("range", range)], Body::empty()).await;
        assert_eq!((part.status, part.text()), (status, body), "{range}");
        assert_eq!(part.header("content-range"), described, "{range}");
        assert_eq!(part.header("content-length"), body.len().to_string(), "{range}");
        assert_eq!(part.header("accept-ranges"), "bytes");
        assert_eq!(part.header("etag"), if status == 416 { "" } else { &*etag });
    }
    for (condition, status) in [(&*etag, 206), ("\"other\"", 200), ("Thu, 01 Jan 1970 00:00:00 GMT", 200)] {
        let headers = [("range", "bytes=2-4"), ("if-range", condition)];
        assert_eq!(surface.send("GET", &path, &headers, Body::empty()).await.status, status, "{condition}");
    }
    let head = surface.send("HEAD", &path, &[("range", "bytes=2-4")], Body::empty()).await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "10"));
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let surface = Fixture::v1().await;
    let [_, top] = surface.push("ann/app", "latest", &[]).await;
    let etag = format!("\"{}\"", top.checksum());
    for part in ["json", "layer"] {
        let path = format!("/v1/images/{}/{part}", top.id);
        let cached = |answer: &HeaderMap| {
            assert_eq!(answer["etag"], etag, "{part}");
            assert_eq!(answer["cache-control"], "private, no-cache", "{part}");
            assert_eq!(answer["vary"], "Authorization, Cookie", "{part}");
            assert!(!answer.contains_key("last-modified"), "{part}");
        };
        cached(&surface.ask("GET", &path).await.headers);
        for (name, value, status) in [
            ("if-none-match", &*etag, 304),
            ("if-none-match", "*", 304),
            ("if-none-match", "\"other\"", 200),
            ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
            ("if-modified-since", "Wed, 21 Oct 2026 07:28:00 GMT", 200),
            ("if-modified-since", "nonsense", 200),
        ] {
            let answer = surface.send("GET", &path, &[(name, value)], Body::empty()).await;
            assert_eq!(answer.status, status, "{part} {name} {value}");
            cached(&answer.headers);
            if status == 304 {
                assert!(answer.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let surface = Fixture::v1().await;
    let [_, top] = surface.push("ann/app", "latest", &[]).await;
    for path in [
        "/v1/_ping",
        "/v1/search",
        "/v1/repositories/ann/app/images",
        "/v1/repositories/ann/app/tags/latest",
        &format!("/v1/images/{}/json", top.id),
        &format!("/v1/images/{}/layer", top.id),
        "/v1/repositories/none/none/tags",
    ] {
        let (get, head) = (surface.ask("GET", path).await, surface.ask("HEAD", path).await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("x-docker-size"), get.header("x-docker-size"), "{path}");
        let length = head.header("content-length");
        assert!(length.is_empty() || length == get.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let surface = Fixture::v1().await;
    let image = Image::new('1', None, b"layer");
    let path = |part: &str| format!("/v1/images/{}/{part}", image.id);
    let broken = surface.send("PUT", &path("json"), &[], cut_off()).await;
    assert_eq!((broken.status, broken.header("connection")), (400, "close"));
    assert_eq!(surface.ask("GET", &path("json")).await.status, 404);

    assert_eq!(surface.send("PUT", &path("json"), &[], image.json.clone()).await.status, 200);
    let broken = surface.send("PUT", &path("layer"), &[], cut_off()).await;
    assert_eq!((broken.status, broken.header("connection")), (400, "close"));
    let checksum = image.checksum();
    let headers = [("x-docker-checksum-payload", &*checksum)];
    let finished = surface.send("PUT", &path("checksum"), &headers, Body::empty()).await;
    assert_eq!(finished.error(), (400, "Checksum mismatch".to_owned()));
    assert_eq!(surface.ask("GET", &path("layer")).await.status, 400, "the JSON is still there");
    surface.push_image(&image, &[]).await;
}

#[tokio::test]
async fn an_empty_layer_is_one() {
    let surface = Fixture::v1().await;
    let image = Image::new('1', None, b"");
    surface.push_image(&image, &[]).await;
    let layer = surface.ask("GET", &format!("/v1/images/{}/layer", image.id)).await;
    assert_eq!((layer.status, layer.body.len(), layer.header("content-length")), (200, 0, "0"));
    let json = surface.ask("GET", &format!("/v1/images/{}/json", image.id)).await;
    assert_eq!(json.header("x-docker-size"), "0");
}

/// The base image of the specification's test vectors: a gzip of a folder and a file.
#[tokio::test]
async fn the_files_of_a_layer_are_listed() {
    use base64::Engine as _;

    const LAYER: &str = "H4sIAAAAAAAA/+3RQQqAIBBA0Vl3Cm+Qo6OeJ0poYQhmnT9xGVQrg2jeZmR0IXyfxx4ak4Uzps7iPOsZldZE5OoepbYEwsAL\
        tjUPqXwlxZjv3j3df5Qv/ZeYp9b9LdF1f8RTf1SkQEju39zsQ4hixw4YY4z9yQFJV+zdAAoAAA==";

    let surface = Fixture::v1().await;
    let layer = base64::engine::general_purpose::STANDARD.decode(LAYER).unwrap();
    let image = Image { layer: layer.leak(), ..Image::new('1', None, b"") };
    surface.push_image(&image, &[]).await;
    let path = format!("/v1/images/{}/files", image.id);
    let files = surface.ask("GET", &path).await;
    assert_eq!(files.status, 200);
    let expected = serde_json::json!([
        ["/etc", "d", false, 0, 1_400_000_000, 0o755, 0, 0],
        ["/etc/motd", "f", false, 9, 1_400_000_000, 0o644, 0, 0],
    ]);
    assert_eq!(files.json(), expected);
    assert_eq!(surface.send("GET", &path, &[("if-none-match", "*")], Body::empty()).await.status, 304);

    let no_tar = Image::new('2', None, b"neither compressed nor a tar");
    surface.push_image(&no_tar, &[]).await;
    let refused = surface.ask("GET", &format!("/v1/images/{}/files", no_tar.id)).await;
    assert_eq!(refused.error().0, 404);
    assert_ne!(refused.error().1, "Image not found", "it says why");
    assert_eq!(surface.ask("GET", &format!("/v1/images/{}/files", id('3'))).await.status, 404);
}

#[tokio::test]
async fn one_session_may_send_an_image_many_times_at_once() {
    let surface = Fixture::v1().await;
    let image = Image::new('1', None, b"a layer");
    let checksum = image.checksum();
    let sent = (0..60).map(|n| {
        let (part, body) = match n % 4 {
            0 | 1 => ("json", Body::from(image.json.clone())),
            2 => ("layer", Body::from(image.layer)),
            _ => ("checksum", Body::empty()),
        };
        let path = format!("/v1/images/{}/{part}", image.id);
        let (surface, checksum) = (&surface, &checksum);
        async move {
            let headers = [("x-docker-checksum-payload", &**checksum)];
            (part, surface.send("PUT", &path, &headers, body).await)
        }
    });
    for (part, answer) in futures_util::future::join_all(sent).await {
        assert!(answer.status < 500, "{part} {} {}", answer.status, answer.text());
    }
    let json = surface.ask("GET", &format!("/v1/images/{}/json", image.id)).await;
    if json.status != 200 {
        surface.push_image(&image, &[]).await;
    }
    let layer = surface.ask("GET", &format!("/v1/images/{}/layer", image.id)).await;
    assert_eq!((layer.status, &layer.body[..]), (200, image.layer));
}
