"""Administers a registry by pyartifactory: URL and the administrator's password are the arguments."""

import sys

from pyartifactory import Artifactory
from pyartifactory.exception import GroupNotFoundError, RepositoryNotFoundError, UserNotFoundError
from pyartifactory.models import Group, LocalRepository, NewUser, Permission, User
from pyartifactory.models.permission import PermissionEnum, PrincipalsPermission

url, password = sys.argv[1:]
art = Artifactory(url=url, auth=("admin", password), api_version=1)

made = art.repositories.create_repo(
    LocalRepository(key="docker-py", packageType="docker", dockerApiVersion="V2", description="by Python", maxUniqueTags=3)
)
assert (made.key, made.dockerApiVersion, made.maxUniqueTags) == ("docker-py", "V2", 3), made
changed = art.repositories.update_repo(LocalRepository(key="docker-py", description="changed"))
assert (changed.description, changed.maxUniqueTags) == ("changed", 3), changed
assert {each.key for each in art.repositories.list()} == {"docker-local", "docker-py"}

group = art.groups.create(Group(name="builders", description="Those who build"))
assert group.description == "Those who build" and group.userNames == [], group
user = art.users.create(
    NewUser(name="bob", email="bob@example.com", password="a long password", groups=["builders"])
)
assert (user.email, user.groups, user.realm) == ("bob@example.com", ["builders"], "internal"), user
assert art.users.update(User(name="bob", email="b@example.com", groups=["builders"])).email == "b@example.com"
assert art.groups.get("builders").userNames == ["bob"]
assert {each.name for each in art.users.list()} == {"admin", "bob"}

permission = Permission(
    name="builders of team-a",
    includesPattern="team-a/**",
    repositories=["docker-py"],
    principals=PrincipalsPermission(
        users={"bob": [PermissionEnum.read]}, groups={"builders": [PermissionEnum.read, PermissionEnum.deploy]}
    ),
)
made = art.permissions.create(permission)
assert made.principals.groups["builders"] == [PermissionEnum.read, PermissionEnum.deploy], made
permission.includesPattern = "team-b/**"
assert art.permissions.update(permission).includesPattern == "team-b/**"
assert [each.name for each in art.permissions.list()] == ["builders of team-a"]

bob = Artifactory(url=url, auth=("bob", "a long password"))
token = bob.security.create_access_token("bob", expires_in=60)
assert token.token_type == "Bearer" and token.expires_in == 60, token
by_token = Artifactory(url=url, access_token=token.access_token)
assert by_token.users.get("bob").name == "bob"
assert bob.security.revoke_access_token(token.access_token)
key = bob.security.create_api_key().apiKey.get_secret_value()
assert Artifactory(url=url, auth=("bob", key)).users.get("bob").name == "bob"
assert bob.security.regenerate_api_key().apiKey.get_secret_value() != key
bob.security.revoke_api_key()

art.permissions.delete("builders of team-a")
art.users.delete("bob")
art.groups.delete("builders")
art.repositories.delete("docker-py")
for missing, get, name in (
    (UserNotFoundError, art.users.get, "bob"),
    (GroupNotFoundError, art.groups.get, "builders"),
    (RepositoryNotFoundError, art.repositories.get_repo, "docker-py"),
):
    try:
        get(name)
        raise AssertionError(f"{name} is still there")
    except missing:
        pass
print("done")
