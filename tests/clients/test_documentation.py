"""Are the pages true? Their examples are used as they stand, and their tables are held against the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the examples refer to and do not show.
PLATFORM_REST = '[[providers]]\nname = "azure"\nbase_url = "https://azure.example/v1"\nmodels = ["*"]\n'
ORGANISATION_REST = "".join(f'[[groups]]\nname = "{name}"\n' for name in ("interns", "guests"))


def examples() -> tuple[str, str, str]:
    """Of the process, the platform and an organisation, as the page's sections tell them apart. What the process may
    have besides its first example names files of its own."""
    page = (ROOT / "docs/configuration.md").read_text()
    process, rest = page.split("\n## `platform.toml`\n")
    platform, organisation = rest.split("\n## `orgs/<id>.toml`\n")
    of_process, of_platform, of_organisation = (
        re.findall(r"```toml\n(.*?)```", section, re.DOTALL) for section in (process, platform, organisation)
    )
    return of_process[0], "\n".join(of_platform), "\n".join(of_organisation)


def check(folder: Path, process: str, platform: str, organisation: str) -> subprocess.CompletedProcess[str]:
    binary = os.environ.get("PALISADE_BINARY")
    if not binary:
        pytest.skip("needs PALISADE_BINARY")
    (folder / "data/orgs").mkdir(parents=True)
    (folder / "palisade.toml").write_text(process)
    (folder / "data/platform.toml").write_text(platform + PLATFORM_REST)
    (folder / "data/orgs/acme.toml").write_text(organisation + ORGANISATION_REST)
    command = [
        Path(binary).resolve(),
        "check",
        "--config",
        folder / "palisade.toml",
        "--data-dir",
        folder / "data",
    ]
    environment = os.environ | {"OPENAI_API_KEY": "not-a-key"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_examples_of_the_configuration_are_accepted(tmp_path: Path) -> None:
    process, platform, organisation = examples()
    whole = organisation.replace('"sha256:…"', f'"sha256:{"0" * 64}"').replace('sha256 = "…"', f'sha256 = "{"0" * 64}"')
    # A table is built, not written: without it, the example says so, and nothing else is wrong.
    table = re.search(r"\[\[dlp\.exact_match\]\].*?\n(?=\n|\[|$)", whole, re.DOTALL)
    assert table
    checked = check(tmp_path / "without", process, platform, whole)
    assert checked.returncode != 0 and "`lists/acme/customers.exact`: there is no such file" in checked.stdout
    checked = check(tmp_path, process, platform, whole.replace(table[0], ""))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 organisations, 2 providers" in checked.stdout


def test_an_example_with_an_error_is_not(tmp_path: Path) -> None:
    process, platform, _ = examples()
    checked = check(tmp_path, process, platform, 'id = "acme"\ncolour = "blue"\n')
    assert checked.returncode != 0
    assert "line 2, column 1: unknown field `colour`" in checked.stdout


def test_the_error_table_has_every_code_with_its_status() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    told = set(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page, re.MULTILINE))
    refusals = (ROOT / "filters/src/refusal.rs").read_text()
    faults = (ROOT / "proxy/src/fault.rs").read_text()
    rows = set(re.findall(r'row\(\s*Stage::\w+,\s*(\d{3}),\s*\w+,\s*"(\w+)"\s*\)', refusals))
    rows |= set(re.findall(r'\((\d{3}), "(\w+)"\)', faults))
    assert len(rows) > 20, "the code looks other than this test expects"
    # A client that left reads nothing.
    assert told == {(code, status) for status, code in rows if code != "client_left"}


def test_clients_are_tested_at_the_versions_that_the_page_names() -> None:
    page = (ROOT / "docs/clients.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)`, (\w+) \|.*\| (\d+\.\d+)[^|]*\|$", page, re.MULTILINE)
    pinned = (ROOT / "tests/clients/requirements.txt").read_text()
    python = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==([\d.]+)$", pinned, re.MULTILINE))
    node = json.loads((ROOT / "tests/clients/package.json").read_text())["dependencies"]
    assert len(rows) > 3, "the page looks other than this test expects"
    for name, language, version in rows:
        tested = {"Python": python, "Node": node}[language][name]
        assert f"{tested}.".startswith(f"{version}."), f"{name} for {language} is tested at {tested}"
