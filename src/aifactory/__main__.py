"""Entry point; imports nothing at the top, because every worker process loads its parent's main module."""


def main() -> None:
    """Run the command line."""
    from aifactory.cli import app

    raise SystemExit(app())


if __name__ == "__main__":
    main()
