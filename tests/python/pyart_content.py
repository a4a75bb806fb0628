"""Works with what is in a registry by pyartifactory: URL and the administrator's password are the arguments."""

import hashlib
import pathlib
import sys
import tempfile

from push import push
from pyartifactory import Artifactory
from pyartifactory.exception import ArtifactNotFoundError, BadPropertiesError, PropertyNotFoundError
from pyartifactory.models import LocalRepository

url, password = sys.argv[1:]
art = Artifactory(url=url, auth=("admin", password), api_version=1)
art.repositories.create_repo(LocalRepository(key="docker-dev", packageType="docker", dockerApiVersion="V2"))
layer = bytes(range(256)) * 2000
manifest = push(url, password, "docker-dev", "team/app", "1.0", layer)
push(url, password, "docker-dev", "team/app", "2.0", b"another layer")
sha256 = hashlib.sha256(layer).hexdigest()
folder = "docker-dev/team/app/1.0"

info = art.artifacts.info(f"{folder}/sha256__{sha256}")
assert (info.repo, info.size, info.checksums.sha256) == ("docker-dev", len(layer), sha256), info
assert info.checksums.sha1 == hashlib.sha1(layer).hexdigest() and info.originalChecksums.md5 == info.checksums.md5
info = art.artifacts.info("docker-dev/team/app")
assert [(each.uri, each.folder) for each in info.children] == [("/1.0", True), ("/2.0", True)], info
listed = {each.uri for each in art.artifacts.list("docker-dev/team").files}
assert {"/app", "/app/1.0", "/app/1.0/manifest.json", f"/app/1.0/sha256__{sha256}"} <= listed, listed
assert [each.uri for each in art.artifacts.list("docker-dev", depth=1).files] == ["/team"]
assert all(not each.folder for each in art.artifacts.list("docker-dev", list_folders=False).files)
assert art.artifacts.stats(f"{folder}/manifest.json").downloadCount == 0

with tempfile.TemporaryDirectory() as place:
    assert art.artifacts.download(f"{folder}/manifest.json", place).read_bytes() == manifest
    whole = art.artifacts.download("docker-dev/team/app", place)
    assert hashlib.sha256((whole / "1.0" / f"sha256__{sha256}").read_bytes()).hexdigest() == sha256
    assert sorted(each.name for each in pathlib.Path(whole).iterdir()) == ["1.0", "2.0"]
assert b"".join(art.artifacts.stream(f"{folder}/sha256__{sha256}")) == layer

item = f"{folder}/manifest.json"
assert art.artifacts.properties(item).properties["docker.manifest"] == ["1.0"]
set_to = art.artifacts.set_properties(item, {"qa": ["done", "twice"], "stage": ["rc"]}).properties
assert (set_to["qa"], set_to["stage"]) == (["done", "twice"], ["rc"]), set_to
assert art.artifacts.properties(item, ["qa"]).properties == {"qa": ["done", "twice"]}
updated = art.artifacts.update_properties(item, {"qa": ["again"], "stage": None}).properties
assert updated["qa"] == ["again"] and "stage" not in updated, updated
art.artifacts.set_properties("docker-dev/team", {"team": ["blue"]})
assert art.artifacts.properties(item, ["team"]).properties == {"team": ["blue"]}
art.artifacts.set_properties("docker-dev/team", {"only": ["here"]}, recursive=False)
for error, ask in (
    (PropertyNotFoundError, lambda: art.artifacts.properties(item, ["only"])),
    (BadPropertiesError, lambda: art.artifacts.set_properties(item, {"a b": ["x"]})),
    (ArtifactNotFoundError, lambda: art.artifacts.set_properties("docker-dev/none", {"a": ["x"]})),
    (ArtifactNotFoundError, lambda: art.artifacts.info("docker-dev/none")),
    (ArtifactNotFoundError, lambda: art.artifacts.list("docker-dev/none")),
):
    try:
        ask()
        raise AssertionError(f"no {error.__name__}")
    except error:
        pass

art.artifacts.delete(folder)
assert [each.uri for each in art.artifacts.info("docker-dev/team/app").children] == ["/2.0"]
art.artifacts.delete("docker-dev/team/app/2.0/manifest.json")
art.repositories.delete("docker-dev")
print("done")
