"""Checks of the container files without running them."""

import ipaddress
import json
import re
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from typer.main import get_command

from tagalong.backend.demo.label_studio_server import BANNED_SUBNETS
from tagalong.backend.server import http_server
from tagalong.backend.server.app import create_app
from tagalong.backend.server.guess_limiter import MAX_WRONG_GUESSES
from tagalong.backend.server.http_server import STOP_SECONDS
from tagalong.backend.server.prediction.request import Limits
from tagalong.backend.server.request_checks import SMALL_BODY_BYTES
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials, Settings
from tagalong.cli.main import app
from tagalong.ner.errors import VersionInvalid
from tests.lexicon_tagger import load_lexicon

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")
SECRETS = {
    "LABEL_STUDIO_USERNAME",
    "LABEL_STUDIO_PASSWORD",
    "POSTGRES_PASSWORD",
    "TAGALONG_USERNAME",
    "TAGALONG_PASSWORD",
    "TAGALONG_WEBHOOK_SECRET",
}
# Addresses that Label Studio 1.23.2 blocks, from its core/utils/io.py.
RESERVED = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "233.252.0.0/24"),
    *("240.0.0.0/4", "255.255.255.255/32", "::/128", "::1/128", "::ffff:0:0/96"),
    *("::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001:0000::/32"),
    *("2001:20::/28", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


@pytest.fixture(scope="module", params=["tagalong-cpu", "tagalong-gpu"])
def backend(request: pytest.FixtureRequest, compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"][request.param]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined]


def arguments(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in instructions if instruction == name]


def examples() -> dict[str, str]:
    """The variables of .env.example."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def addresses(command: object) -> list[str]:
    return re.findall(r"http://[^']+", str(command))


def serve_options() -> dict[str, Any]:
    """The options of the real ``tagalong serve``, by name."""
    command = get_command(app).commands["serve"]
    return {name: option for option in command.params for name in option.opts}


def test_variables_are_explained_and_used() -> None:
    used = {match[1] for match in VARIABLE.finditer(TEXT)}
    assert used | {"COMPOSE_PROFILES"} == set(examples())  # read by docker compose itself


def test_all_uses_of_variables_are_recognized() -> None:
    assert TEXT.count("$") == len(VARIABLE.findall(TEXT))


def test_missing_secrets_prevent_start() -> None:
    for match in VARIABLE.finditer(TEXT):
        assert (match[2] == "?") == (match[1] in SECRETS), match[0]
        assert match[2] == "-" or "set it" in match[3]
    assert {name for name, value in examples().items() if name in SECRETS and not value} == SECRETS


def test_defaults_match_the_example() -> None:
    defaults = {match[1]: match[3] for match in VARIABLE.finditer(TEXT) if match[2] == "-"}
    assert defaults == {name: value for name, value in examples().items() if name in defaults}


def test_secrets_are_ignored_by_git_and_docker() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignored
    assert not any(line.startswith("!.env") for line in ignored)


def test_example_profile_exists(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    profiles = {profile for service in services for profile in service.get("profiles", [])}
    assert profiles == {"cpu", "gpu"}
    assert examples()["COMPOSE_PROFILES"] in profiles


def test_copied_files_exist_and_are_in_the_build_context(instructions) -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for rest in arguments(instructions, "COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {"ner", "backend", "training", "cli", "pyproject.toml", "constraints.txt"} < set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in sent
    assert len([line for line in sent if line.startswith("!")]) == len(copied)


def test_torch_version_is_the_tested_one(instructions) -> None:
    (line,) = [rest for rest in arguments(instructions, "RUN") if "TORCH_INDEX" in rest]
    pattern = re.search(r"grep '([^']+)' constraints\.txt", line)
    assert pattern is not None
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len([pin for pin in pins if re.search(pattern[1], pin)]) == 1


def test_build_arguments_and_extras_exist(instructions, backend) -> None:
    known = dict(rest.split("=", 1) for rest in arguments(instructions, "ARG"))
    given = known | backend["build"].get("args", {})
    assert set(given) == set(known)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in given["EXTRAS"].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)


def test_stop_waits_for_running_predictions(backend) -> None:
    assert int(backend["stop_grace_period"].removesuffix("s")) > STOP_SECONDS


def test_containers_do_not_run_as_root(instructions, backend) -> None:
    last_stage = list(takewhile(lambda each: each[0] != "FROM", reversed(instructions)))
    assert int(arguments(last_stage, "USER")[0]) > 0
    assert "user" not in backend
    assert backend["read_only"] is True
    assert backend["cap_drop"] == ["ALL"]
    assert not backend.get("privileged")


def test_image_has_no_build_tools(instructions) -> None:
    last_stage = list(takewhile(lambda each: each[0] != "FROM", reversed(instructions)))
    assert not any("pip" in rest or "apt" in rest for rest in arguments(last_stage, "RUN"))
    assert any("--without-pip" in rest for rest in arguments(instructions, "RUN"))


def test_command_is_valid(instructions, backend) -> None:
    assert "command" not in backend
    assert "entrypoint" not in backend
    entry, command = (
        json.loads(arguments(instructions, name)[-1]) for name in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["tagalong"]
    assert command[0] == "serve"
    context = get_command(app).commands["serve"].make_context("serve", command[1:])
    assert context.params["host"] == "0.0.0.0"
    assert context.params["models"] == Path(arguments(instructions, "VOLUME")[-1])
    assert str(context.params["port"]) == arguments(instructions, "EXPOSE")[-1]


def test_environment_variables_are_read_by_the_command(backend) -> None:
    read = {option.envvar for option in serve_options().values() if option.envvar}
    assert set(backend["environment"]) == read


def test_volume_is_mounted_at_the_models_folder(instructions, backend) -> None:
    place = arguments(instructions, "VOLUME")[-1]
    assert backend["environment"]["TAGALONG_MODELS"] == place
    assert [volume.rpartition(":")[2] for volume in backend["volumes"]] == [place]
    assert any(f"TAGALONG_MODELS={place} " in rest for rest in arguments(instructions, "ENV"))


def test_health_check_uses_a_route_without_password(instructions, tmp_path: Path) -> None:
    (url,) = addresses(arguments(instructions, "HEALTHCHECK")[-1])
    assert str(urlsplit(url).port) == arguments(instructions, "EXPOSE")[-1]

    loading = Event()

    def load(_: Path) -> Any:
        loading.wait()
        raise VersionInvalid("no weights in this test")

    server = create_app(Settings(tmp_path, credentials=Credentials("name", "word")), load=load)
    try:
        assert server.test_client().get(urlsplit(url).path).status_code == 200
    finally:
        loading.set()
        server.extensions["tagalong"].close()


def test_health_checks_are_exec_form(instructions, compose) -> None:
    _, _, command = arguments(instructions, "HEALTHCHECK")[-1].partition("CMD ")
    checks = [json.loads(command)]
    for name in ("label-studio", "database"):
        test = compose["services"][name]["healthcheck"]["test"]
        assert test[0] == "CMD"
        checks.append(test[1:])
    programs = [check[2] for check in checks if check[1] == "-c"]
    assert len(programs) == 2
    for program in programs:
        compile(program, "healthcheck", "exec")
    assert not any("$" in word for check in checks for word in check)


def test_label_studio_may_reach_only_our_private_network(compose) -> None:
    studio = compose["services"]["label-studio"]["environment"]
    assert studio["USE_DEFAULT_BANNED_SUBNETS"] == "false"
    assert {"ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED"}.isdisjoint(studio)  # on by default
    (pool,) = compose["networks"]["backend"]["ipam"]["config"]
    ours = ipaddress.ip_network(pool["subnet"])
    expected = set()
    for reserved in map(ipaddress.ip_network, RESERVED):
        around = reserved.version == 4 and ours.subnet_of(reserved)
        expected |= set(reserved.address_exclude(ours)) if around else {reserved}
    banned = studio["USER_ADDITIONAL_BANNED_SUBNETS"].split(",")
    assert {ipaddress.ip_network(each) for each in banned} == expected


def test_single_machine_opens_only_loopback() -> None:
    expected = {each for each in map(ipaddress.ip_network, RESERVED) if not each.is_loopback}
    (documented,) = re.findall(r"USER_ADDITIONAL_BANNED_SUBNETS=(\S+)", PAGE)
    for banned in (documented.split(","), BANNED_SUBNETS.split(",")):
        assert set(map(ipaddress.ip_network, banned)) == expected


def test_server_and_database_share_no_network(compose, backend) -> None:
    services = compose["services"]
    (alias,) = backend["networks"]["backend"]["aliases"]
    assert "." in alias  # Label Studio accepts no other host in the URL of a webhook
    assert set(services["label-studio"]["networks"]) == {"backend", "storage"}
    assert set(backend["networks"]).isdisjoint(services["database"]["networks"])
    assert compose["networks"]["storage"]["internal"] is True
    assert "ports" not in services["database"]
    assert services["label-studio"]["environment"]["POSTGRE_HOST"] in services
    home = urlsplit(backend["environment"]["LABEL_STUDIO_URL"])
    assert home.hostname in services
    assert home.netloc in examples()["TAGALONG_ALLOWED_HOSTS"].split(",")


def test_database_settings_match(compose) -> None:
    studio = compose["services"]["label-studio"]["environment"]
    database = compose["services"]["database"]["environment"]
    assert studio["DJANGO_DB"] == "default"  # Label Studio's name of PostgreSQL
    assert studio["POSTGRE_NAME"] == database["POSTGRES_DB"]
    assert studio["POSTGRE_USER"] == database["POSTGRES_USER"]
    assert studio["POSTGRE_PASSWORD"] == database["POSTGRES_PASSWORD"]


def test_ports_are_bound_to_loopback_by_default(compose) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", []):
            bound = VARIABLE.sub(lambda match: match[3], port)
            assert bound.startswith("127.0.0.1:")


def test_named_volumes_and_networks_exist(compose) -> None:
    for service in compose["services"].values():
        assert set(service["networks"]) <= set(compose["networks"])
        for volume in service["volumes"]:
            source = VARIABLE.sub(lambda match: match[3], volume).partition(":")[0]
            assert source in compose["volumes"]


def test_documentation_names_existing_files(compose, backend) -> None:
    alias, port = backend["networks"]["backend"]["aliases"][0], 9090
    assert f"http://{alias}:{port}" in PAGE
    assert WEBHOOK_SECRET_HEADER in PAGE
    assert "tagalong-cpu" in compose["services"]


def test_documented_routes_are_those_of_the_server(tmp_path: Path) -> None:
    """Each row has the answer without a login; no route is missing."""
    settings = Settings(
        models=tmp_path, credentials=Credentials("studio", "password"), webhook_secret="s3cret"
    )
    server = create_app(settings, load=load_lexicon)
    try:
        rows = re.findall(r"^\| `(GET|POST) (/.*?) \|.*\| (.*?) \|$", PAGE, re.MULTILINE)
        documented = {}
        for method, paths, answer in rows:
            for path in re.findall(r"/[a-z_]*", paths):
                headers = {"Accept": "text/html"} if "browsers" in paths else {}
                reply = server.test_client().open(path, method=method, headers=headers)
                assert (reply.status_code == 401) == (answer == "401"), (path, reply.status_code)
                documented[path] = answer
        routes = {rule.rule for rule in server.url_map.iter_rules() if "<" not in rule.rule}
        assert documented.keys() == {
            route for route in routes if not re.match("/(encoder|llm)/", route)
        }
    finally:
        server.extensions["tagalong"].close()


def test_documented_limits_are_those_of_the_server() -> None:
    limits, head, idle = Limits(), http_server.HEAD_SECONDS, http_server.IDLE_SECONDS
    for sentence in (
        f"more than {head:.0f} seconds for the headers",
        f"nothing for {head:.0f} seconds on a new connection, or for {idle:.0f}",
        f"pauses for {http_server.STALL_SECONDS:.0f} seconds",
        f"less than {http_server.MIN_BODY_BYTES_PER_SECOND:,} bytes a second",
        f"does not read its answer for {http_server.STALL_SECONDS:.0f} seconds",
        f"more than {http_server.MAX_HEAD_BYTES >> 10} KiB",
        f"{limits.max_body_bytes >> 20} MiB for predictions, {limits.max_event_bytes >> 20} MiB",
        f"{SMALL_BODY_BYTES >> 20} MiB on other routes",
        f"more than {limits.max_values:,} JSON values",
        f"{limits.max_concurrent_requests} requests for predictions",
        f"take {limits.max_total_body_bytes >> 20} MiB",
        f"{ {10: 'ten'}[MAX_WRONG_GUESSES] } wrong ones",
        f"hold a connection ({http_server.MAX_CONNECTIONS:,} at most)",
    ):
        assert sentence in PAGE, sentence
