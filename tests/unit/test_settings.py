from pathlib import Path

import pytest

from aifactory.settings import Settings, SettingsError, example_environment, read_settings

ROOT = Path(__file__).parents[2]


def test_the_committed_example_lists_every_setting_with_its_default() -> None:
    assert (ROOT / ".env.example").read_text() == example_environment()


def test_values_are_read_by_type() -> None:
    read = read_settings({"AIFACTORY_PORT": "9000", "AIFACTORY_SCHEDULER": "false", "HOME": "/"})
    assert (read.port, read.scheduler) == (9000, False)
    assert read_settings({"AIFACTORY_PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIFACTORY_PORT", "http"),
        ("AIFACTORY_PORT", "0"),
        ("AIFACTORY_LOG_LEVEL", "loud"),
        ("AIFACTORY_PROT", "8400"),
    ],
)
def test_a_bad_or_unknown_variable_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})
