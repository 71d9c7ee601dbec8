"""What do the tests talk to? A real proxy in front of the provider double, both started here, once for all tests.

`PALISADE_BINARY` names the program. It is started twice: `palisade mock` is the provider, `palisade serve`
the proxy, both on free ports, over documents written for these tests. Keys are made with `palisade keys`.
`test_x.py` is about the client `x`, which has an organisation and keys of its own.

With `PALISADE_URL` and `PALISADE_KEY` instead, the tests that need neither our documents nor a view behind
the proxy run against a proxy that is there already, such as `palisade demo`; the others are skipped.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jwt.algorithms
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

DOCUMENTS = Path(__file__).parent / "documents"
# The provider's own key: a caller must never see it, and the double must.
PROVIDER_KEY = "provider-credential-for-tests"
# A debug build compiles all detection rules before it listens.
STARTED_WITHIN_SECONDS = 60.0
# What must become true does so at once, or something is wrong.
SEEN_WITHIN_SECONDS = 10.0
# A caller that leaves frees the provider at once; a machine that is busy with other tests may need a moment for it.
CANCELLED_WITHIN_SECONDS = SEEN_WITHIN_SECONDS
# Whoever is tested; each is an organisation.
CLIENTS = ("openai", "anthropic", "langchain", "llm", "node", "detectors", "jwt")
# Every key is somebody: the group it belongs to decides what the documents let it do.
GROUPS = ("developers", "hurried", "spent", "mini")

# What a prompt may hold: redacted both ways, redacted in answers, blocked in answers, taken out of prompts and put back
# into answers, blocked in prompts.
CARD = "4111 1111 1111 1111"
EMAIL = "ada.lovelace@example.org"
IBAN = "DE89 3704 0044 0532 0130 00"
SSN = "536-90-4399"
# The access key id of AWS's own documentation.
SECRET = "AKIAZ3MHW7QXK4RJ2NVT"

# Whom the organisation `jwt` believes: a key of each kind, made for this run.
ISSUER = "https://login.jwt.example/realm"
SIGNERS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
BELIEVES = f"""
[[jwt_issuers]]
issuer = "{ISSUER}"
audience = "palisade"
jwks_file = "lists/jwt/keys.json"
groups_claim = "groups"
group_map = {{ dev = "developers" }}
groups = ["mini"]
"""

T = TypeVar("T")


def eventually(ask: Callable[[], T | None], what: str, within: float = SEEN_WITHIN_SECONDS) -> T:
    """Asks until there is an answer. Each question is a request, so this is no busy loop."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
    raise AssertionError(f"not seen within {within} s: {what}")


@dataclass
class Double:
    """The provider double, from behind."""

    url: str

    def requests(self, marker: str) -> list[dict[str, Any]]:
        """The requests that reached it with this text in their body, oldest first."""
        with urllib.request.urlopen(f"{self.url}/__mock/requests") as answer:
            seen = json.load(answer)["requests"]
        return [request for request in seen if marker in request["body"]]

    def only(self, marker: str) -> dict[str, Any]:
        """The one request with this text."""
        (request,) = self.requests(marker)
        return request

    def is_left(self, marker: str) -> None:
        """Waits until the one request with this text was given up, which must not take longer than promised."""
        eventually(
            lambda: self.only(marker)["client_left"], "the provider is left", CANCELLED_WITHIN_SECONDS
        )


@dataclass
class Gateway:
    """The proxy, and how to talk to it."""

    url: str
    keys_of: dict[str, dict[str, str]]
    double: Double | None
    tested: str = "openai"
    open_clients: list[Any] = field(default_factory=list)

    @property
    def keys(self) -> dict[str, str]:
        """The keys of the client under test, by group."""
        return self.keys_of[self.tested]

    def client(self, group: str = "developers", **options: Any) -> openai.OpenAI:
        """An SDK client with a key of this group. It does not retry unless told to."""
        options = {"api_key": self.keys.get(group), "max_retries": 0, "timeout": 30.0} | options
        client = openai.OpenAI(base_url=f"{self.url}/v1", **options)
        self.open_clients.append(client)
        return client


class Process:
    """A program of ours, ended when the tests are."""

    def __init__(self, log: Path, *command: str, **options: Any) -> None:
        self.log = log
        self.sink = log.open("w")
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.sink, text=True, **options
        )

    def first_line(self) -> str:
        assert self.child.stdout is not None
        line = self.child.stdout.readline().strip()
        return line or self.give_up("said nothing")

    def wait_for(self, path: Path) -> str:
        deadline = time.monotonic() + STARTED_WITHIN_SECONDS
        while not path.exists():
            # Waiting for the process is waiting for a file that it writes while it lives.
            try:
                self.child.wait(0.02)
                self.give_up("ended")
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    self.give_up(f"was not ready within {STARTED_WITHIN_SECONDS} s")
        return path.read_text()

    def give_up(self, reason: str) -> Any:
        self.end()
        pytest.exit(f"{self.child.args[:2]} {reason}:\n{self.log.read_text()}", returncode=3)

    def end(self) -> int:
        self.child.terminate()
        code = self.child.wait(30)
        self.sink.close()
        return code


def write_documents(data: Path, double_url: str, detector_url: str) -> None:
    """The documents, with the addresses in them, and one organisation for each client."""
    (data / "orgs").mkdir(parents=True)
    platform, organisation = ((DOCUMENTS / f"{name}.toml").read_text() for name in ("platform", "organisation"))
    addresses = platform.replace("http://double.invalid", double_url)
    (data / "platform.toml").write_text(addresses.replace("http://detector.invalid", detector_url))
    for client in CLIENTS:
        more = DOCUMENTS / f"{client}.toml"
        text = organisation.replace('id = "client"', f'id = "{client}"') + (more.read_text() if more.exists() else "")
        (data / f"orgs/{client}.toml").write_text(text + BELIEVES if client == "jwt" else text)
    (data / "lists/jwt").mkdir(parents=True)
    (data / "lists/jwt/keys.json").write_text(json.dumps({"keys": [public(name) for name in SIGNERS]}))


def public(algorithm: str) -> dict[str, Any]:
    """The public half of a key, as an issuer publishes it."""
    writer = jwt.algorithms.get_default_algorithms()[algorithm]
    written = writer.to_jwk(SIGNERS[algorithm].public_key(), as_dict=True)
    return written | {"kid": algorithm, "use": "sig", "alg": algorithm}


def create_keys(binary: str, data: Path, client: str) -> dict[str, str]:
    keys = {}
    for group in GROUPS:
        of_whom = ("--org", client, "--name", group, "--group", group)
        command = [binary, "keys", "--data-dir", str(data), "create", *of_whom]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, f"{command} failed:\n{made.stderr}"
        keys[group] = made.stdout.strip()
    return keys


def started(binary: str, room: Path) -> Iterator[Gateway]:
    with ExitStack() as running:
        double = Process(
            room / "double.log", binary, "mock", "--listen", "127.0.0.1:0", "--require-key", PROVIDER_KEY
        )
        running.callback(double.end)
        detector = Process(room / "detector.log", sys.executable, str(Path(__file__).with_name("analyzer.py")))
        running.callback(detector.end)
        double_url = double.first_line()
        data, ready, config = room / "data", room / "ready.json", room / "palisade.toml"
        # Nobody asks /readyz here, so nobody needs time to hear that it ends.
        config.write_text('drain_grace = "0s"\n')
        write_documents(data, double_url, detector.first_line())
        with ThreadPoolExecutor() as pool:
            keys_of = dict(zip(CLIENTS, pool.map(lambda client: create_keys(binary, data, client), CLIENTS)))
        listen = [(f"--{name}-listen", "127.0.0.1:0") for name in ("proxy", "admin", "metrics")]
        flags = itertools.chain.from_iterable(listen)
        proxy = Process(
            room / "proxy.log",
            *(binary, "serve", "--config", str(config), "--data-dir", str(data)),
            *("--ready-file", str(ready), "--workers", "2", *flags),
            env=os.environ | {"TEST_PROVIDER_KEY": PROVIDER_KEY},
        )
        running.callback(proxy.end)
        url = json.loads(proxy.wait_for(ready))["proxy"]
        yield Gateway(url, keys_of, Double(double_url))
        assert proxy.end() == 0, proxy.log.read_text()


@pytest.fixture(scope="session")
def session_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    binary, url, key = (os.environ.get(f"PALISADE_{name}") for name in ("BINARY", "URL", "KEY"))
    if binary:
        yield from started(str(Path(binary).resolve()), tmp_path_factory.mktemp("palisade"))
    elif url and key:
        yield Gateway(url.rstrip("/"), {client: {"developers": key} for client in CLIENTS}, None)
    else:
        pytest.exit("set PALISADE_BINARY to the program, or PALISADE_URL and PALISADE_KEY", returncode=4)


@pytest.fixture
def gateway(session_gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Any proxy."""
    session_gateway.tested = request.module.__name__.removeprefix("test_")
    yield session_gateway
    for client in session_gateway.open_clients:
        client.close()
    session_gateway.open_clients.clear()


@pytest.fixture
def house(gateway: Gateway) -> Gateway:
    """A proxy over the documents of these tests."""
    if gateway.double is None:
        pytest.skip("needs PALISADE_BINARY: the documents of these tests and a view behind the proxy")
    return gateway


@pytest.fixture
def double(house: Gateway) -> Double:
    """What reached the provider."""
    assert house.double is not None
    return house.double


@pytest.fixture
def client(gateway: Gateway) -> openai.OpenAI:
    """A developer's client that does not retry."""
    return gateway.client()


MARKERS = itertools.count()


@pytest.fixture
def marker() -> str:
    """A word that only this test says. It has letters only, so that no detector takes it for anything."""
    number = next(MARKERS)
    return "marker" + "".join(chr(ord("a") + (number // 26**place) % 26) for place in range(3))
