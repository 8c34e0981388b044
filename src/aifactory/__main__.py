"""Entry point; imports nothing at the top, because every worker process loads its parent's main module."""


def main() -> None:
    """Run the command line."""
    import gc

    gc.disable()  # what is being loaded is no garbage; to look for it would take a fifth of the start
    try:
        from aifactory.cli import run_command

        code = run_command()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


if __name__ == "__main__":
    main()
