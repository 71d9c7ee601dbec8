"""Does a folder of documents, brought to a control plane, serve the applications that it served before?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import control_plane
import openai
import pytest
from conftest import CARD, DOCUMENTS, PROVIDER_KEY, Gateway, create_keys, eventually
from control_plane import ControlPlane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from control_plane.started(tmp_path_factory.mktemp("plane"))


def test_a_key_of_the_folder_works_on_the_store(plane: ControlPlane, house: Gateway, tmp_path: Path) -> None:
    """documents → palisade apply → the same key, and everything that the documents say."""
    assert house.double is not None
    (tmp_path / "docs/orgs").mkdir(parents=True)
    platform, organisation = ((DOCUMENTS / f"{name}.toml").read_text() for name in ("platform", "organisation"))
    (tmp_path / "docs/platform.toml").write_text(platform.replace("http://double.invalid", house.double.url))
    (tmp_path / "docs/orgs/client.toml").write_text(organisation)
    key = create_keys(plane.binary, tmp_path / "docs", "client")["developers"]
    os.environ["TEST_PROVIDER_KEY"] = PROVIDER_KEY
    documents = ("-f", str(tmp_path / "docs"))
    applied = plane.palisade("apply", *documents, "--create")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert key not in applied.stdout and PROVIDER_KEY not in applied.stdout + applied.stderr

    client = openai.OpenAI(base_url=f"{plane.proxy}/v1", api_key=key, max_retries=0)
    house.open_clients.append(client)

    def answered() -> str | None:
        try:
            messages = [{"role": "user", "content": f"My card is {CARD}, thanks"}]
            answer = client.chat.completions.create(model="mock-echo", messages=messages)  # type: ignore[arg-type]
            return answer.choices[0].message.content
        except openai.AuthenticationError:
            return None

    assert eventually(answered, "the key works") == "My card is [CREDIT_CARD], thanks"

    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/client").write_text(plane.admin("client"))
    every = (*documents, "--org-tokens", str(tmp_path / "tokens"))
    again = plane.palisade("diff", *every)
    assert again.returncode == 0, again.stdout + again.stderr

    exported = plane.palisade("export", "--org", "client", token=(tmp_path / "tokens/client").read_text())
    assert exported.returncode == 0, exported.stderr
    copy = tmp_path / "copy.json"
    copy.write_text(exported.stdout)
    imported = plane.palisade("import", "--org", "copy", "-f", str(copy), "--without-keys")
    assert imported.returncode == 0, imported.stderr
    copied = plane.palisade("export", "--org", "copy", token=plane.admin("copy"))

    def without_keys(text: str) -> list[dict[str, object]]:
        return [one for one in json.loads(text)["resources"] if one["kind"] != "api-keys"]

    assert without_keys(copied.stdout) == without_keys(exported.stdout)
