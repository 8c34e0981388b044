"""The ``aifactory`` command. Each command's module is loaded when it is called: ``--help`` stays quick."""

import os
import sys

import cyclopts

import aifactory

USAGE = 2

app = cyclopts.App(name="aifactory", version=aifactory.__version__, help=aifactory.__doc__)

_COMMANDS = {
    "With nothing running": {
        "demo": ("demo:demo_command", "Turn a document into content, offline, and show everything."),
        "granulate": ("granulate:granulate_command", "Turn a document into content and export it."),
        "simulate": ("simulating:simulate_command", "Play a workload through the policy, in virtual time."),
        "doctor": ("doctor:doctor_command", "Check what is needed, and say what to do."),
    },
    "Work on a server": {
        "submit": ("work:submit_command", "Send a request."),
        "list": ("work:list_command", "List your requests, newest first."),
        "watch": ("work:watch_command", "Show the progress of a request until its end."),
        "why": ("waiting:why_command", "Say why a request waits, and when it starts."),
        "cancel": ("work:cancel_command", "End a request now."),
        "retry": ("work:retry_command", "Execute again what ended without success."),
        "result": ("work:result_command", "Show how a request ended."),
        "export": ("work:export_command", "Fetch the content that a request brought."),
    },
    "Your account on a server": {
        "usage": ("account:usage_command", "Show the budget and the work of this month."),
        "templates": ("account:templates_command", "List what can be asked for, with its price."),
        "keys": ("account:keys", "List, make and revoke API keys."),
    },
    "Running a server": {
        "serve": ("serving:serve_command", "Serve the API and run the scheduler until Ctrl-C."),
        "migrate": ("serving:migrate_command", "Bring the database to this version's schema."),
        "seed": ("serving:seed_command", "Make the admin and the demo client, and print their secrets."),
        "audit": ("serving:audit_command", "Rebuild every balance from the ledger; print differences."),
        "openapi": ("serving:openapi_command", "Print the API's OpenAPI document."),
    },
}

for _order, (_title, _commands) in enumerate(_COMMANDS.items()):
    _group = cyclopts.Group(_title, sort_key=_order)
    for _name, (_where, _words) in _commands.items():
        app.command(f"aifactory.cli.{_where}", name=_name, group=_group, help=_words)


def run_command(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        code = app(arguments, exit_on_error=False, result_action="return_value")
    except cyclopts.CycloptsError:  # it has been printed
        return USAGE
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nor does the interpreter's last flush
        return 0
    return code if isinstance(code, int) else 0
