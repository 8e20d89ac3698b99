"""The production shape, as far as it can be checked without a container engine."""

import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from jobs.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"migrate", "bucket"}
YAML_STYLE = "{extends: default, rules: {line-length: {max: 120}}}"
VERSIONED = r"[\w./-]+:\d+\.\d+[\w.-]*"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def linted(tool: str, *arguments: str) -> None:
    program = shutil.which(tool, path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"{tool} has no wheel for this platform")
    found = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def packages(extra: str) -> set[str]:
    """The names that an extra installs, those of the extras in it included."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names: set[str] = set()
    for requirement in extras[extra]:
        name, chosen = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", requirement).groups()  # type: ignore[union-attr]
        names |= set().union(*map(packages, chosen.split(","))) if name == "fitd" else {name}
    return names


def test_the_dockerfile_passes_hadolint() -> None:
    linted("hadolint", "Dockerfile")


def test_the_compose_file_passes_yamllint() -> None:
    linted("yamllint", "--strict", "--config-data", YAML_STYLE, "docker-compose.yml")


def test_only_the_worker_image_has_torch() -> None:
    assert "torch" not in packages("api")
    assert "torch" in packages("worker")


def test_both_images_run_without_root() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    targets = {stage.split("\n")[0].split()[-1]: stage for stage in stages[1:]}
    for service in SERVICES.values():
        if "build" in service:
            assert "\nUSER 10001\n" in targets[service["build"]["target"]]


def test_every_setting_that_is_given_exists() -> None:
    given = re.findall(r"\bFITD_(?!PORT)([A-Z_]+)\b", (ROOT / "Dockerfile").read_text() + str(SERVICES))
    assert {name.lower() for name in given} <= set(Settings.model_fields)


def test_every_secret_has_a_place_in_the_example() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, flags=re.MULTILINE)) == needed


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_container_can_do_little_harm(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["pids_limit"] <= 1024
    assert re.fullmatch(r"\d+[mg]|\$\{WORKER_MEMORY:-\d+g\}", service["mem_limit"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_an_image_of_others_is_pinned(service: dict[str, Any]) -> None:
    if "build" not in service:
        assert re.fullmatch(VERSIONED, service["image"])


def test_the_base_of_ours_is_pinned() -> None:
    (base,) = re.findall(r"^FROM (\S+:\S+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(VERSIONED, base)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_that_stops_is_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == ("on-failure" if name in ONE_SHOT else "unless-stopped")


def test_only_the_proxy_can_be_reached_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": ["127.0.0.1:${FITD_PORT:-8000}:8080"]}
    outside = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    assert {name for name, service in SERVICES.items() if outside & set(service["networks"])} == {"proxy", "courier"}
    assert set(SERVICES["proxy"]["networks"]) == {"outside", "front"}
    assert set(SERVICES["courier"]["networks"]) == {"outward", "back"}
    assert {name for name, service in SERVICES.items() if "front" in service["networks"]} == {"proxy", "api"}


def test_nothing_starts_before_what_it_needs() -> None:
    started, healthy, done = ("service_" + end for end in ("started", "healthy", "completed_successfully"))
    for name in ("api", "worker", "worker-gpu"):
        needs = {need: how["condition"] for need, how in SERVICES[name]["depends_on"].items()}
        assert needs == {"migrate": done, "bucket": done, "broker": healthy}
    for service in SERVICES.values():
        for need, how in service.get("depends_on", {}).items():
            assert how["condition"] == (done if need in ONE_SHOT else healthy) != started
            assert need in ONE_SHOT | {"api"} or "healthcheck" in SERVICES[need]


def test_the_gpu_worker_is_there_on_demand_only() -> None:
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["worker-gpu"]


def test_a_full_broker_refuses_instead_of_forgetting() -> None:
    (command,) = SERVICES["broker"]["command"]
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real proxy with its own configuration, its paths and patience shortened, before an api that is away."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    changes = {
        "/tmp/": f"{folder}/",
        "listen 8080": f"listen 127.0.0.1:{port}",
        "header_timeout 5s": "header_timeout 1s",
    }
    for old, new in {**changes, "http://api:8000": f"http://127.0.0.1:{free_port()}"}.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    assert subprocess.run([*command, "-t"], capture_output=True).returncode == 0
    process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    wait_for(port)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


def test_the_proxy_says_when_the_api_is_away(proxy: str) -> None:
    answer = httpx2.get(f"{proxy}/v1/jobs")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert (answer.headers["retry-after"], answer.json()["code"]) == ("5", "unavailable")


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_the_proxy_keeps_to_itself_what_is_for_operators(proxy: str, path: str) -> None:
    answer = httpx2.get(proxy + path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_proxy_refuses_what_is_too_large_before_it_is_sent(proxy: str) -> None:
    head = f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nContent-Length: {3 * 1024**3}\r\n\r\n"
    answer = spoken(proxy, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "head", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000 + b"\r\n\r\n"]
)
def test_the_proxy_refuses_what_is_malformed(proxy: str, head: bytes) -> None:
    answer = spoken(proxy, head)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_the_proxy_hangs_up_on_who_does_not_finish_a_header(proxy: str) -> None:
    start = time.monotonic()
    spoken(proxy, b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert 0.5 < time.monotonic() - start < 5


def test_half_heads_take_the_proxy_from_nobody(proxy: str) -> None:
    port = int(proxy.rpartition(":")[2])
    with ExitStack() as open_ones:
        for _ in range(2100):
            half = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            half.sendall(b"GET /livez HTTP/1.1\r\nHo")
        assert httpx2.get(f"{proxy}/v1/jobs").status_code == 503  # as ever: the api is away


def spoken(proxy: str, words: bytes) -> bytes:
    """What the proxy answers to these bytes: a JSON object, or nothing before it hangs up."""
    port = int(proxy.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(words)
        answer = b""
        try:
            while not answer.endswith(b"}") and (chunk := connection.recv(65536)):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer
