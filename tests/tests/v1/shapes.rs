//! Images of every shape: one layer, as many as docker allows, and a layer that no memory should hold.

use std::io::{Read as _, Write};

use supercargo_tests::Random;
use supercargo_tests::http::Request;
use supercargo_tests::image::{DigestSink, Noise};
use supercargo_tests::v1::image::{Payload, new_id, write_large_layer};
use supercargo_tests::v1::{Chain, V1Image, Version};

use crate::support::{client, speaking};

const LARGE_BYTES: u64 = 512 << 20;
const SERVER_MEMORY_BYTES_MAX: u64 = 128 << 20;

/// Pushed, pushed again, pulled by each version, and pulled over connections that break in every layer.
#[track_caller]
fn an_image_of(layers: usize, layer_bytes: usize) {
    let mut random = Random::from_environment("an_image_of");
    let server = speaking("V1");
    for version in Version::ALL {
        let chain = Chain::generate(&mut random, version, layers, layer_bytes);
        let name = format!("team/{layers}-layers");
        let this = client(&server, version);
        assert_eq!(this.push(&name, &["latest", "v1"], &chain).unwrap(), chain.ids());
        assert_eq!(this.push(&name, &["latest", "v1"], &chain).unwrap(), Vec::<String>::new());
        for other in Version::ALL {
            assert_eq!(client(&server, other).pull(&name, "v1").unwrap(), chain, "{version:?} {other:?}");
        }
        let all = this.pull_all(&name).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["latest", "v1"]);
        assert!(all.values().all(|pulled| *pulled == chain));
        let sizes = chain.images.iter().map(|image| image.layer.len() as u64);
        let shortest = sizes.clone().min().unwrap();
        for broken in [0, 1, shortest - 1, shortest] {
            let resumed = this.clone().breaking_after(broken).pull(&name, "latest").unwrap();
            assert_eq!(resumed, chain, "broken after {broken} bytes");
        }
    }
    server.stop().verify();
}

#[test]
fn of_one_layer() {
    an_image_of(1, 100_000);
}

#[test]
fn of_three_layers() {
    an_image_of(3, 200_000);
}

#[test]
fn of_forty_layers() {
    an_image_of(40, 500);
}

#[test]
fn of_as_many_layers_as_docker_allows() {
    an_image_of(127, 50);
}

/// Takes a layer on its way out: what its checksums will be.
struct Measured<'w> {
    payload: Payload,
    digest: DigestSink,
    sink: &'w mut dyn Write,
}

impl Write for Measured<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.sink.write_all(bytes)?;
        self.payload.update(bytes);
        self.digest.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

#[test]
fn a_large_layer_passes_in_little_memory() {
    let mut random = Random::from_environment("a_large_layer_passes_in_little_memory");
    let server = speaking("V1");
    let id = new_id(&mut random);
    let json = format!(r#"{{"id":"{id}"}}"#).into_bytes();
    let chain = Chain { images: vec![V1Image { id, json, layer: Vec::new() }] };
    let image = chain.top();

    let push = client(&server, Version::V1_9).begin_push("team/large", &["1"], &chain).unwrap();
    push.put_json(image).unwrap();
    let mut sums = None;
    let streamed = push.stream_layer(&image.id, |sink| {
        let digest = DigestSink::default();
        let mut measured = Measured { payload: Payload::new(&image.json), digest, sink };
        write_large_layer(Noise::new(12).take(LARGE_BYTES), LARGE_BYTES, &mut measured)?;
        sums = Some((measured.payload.finish(), measured.digest.finish()));
        Ok(())
    });
    streamed.unwrap();
    let (payload, (digest, size)) = sums.unwrap();
    assert!(size > LARGE_BYTES);
    // Nothing looks at the sum over the archive here; it would take a memory's worth to make it.
    push.put_checksums(&image.id, &payload, &format!("tarsum+sha256:{}", "0".repeat(64))).unwrap();
    push.put_tag("1", &image.id).unwrap();
    push.finish().unwrap();

    let get = Request::new("GET", &format!("/v1/images/{}/layer", image.id));
    let mut sink = DigestSink::default();
    let wire = crate::support::wire(&server);
    wire.send_into(&get, &mut sink).unwrap().expect(200);
    assert_eq!(sink.finish(), (digest, size));
    let tail = wire.send(&get.header("Range", &format!("bytes={}-{size}", size - 1000))).unwrap();
    assert_eq!(tail.expect(206).body.len(), 1000);

    let peak = server.process().memory_bytes("VmHWM");
    eprintln!("the server's memory was {} MiB at most", peak >> 20);
    assert!(peak < SERVER_MEMORY_BYTES_MAX, "{peak} bytes");
    server.stop().verify();
}
