"""The API's document against the API: whatever fits the schema is answered as the schema says, and never with a 5xx."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from service_doors import listening_house, made_home

from polarlight.serve.documentation import openapi

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 6
QUICK = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_no_request_ends_in_a_fault_and_every_answer_fits_the_document(tmp_path: Path, migrated_file: Path) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    wrong, seen = [], 0
    with listening_house(made_home(tmp_path, migrated_file), watermark=False) as (house, url):
        schema = schemathesis.openapi.from_dict(openapi(house.app))
        schema.config.update(base_url=url)
        headers = {"authorization": f"Bearer {house.secret}"}
        for found in schema.get_all_operations():
            operation = found.ok()
            seen += 1

            @QUICK
            @given(case=operation.as_strategy())
            def probe(case: object) -> None:
                case.call_and_validate(headers=headers, checks=checks)

            try:
                probe()
            except Exception as error:
                wrong.append(f"{operation.label}: {error}")
    assert seen >= 30
    assert house.images.tasks, "no request was good enough to be drawn"
    assert not wrong, "\n\n".join(wrong)
