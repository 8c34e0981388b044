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
        ("AIFACTORY_METRICS_TOKEN", "short"),
        ("AIFACTORY_TRUSTED_PROXIES", "proxy"),
    ],
)
def test_a_bad_or_unknown_variable_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})


def test_every_setting_of_the_example_can_be_set() -> None:
    unset = {
        "DATABASE_URL": "postgresql://db/x",
        "PROVIDERS_FILE": "providers.toml",
        "LOCAL_WORKERS": "2",
        "TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "METRICS_TOKEN": "0123456789abcdef",
    }
    example = [line.removeprefix("#") for line in example_environment().splitlines() if "=" in line]
    given = dict(line.split("=", 1) for line in example)
    given |= {f"AIFACTORY_{name}": value for name, value in unset.items()}
    assert all(given[name] for name in given if name != "AIFACTORY_API_KEY")
    read = read_settings(given)
    assert read.metrics_token == unset["METRICS_TOKEN"]
    assert "10.1.2.3" in read.trusted_proxies
