"""Administers a registry by dohq-artifactory: URL and the administrator's password are the arguments."""

import sys

import dohq_artifactory.admin as admin
from artifactory import ArtifactoryPath
from dohq_artifactory import (
    ArtifactoryException,
    Group,
    PermissionTarget,
    RepositoryLocal,
    User,
)

# Artifactory takes a while to see what was changed. We do not.
admin.rest_delay = lambda: None

url, password = sys.argv[1:]
root = ArtifactoryPath(url, auth=("admin", password))

repository = RepositoryLocal(
    root, "docker-py", package_type=RepositoryLocal.DOCKER, docker_api_version=RepositoryLocal.V2, max_unique_tags=5
)
repository.description = "by Python"
repository.create()
found = root.find_repository_local("docker-py")
assert found.docker_api_version == "V2" and found.description == "by Python", found.raw
assert found.raw["maxUniqueTags"] == 5 and found.raw["yumRootDepth"] == 0, found.raw
repository.description = "changed"
repository.update()
assert root.find_repository_local("docker-py").description == "changed"
assert root.find_repository_local("none") is None

old = RepositoryLocal(root, "docker-old", package_type="docker", docker_api_version=RepositoryLocal.V1)
old.create()
assert root.find_repository_local("docker-old").docker_api_version == "V1"
try:
    RepositoryLocal(root, "maven", package_type=RepositoryLocal.MAVEN).create()
    raise AssertionError("a repository for Maven was made")
except ArtifactoryException as refused:
    assert "maven" in str(refused), refused

group = Group(root, "builders")
group.description = "Those who build"
group.create()
user = User(root, "bob", "bob@example.com", password="a long password")
user.add_to_group("builders")
user.create()
found = root.find_user("bob")
assert (found.email, [each.name for each in found.groups]) == ("bob@example.com", ["builders"]), found.raw
assert not found.admin and found.realm == "internal"
assert {each.name for each in root.get_users()} == {"admin", "bob"}
assert [each.name for each in root.get_groups()] == ["builders"]

target = PermissionTarget(root, "builders of team-a", includes_pattern="team-a/**")
target.add_repository("docker-py")
target.add_group("builders", PermissionTarget.ROLE_DEPLOY)
target.add_user("bob", PermissionTarget.ROLE_READ)
target.create()
found = root.find_permission_target("builders of team-a")
assert sorted(found.raw["principals"]["groups"]["builders"]) == ["n", "r", "w"], found.raw
assert [each.name for each in found.repositories] == ["docker-py"]
target.add_group("builders", PermissionTarget.ROLE_ADMIN)
target.create()
assert "m" in root.find_permission_target("builders of team-a").raw["principals"]["groups"]["builders"]

user.password = "a long password"
key = user.api_key.create()
assert key and user.api_key.get()
by_key = ArtifactoryPath(url, apikey=key)
assert by_key.find_user("bob").name == "bob"
assert user.api_key.regenerate() != key
user.api_key.revoke()
assert not user.api_key.get()

group.description = "changed"
group.users = ["bob"]
group.update()
assert root.find_group("builders").description == "changed"
for each in (target, user, group, repository, old):
    each.delete()
assert root.find_user("bob") is None and root.find_permission_target("builders of team-a") is None
print("done")
