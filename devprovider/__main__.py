"""``python -m devprovider``: the simulated provider as a process, alone or beside a command that uses it.

``python -m devprovider --port 8500 --key … --settings file.toml --log calls.jsonl [-- command …]``
"""

import argparse
import signal
import subprocess
import sys
import threading
from pathlib import Path

from devprovider.running import Running
from devprovider.settings import Settings, SettingsError, changed, load_settings

NOTICE = "SIMULATED: rules write every answer of this provider from the prompt's passages; no model is asked."


def main() -> int:
    """Serve until Ctrl-C or until the command ends; its exit code, or 0."""
    asked = _arguments().parse_args()
    try:
        settings = load_settings(asked.settings) if asked.settings else Settings()
        settings = changed(settings, {"key": asked.key}) if asked.key else settings
    except (SettingsError, OSError) as error:
        print(f"devprovider: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with Running(settings, port=asked.port, log=asked.log) as running:
            models = ", ".join(model.id for model in settings.models)
            print(f"{NOTICE}\nListening on {running.url} with {models}.", flush=True)
            command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
            return _beside(command, stop) if command else _alone(stop)
    except OSError as error:
        print(f"devprovider: port {asked.port}: {error}", file=sys.stderr)
        return 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devprovider", description=NOTICE)
    parser.add_argument("--port", type=int, default=8500, help="the port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--key", default="", help="the bearer key that clients must send; none by default")
    parser.add_argument("--settings", type=Path, help="a TOML or JSON file with settings")
    parser.add_argument("--log", type=Path, help="a file for the book of calls, one JSON object a line")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and a command to run meanwhile")
    return parser


def _alone(stop: threading.Event) -> int:
    stop.wait()
    return 0


def _beside(command: list[str], stop: threading.Event) -> int:
    """Run the command; Ctrl-C reaches it too, any other signal is passed on."""
    with subprocess.Popen(command) as child:
        while True:
            try:
                return child.wait(0.2)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    break
        child.terminate()
        return 0 if child.wait() in (0, -signal.SIGTERM, -signal.SIGINT) else 1


if __name__ == "__main__":
    raise SystemExit(main())
