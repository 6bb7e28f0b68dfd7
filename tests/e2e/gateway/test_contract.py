"""The API held against its own description: requests made out of the OpenAPI document, valid and invalid, thousands of
them; no answer may be a server error, or one that the document does not tell of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.client import Client, NewAccount
from tallystick.lab.instance import Instance

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
# The ids that the document gives as examples, so that some of what is asked exists.
KNOWN = f"{1:032x}"


@pytest.mark.service
@pytest.mark.timeout(400)
def test_every_answer_is_one_that_the_description_tells_of(tmp_path: Path) -> None:
    with Instance(tmp_path / "data", settings={"accounts_max": 100_000}) as instance:
        with Client(instance.url, instance.key) as client:
            client.open_account(NewAccount(id=KNOWN, ledger=1, code=1))
        done = subprocess.run(
            [
                Path(sys.executable).with_name("st"),
                "run",
                f"{instance.url}/openapi.json",
                *("--header", f"Authorization: Bearer {instance.key}"),
                *("--checks", ",".join(CHECKS)),
                *("--phases", "examples,coverage,fuzzing"),
                *("--max-examples", "25"),
                *("--suppress-health-check", "all"),
                "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=380,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    tested = re.search(r"Tested: (\d+)", done.stdout)
    generated = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert tested is not None
    assert generated is not None
    assert int(tested[1]) >= 23
    assert int(generated[1]) > 2_000
    assert generated[1] == generated[2]
