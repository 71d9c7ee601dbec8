"""Does the admin API do what its own description says, whatever is sent? Asked by Schemathesis, route by route.

The description is the one that the binary serves. Requests are made of its schemas, valid ones and others, with the tokens
of an operator and of an organisation's admin. An answer is as it should be if it has a status, a type and a body that the
description knows, and is no failure of the server's own.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import control_plane
import pytest
import schemathesis
from control_plane import ControlPlane
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# Requests of each route, at least: few, as there are some two hundred routes.
EXAMPLES = 4
Tokens = Iterator[str]
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
# These would take away what the others need. What they answer is asked of an organisation that is not there.
ENDING = {("POST", "/api/v1/orgs/{org}/suspend"), ("DELETE", "/api/v1/orgs/{org}"), ("POST", "/api/v1/orgs/{org}/import")}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from control_plane.started(tmp_path_factory.mktemp("plane"))


@pytest.fixture(scope="module")
def tokens(plane: ControlPlane) -> Tokens:
    """Whose turn it is: the operator and the admin, one after the other."""
    plane.call("POST", "/orgs", plane.operator, {"id": "acme", "name": "Acme"})
    admin = plane.admin("acme")
    plane.call("PUT", "/orgs/acme/groups/dev", admin, {}, **{"if-none-match": "*"})
    plane.call("PUT", "/orgs/acme/users/bob", admin, {"groups": ["dev"]}, **{"if-none-match": "*"})
    return itertools.cycle((plane.operator, admin))


DESCRIPTION = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text())
schema = schemathesis.openapi.from_dict(DESCRIPTION)


def test_the_description_is_the_one_that_is_served(plane: ControlPlane) -> None:
    assert plane.call("GET", "/openapi.json") == DESCRIPTION


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_api_is_as_it_is_described(case: Any, plane: ControlPlane, tokens: Tokens) -> None:
    if "org" in case.path_parameters and (case.method.upper(), case.path) not in ENDING:
        case.path_parameters["org"] = "acme"
    token = {"authorization": f"Bearer {next(tokens)}"}
    answer = case.call(base_url=plane.api, headers=token, timeout=30)
    case.validate_response(answer, checks=list(CHECKS))
