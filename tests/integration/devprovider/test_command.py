import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "devprovider", "--port", "0", *arguments]


def test_it_serves_and_says_that_it_is_simulated_until_it_is_told_to_stop() -> None:
    with subprocess.Popen(command(), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        notice, listening = process.stdout.readline(), process.stdout.readline()
        assert notice.startswith("SIMULATED")
        assert re.search(r"http://127\.0\.0\.1:\d+/v1 with sim-small, sim-medium, sim-large", listening)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_command_beside_it_ends_it_with_its_own_code() -> None:
    done = subprocess.run(
        command("--", sys.executable, "-c", "import sys; print('beside'); sys.exit(3)"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert done.stdout.splitlines()[0].startswith("SIMULATED")
    assert "beside" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_beside_it_is_stopped_with_it(number: signal.Signals) -> None:
    waiting = "print('ready', flush=True); import signal; signal.pause()"
    with subprocess.Popen(
        command("--", sys.executable, "-c", waiting), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "ready":
            pass
        process.send_signal(number)
        assert process.wait(20) == 0
        # The pipe ends when the last one that holds it has gone.
        assert process.stdout.read() == ""


def test_settings_that_cannot_be_meant_stop_it_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[quality]\n'items.two_kings' = 1\n")
    done = subprocess.run(
        command("--settings", str(tmp_path / "s.toml")), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "items.two_kings" in done.stderr
    assert "Traceback" not in done.stderr
