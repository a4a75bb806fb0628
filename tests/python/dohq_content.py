"""Works with what is in a registry by dohq-artifactory: URL and the administrator's password are the arguments."""

import hashlib
import pathlib
import sys
import tempfile

import dohq_artifactory.admin as admin
from artifactory import ArtifactoryPath, walk
from dohq_artifactory import ArtifactoryException, RepositoryLocal
from push import push

admin.rest_delay = lambda: None

url, password = sys.argv[1:]
auth = ("admin", password)
root = ArtifactoryPath(url, auth=auth)
for key in ("docker-dev", "docker-prod"):
    RepositoryLocal(root, key, package_type="docker", docker_api_version=RepositoryLocal.V2).create()
layer = bytes(range(256)) * 2000
manifest = push(url, password, "docker-dev", "team/app", "1.0", layer)
push(url, password, "docker-dev", "team/app", "2.0", b"another layer")

dev = ArtifactoryPath(f"{url}/docker-dev", auth=auth)
seen = {str(at): (set(folders), set(files)) for at, folders, files in walk(dev)}
top = f"{url}/docker-dev"
assert seen[top] == ({"team"}, set()), seen
assert seen[f"{top}/team/app"] == ({"1.0", "2.0"}, set()), seen
blob = "sha256__" + hashlib.sha256(layer).hexdigest()
folder = dev / "team/app/1.0"
assert {"manifest.json", blob} <= seen[str(folder)][1], seen
assert len(list(dev.glob("**/manifest.json"))) == 2
assert [each.name for each in (dev / "team/app").iterdir() if each.is_dir()] == ["1.0", "2.0"]

file = folder / blob
stat = file.stat()
assert (stat.size, stat.is_dir, stat.sha256) == (len(layer), False, hashlib.sha256(layer).hexdigest()), stat
assert (stat.md5, stat.sha1) == (hashlib.md5(layer).hexdigest(), hashlib.sha1(layer).hexdigest()), stat
assert stat.created_by == "admin" and stat.ctime.tzinfo is not None, stat
with file.open() as opened:
    assert opened.read() == layer
assert (folder / "manifest.json").read_bytes() == manifest
with tempfile.TemporaryDirectory() as place:
    to = pathlib.Path(place) / "layer"
    file.writeto(str(to), chunk_size=4096)
    assert hashlib.sha256(to.read_bytes()).hexdigest() == stat.sha256
assert not (folder / "none").exists() and not (dev / "team/none").exists()
assert file.download_stats() is not None

item = folder / "manifest.json"
assert item.properties["docker.manifest"] == ["1.0"], item.properties
# All are written back, those among them that say what is there.
item.properties = {**item.properties, "qa": ["done", "a,b=c;d|e"]}
try:
    item.set_properties({"docker.manifest": "2.0"}, recursive=False)
    raise AssertionError("what is there was said to be something else")
except ArtifactoryException as refused:
    assert "docker.manifest" in str(refused), refused
assert sorted(item.properties["qa"]) == sorted(["done", "a,b=c;d|e"]), item.properties
item.set_properties({"stage": "rc", "odd": "50% (a) ü & more"}, recursive=False)
assert item.properties["odd"] == ["50% (a) ü & more"], item.properties
item._accessor.set_properties(item, {"by": "put", "many": ["x, y", "z"]}, False)
assert sorted(item.properties["many"]) == ["x, y", "z"], item.properties
item._accessor.del_properties(item, "many", False)
item.del_properties(["stage"])
assert "stage" not in item.properties and "many" not in item.properties and item.properties["by"] == ["put"]
folder.set_properties({"team": ["blue"]}, recursive=True)
assert item.properties["team"] == ["blue"] and (folder / blob).properties["team"] == ["blue"]
item.update_properties({"team": None, "new": "value"})
assert "team" not in item.properties and item.properties["new"] == ["value"]
try:
    (folder / "none").set_properties({"a": "b"})
    raise AssertionError("properties of what is not there were set")
except (ArtifactoryException, OSError):
    pass

found = root.aql(
    "items.find", {"repo": "docker-dev", "@qa": "done"}, ".include", ["name", "path", "repo", "property.*"]
)
assert [(each["path"], each["name"]) for each in found] == [("team/app/1.0", "manifest.json")], found
assert {"key": "qa", "value": "done"} in found[0]["properties"], found
manifests = {"repo": "docker-dev", "name": {"$match": "manifest*"}}
found = root.aql("items.find", manifests, ".sort", {"$asc": ["path"]}, ".limit", 1)
assert root.from_aql(found[0]) == item, found
found = root.session.get(f"{url}/api/search/prop", params={"qa": "done", "repos": "docker-dev"}).json()["results"]
assert [each["uri"] for each in found] == [f"{url}/api/storage/docker-dev/team/app/1.0/manifest.json"], found

root.promote_docker_image("docker-dev", "docker-prod", "team/app", "1.0", copy=True)
prod = ArtifactoryPath(f"{url}/docker-prod", auth=auth)
assert (prod / "team/app/1.0/manifest.json").read_bytes() == manifest
assert "done" in (prod / "team/app/1.0/manifest.json").properties["qa"]
root.promote_docker_image(
    "docker-dev", "docker-prod", "team/app", "2.0", target_docker_repo="team/web", target_tag="stable"
)
assert (prod / "team/web/stable/manifest.json").exists() and not (dev / "team/app/2.0/manifest.json").exists()
try:
    root.promote_docker_image("docker-dev", "docker-prod", "team/app", "none")
    raise AssertionError("a tag that is not there was promoted")
except ArtifactoryException as refused:
    assert "none" in str(refused), refused

(dev / "team/app/1.0").rmdir()
assert not folder.exists()
(prod / "team/web/stable/manifest.json").unlink()
assert not (prod / "team/web/stable").exists() or not list((prod / "team/web/stable").iterdir())
try:
    (prod / "team/app/1.0/own.txt").write_text("own")
    raise AssertionError("a file was made")
except (ArtifactoryException, OSError):
    pass
print("done")
