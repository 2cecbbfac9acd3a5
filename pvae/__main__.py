"""Run the command line as ``python -m pvae``."""

from pvae.cli.main import main

if __name__ == "__main__":
    main()
