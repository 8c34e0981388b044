from pathlib import Path

import pytest

from aifactory.cli.doctor import Finding, Mark, check_database, check_providers, check_python, examine
from aifactory.settings import Settings


def found(environ: dict[str, str], url: str = "http://127.0.0.1:9") -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(environ, url)}


def test_an_old_python_is_told() -> None:
    assert check_python((3, 10)).mark is Mark.BAD
    assert check_python((3, 11)).mark is Mark.GOOD


def test_a_missing_server_and_missing_providers_are_notes_with_advice(tmp_path: Path) -> None:
    findings = found({"AIFACTORY_DATA_DIR": str(tmp_path / "new" / "data")})
    assert {name: one.mark.value for name, one in findings.items()} == {
        "python": "good",
        "database": "good",
        "providers": "note",
        "server": "note",
    }
    assert "make run" in findings["server"].found
    assert not (tmp_path / "new").exists()


def test_a_bad_setting_and_a_bad_address_are_told() -> None:
    findings = found({"AIFACTORY_PORT": "http"}, url="nowhere")
    assert findings["settings"].mark is Mark.BAD
    assert "database" not in findings
    assert findings["key"].mark is Mark.BAD


def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    finding = check_database(Settings(database_url="postgresql://me:s3cret@127.0.0.1:9/x"))
    assert finding.mark is Mark.BAD
    assert "s3cret" not in finding.found


@pytest.mark.parametrize("text", ["providers = 3", "[providers.x]\nbase_url = 1"])
def test_a_providers_file_that_can_not_be_used_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "providers.toml"
    path.write_text(text)
    assert check_providers(Settings(providers_file=path), {}).mark is Mark.BAD
    missing = Settings(providers_file=tmp_path / "none.toml")
    assert check_providers(missing, {}).mark is Mark.BAD
