"""What the API says of itself is true: requests made from its schema, good and bad, get answers that it describes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.letters.training import Maintainer
from tests.letters.visitor import Visitor, refused
from tests.running import Site, wait_for
from webapp import urls

EXAMPLES = 15  # of each operation, of good requests and of bad ones
STAFF_EXAMPLES = 8
READ = [
    ("get", path)
    for path in ("drawings/mine", "drawings/{drawing_id}", "maps/umap", "models", "models/current", "models/{number}")
]
READ += [("get", path) for path in ("drawings/mine/file", "drawings/mine/deletion")]
READ += [("get", path) for path in ("training-runs", "training-runs/{run_id}", "deployments")]
READ += [("get", path) for path in ("maps", "maps/{method}", "maps/{map_id}/emnist", "maps/{map_id}/collected")]
READ += [("get", path) for path in ("maps/{map_id}/sheets/{number}", "maps/{map_id}/{name}")]
READ += [("get", path) for path in ("emnist/summary", "emnist/{kind}/{label}.png")]
WRITE = [("post", "predictions"), ("post", "drawings"), ("delete", "drawings/{drawing_id}")]
WRITE += [("post", "drawings/mine/deletion")]
WRITE += [("post", path) for path in ("training-runs", "training-runs/{run_id}/cancel", "models/{number}/promote")]
STAFF_READ = [("get", path) for path in ("exports", "exports/{export_id}", "maps/jobs/{map_id}")]
STAFF_WRITE = [("post", f"review/{path}") for path in ("cards", "release", "decisions", "decisions/bulk", "undo")]
STAFF_WRITE += [("post", "review/cards/{drawing_id}"), ("post", "maps/jobs/{map_id}/cancel")]
STAFF_WRITE += [(method, "contributors/{contributor_id}/mute") for method in ("post", "delete")]
COSTLY = [("post", "exports"), ("post", "maps")]  # a job, which these tests leave to others to ask for
FOR_STAFF = [
    *STAFF_READ,
    *STAFF_WRITE,
    *COSTLY,
    *(each for each in WRITE if "training" in each[1] or "promote" in each[1]),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def schema(site: Site) -> schemathesis.BaseSchema:
    """The schema that the site serves."""
    return schemathesis.openapi.from_url(site.base_url + "/api/v1/schema/", timeout=60)


@pytest.fixture(scope="module")
def schema_for_staff(site: Site) -> schemathesis.BaseSchema:
    """The same, for requests whose session is a real one and is not made up."""
    schema = schemathesis.openapi.from_url(site.base_url + "/api/v1/schema/", timeout=60)
    schema.config.generation.update(with_security_parameters=False)
    return schema


def test_it_works(visitor: Visitor) -> None:
    """It can be read, and what is asked below is all that it has."""
    answer = visitor.get("/api/v1/schema/")
    assert answer.status_code == 200
    paths = answer.json()["paths"]
    found = {(method, path.removeprefix("/api/v1/")) for path, methods in paths.items() for method in methods}
    assert found == {*READ, *WRITE, *STAFF_READ, *STAFF_WRITE, *COSTLY}


def test_every_address_is_described(visitor: Visitor) -> None:
    """None is left out of the schema."""
    described = {path.removeprefix("/api/v1/") for path in visitor.get("/api/v1/schema/").json()["paths"]}
    addresses = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(each.pattern)) for each in urls.api_v1}
    assert described == addresses - {"schema/"}


def test_it_is_whole_and_no_name_in_it_is_a_matter_of_chance(tmp_path: Path) -> None:
    """Programs that are generated from it call their types by these names."""
    file = tmp_path / "schema.json"
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(file))
    names = {name for name in json.loads(file.read_text())["components"]["schemas"] if name.endswith("Enum")}
    assert names == {
        *("ActionEnum", "BlankEnum", "ByEnum", "CharacterEnum", "DrawingStateEnum", "ExportStateEnum", "FormatEnum"),
        *("JobStateEnum", "KindEnum", "LabelEnum", "LikenessEnum", "MapJobTriggerEnum", "MethodEnum", "OrderEnum"),
        *("OriginEnum", "OutcomeEnum", "ReasonEnum", "RunTriggerEnum", "SourceEnum", "SpaceEnum"),
    }


GOOD, BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


def cases(operations: list[tuple[str, str]]) -> list[tuple[str, str, GenerationMode]]:
    """Good requests to each operation, and bad ones where there is anything to spoil."""
    spoiled = [(method, path) for method, path in operations if method == "post" or "{" in path]
    return [(*each, GOOD) for each in operations] + [(*each, BAD) for each in spoiled]


@pytest.mark.parametrize(("method", "path", "mode"), cases(READ + WRITE), ids=str)
def test_the_answers_are_as_described(
    schema: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    ask(schema[f"/api/v1/{path}"][method], mode, EXAMPLES)


@pytest.fixture(scope="module")
def maintainer(site: Site) -> Iterator[Maintainer]:
    """Staff with every right."""
    with Maintainer(site, "sue") as somebody:
        yield somebody


@pytest.mark.parametrize(("method", "path", "mode"), cases(STAFF_READ + STAFF_WRITE), ids=str)
def test_the_answers_to_staff_are_as_described(
    schema_for_staff: schemathesis.BaseSchema, maintainer: Maintainer, method: str, path: str, mode: GenerationMode
) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in maintainer.cookies.items())
    headers = {"X-CSRFToken": str(maintainer.headers["X-CSRFToken"]), "Cookie": cookies}
    ask(schema_for_staff[f"/api/v1/{path}"][method], mode, STAFF_EXAMPLES, headers=headers)


def test_staff_alone_are_answered(schema: schemathesis.BaseSchema, visitor: Visitor) -> None:
    """Strangers are told so in JSON, whatever they send."""
    for method, path in FOR_STAFF:
        address = re.sub(r"\{\w+_id\}", str(uuid.uuid4()), f"/api/v1/{path}".replace("{number}", "1"))
        for body in (None, {}, {"action": "approve"}):
            answer = visitor.request(method, address, json=body)
            refused(answer, 403, "not_authenticated")
            schema[f"/api/v1/{path}"][method].validate_response(answer)


def ask(operation: Any, mode: GenerationMode, examples: int, **how: Any) -> None:
    """Make requests of a kind to an operation, and hold each answer to what the schema says of it."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def make(case: schemathesis.Case) -> None:
        def answered() -> Any:
            answer = case.call(timeout=60, **how)
            return None if answer.status_code == 503 else answer  # a busy machine says so; it is asked again

        # a token is signed and a letter has a shape: what the schema allows can still be refused
        case.validate_response(wait_for(answered, "it is answered"), excluded_checks=[positive_data_acceptance])

    make()


def test_what_is_kept_is_answered_as_described(schema: schemathesis.BaseSchema, visitor: Visitor) -> None:
    """No made-up request has a token that was signed here, so none of the above is kept."""
    token = visitor.predict()["token"]
    answers = {("post", "drawings"): visitor.ask_to_keep(token=token)}
    drawing = answers["post", "drawings"].json()
    answers["get", "drawings/{drawing_id}"] = visitor.see(drawing["id"], drawing["receipt"])
    answers["get", "drawings/mine"] = visitor.get("/api/v1/drawings/mine")
    answers["get", "drawings/mine/deletion"] = visitor.get("/api/v1/drawings/mine/deletion")
    answers["get", "drawings/mine/file"] = visitor.get("/api/v1/drawings/mine/file")
    answers["delete", "drawings/{drawing_id}"] = visitor.withdraw(drawing["id"], drawing["receipt"])
    confirmed = {"confirm": answers["get", "drawings/mine/deletion"].json()["confirm"], "everything": True}
    answers["post", "drawings/mine/deletion"] = visitor.post("/api/v1/drawings/mine/deletion", json=confirmed)
    for (method, path), answer in answers.items():
        assert answer.ok
        schema[f"/api/v1/{path}"][method].validate_response(answer)
