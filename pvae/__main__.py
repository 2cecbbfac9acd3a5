"""``python -m pvae`` is the command line."""

from pvae.cli.main import main

if __name__ == "__main__":
    main()
