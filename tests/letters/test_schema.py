"""What the API says of itself is true: requests made from its schema, good and bad, get answers that it describes."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.letters.visitor import Visitor
from tests.running import Site

EXAMPLES = 15  # of each operation, of good requests and of bad ones
READ = [("get", path) for path in ("drawings/mine", "drawings/{drawing_id}", "maps/umap", "models", "models/current")]
READ += [("get", path) for path in ("training-runs", "training-runs/{run_id}", "deployments")]
WRITE = [("post", "predictions"), ("post", "drawings"), ("delete", "drawings/{drawing_id}")]
WRITE += [("post", path) for path in ("training-runs", "training-runs/{run_id}/cancel", "models/{number}/promote")]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def schema(site: Site) -> schemathesis.BaseSchema:
    """The schema that the site serves."""
    return schemathesis.openapi.from_url(site.base_url + "/api/v1/schema/", timeout=60)


def test_it_works(visitor: Visitor) -> None:
    """It can be read, and what is asked below is all that it has."""
    answer = visitor.get("/api/v1/schema/")
    assert answer.status_code == 200
    paths = answer.json()["paths"]
    found = {(method, path.removeprefix("/api/v1/")) for path, methods in paths.items() for method in methods}
    assert found == {*READ, *WRITE}


GOOD, BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CASES = [(*each, GOOD) for each in READ + WRITE]
CASES += [(*each, BAD) for each in READ + WRITE if each in WRITE or "{" in each[1]]  # the others have nothing to spoil


@pytest.mark.parametrize(("method", "path", "mode"), CASES, ids=str)
def test_the_answers_are_as_described(
    schema: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    operation = schema[f"/api/v1/{path}"][method]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        # A token is signed and a letter has a shape: what the schema allows can still be refused.
        case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=60)

    ask()


def test_what_is_kept_is_answered_as_described(schema: schemathesis.BaseSchema, visitor: Visitor) -> None:
    """No made-up request has a token that was signed here, so none of the above is kept."""
    token = visitor.predict()["token"]
    answers = {("post", "drawings"): visitor.ask_to_keep(token=token)}
    drawing = answers["post", "drawings"].json()
    answers["get", "drawings/{drawing_id}"] = visitor.see(drawing["id"], drawing["receipt"])
    answers["get", "drawings/mine"] = visitor.get("/api/v1/drawings/mine")
    answers["delete", "drawings/{drawing_id}"] = visitor.withdraw(drawing["id"], drawing["receipt"])
    for (method, path), answer in answers.items():
        assert answer.ok
        schema[f"/api/v1/{path}"][method].validate_response(answer)
