"""The LiteLLM proxy from PyPI: a process with an environment of its own that can reach nobody outside."""

import contextlib
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec

VERSION = "1.106.2"
KEY_VARIABLE = "LITELLM_KEY"
KEY = "sk-proof"
UPSTREAM_KEY = "sk-upstream"
_READY_SECONDS = 120
_MODEL = "sim-small"
# Lists that LiteLLM otherwise loads from the network when it starts.
_LISTS = (
    "MODEL_COST_MAP",
    "ANTHROPIC_BETA_HEADERS",
    "BLOG_POSTS",
    "POLICY_TEMPLATES",
    "AUTOROUTER_PRESETS",
)


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A running proxy; ``outside`` are the first lines of whatever it tried to send off this machine."""

    url: str
    outside: list[str]


def install(folder: Path) -> Path:
    """Install the pinned version below ``folder`` unless it is there; returns the proxy's command."""
    command, done = folder / "bin" / "litellm", folder / f"litellm-{VERSION}"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        _install(folder / "bin" / "python")
        done.touch()
    return command


def _install(python: Path) -> None:
    wanted = f"litellm[proxy]=={VERSION}"
    with_uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), wanted]
    environ = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    if subprocess.run(with_uv, check=False, env=environ).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)


@contextlib.contextmanager
def running_proxy(command: Path, *, folder: Path, behind: str) -> Iterator[Proxy]:
    """Run the proxy before the provider at ``behind``; raises RuntimeError when it does not come up."""
    config, log = folder / "litellm.json", folder / "litellm.log"
    config.write_bytes(msgspec.json.encode(_config(behind)))
    with _nowhere() as (nowhere, outside), log.open("wb") as output:
        port = _free_port()
        process = subprocess.Popen(
            [command, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"],
            env=_environ(folder, nowhere),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/health/readiness", process, log)
            _warm_up(f"http://127.0.0.1:{port}/v1/chat/completions")
            yield Proxy(url=f"http://127.0.0.1:{port}/v1", outside=outside)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


def _config(behind: str) -> dict[str, object]:
    """Return a configuration that retries nothing, stores nothing, and tells upstream each call's name."""
    model = {"model": f"openai/{_MODEL}", "api_base": behind, "api_key": UPSTREAM_KEY, "max_retries": 0}
    return {
        "model_list": [{"model_name": _MODEL, "litellm_params": model}],
        "litellm_settings": {"num_retries": 0, "cache": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {
            "master_key": KEY,
            "forward_client_headers_to_llm_api": True,
            "disable_spend_logs": True,
        },
    }


def _environ(folder: Path, nowhere: str) -> dict[str, str]:
    """Return an environment with nothing of ours: lists from the package, everything else to ``nowhere``."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "NO_PROXY": "127.0.0.1,localhost",
        "AIOHTTP_TRUST_ENV": "True",
        "DISABLE_ADMIN_UI": "True",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nowhere),
        **{f"LITELLM_LOCAL_{name}": "True" for name in _LISTS},
    }


@contextlib.contextmanager
def _nowhere() -> Iterator[tuple[str, list[str]]]:
    """Give the address of an HTTP proxy that writes down what it is asked for and lets nothing through."""
    asked: list[str] = []

    class Refusal(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline(500).decode("latin-1").strip())
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.3)
    tail = log.read_text("utf-8", "replace")[-1500:]
    raise RuntimeError(f"The LiteLLM proxy did not answer in {_READY_SECONDS} s:\n{tail}")


def _warm_up(url: str) -> None:
    """Make the first calls, for which the proxy loads much of itself."""
    for stream in (True, False):
        body = {"model": _MODEL, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(url, msgspec.json.encode(body), headers)
        ) as answer:
            answer.read()
