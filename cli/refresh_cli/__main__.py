"""``python -m refresh_cli``: the tool without an entry point."""

from refresh_cli.main import main

if __name__ == "__main__":
    main()
