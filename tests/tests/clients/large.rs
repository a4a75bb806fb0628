//! One large layer: through a real client and back, with the server's memory watched.

use std::path::Path;

use supercargo_tests::Server;
use supercargo_tests::http::{Connection, Request};
use supercargo_tests::image::{DigestSink, write_large_layout};
use supercargo_tests::program::{run, skopeo};

const LAYER_BYTES: u64 = 512 << 20;
const SERVER_MEMORY_BYTES_MAX: u64 = 128 << 20;

#[test]
fn a_large_layer_passes_in_little_memory() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    let digest = write_large_layout(&layout, "large", 11, LAYER_BYTES).unwrap();

    let remote = format!("docker://{}", server.reference("large:1"));
    let local = format!("oci:{}:large", layout.display());
    run(skopeo(&["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]).args([&local, &remote]));
    let back = folder.path().join("back");
    let target = format!("dir:{}", back.display());
    run(skopeo(&["copy", "--quiet", "--src-tls-verify=false"]).args([&remote, &target]));
    assert_eq!(digest_of(&back.join(&digest["sha256:".len()..])), digest);

    // A range from the middle, as a client asks for that resumes.
    let mut connection = Connection::open(server.address()).unwrap();
    let path = format!("/v2/large/blobs/{digest}");
    let from = LAYER_BYTES - 12_345;
    let request = Request::new("GET", &path).header("Range", &format!("bytes={from}-"));
    connection.send(&request.to_bytes()).unwrap();
    let tail = connection.receive("GET").unwrap().expect(206).body;
    let whole = std::fs::read(back.join(&digest["sha256:".len()..])).unwrap();
    assert!(tail == whole[usize::try_from(from).unwrap()..]);

    let peak = server.process().memory_bytes("VmHWM");
    eprintln!("the server's memory was {} MiB at most", peak >> 20);
    assert!(peak < SERVER_MEMORY_BYTES_MAX, "{peak} bytes");
    server.stop().verify();
}

fn digest_of(file: &Path) -> String {
    let mut sink = DigestSink::default();
    std::io::copy(&mut std::fs::File::open(file).unwrap(), &mut sink).unwrap();
    sink.finish().0
}
