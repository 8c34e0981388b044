"""Entry point; imports nothing at the top, because every worker process loads its parent's main module."""


def main() -> None:
    """Run the command line."""
    try:
        from aifactory.cli import run_command

        code = run_command()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


if __name__ == "__main__":
    main()
