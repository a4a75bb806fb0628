"""Pushes images as docker does, for the scripts beside it."""

import hashlib
import json
from urllib.parse import urljoin

import requests


def push(url, password, key, name, tag, layer):
    """Pushes an image of one layer; answers the bytes of its manifest."""
    api = f"{url}/api/docker/{key}/v2/{name}"
    session = requests.Session()
    session.auth = ("admin", password)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"team": "blue"}}}).encode()
    described = []
    for blob in (config, layer):
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        begun = session.post(f"{api}/blobs/uploads/")
        assert begun.status_code == 202, begun.text
        put = session.put(urljoin(url, begun.headers["Location"]), params={"digest": digest}, data=blob)
        assert put.status_code == 201, put.text
        described.append({"digest": digest, "size": len(blob)})
    docker = "application/vnd.docker."
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": docker + "distribution.manifest.v2+json",
            "config": {"mediaType": docker + "container.image.v1+json", **described[0]},
            "layers": [{"mediaType": docker + "image.rootfs.diff.tar.gzip", **described[1]}],
        }
    ).encode()
    headers = {"Content-Type": docker + "distribution.manifest.v2+json"}
    put = session.put(f"{api}/manifests/{tag}", data=manifest, headers=headers)
    assert put.status_code == 201, put.text
    return manifest
