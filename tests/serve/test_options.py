"""Options from the environment."""

import pytest

from polarlight.base.errors import UserError
from polarlight.serve.options import Options


def test_each_option_has_a_variable() -> None:
    given = {"POLARLIGHT_QUEUE": "5", "POLARLIGHT_SIGN": "no", "POLARLIGHT_DRAIN_S": "1.5", "POLARLIGHT_TOGETHER": ""}
    read = Options.from_environment(given)
    assert (read.queue, read.sign, read.drain_s, read.together) == (5, False, 1.5, Options().together)


@pytest.mark.parametrize(
    ("name", "value"), [("QUEUE", "many"), ("QUEUE", "0"), ("SIGN", "2"), ("DRAIN_S", "-1"), ("DRAIN_S", "nan")]
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"POLARLIGHT_{name}"):
        Options.from_environment({f"POLARLIGHT_{name}": value})
