"""`python -m sdd_core` is `sdd`."""

from sdd_core.cli import main

if __name__ == "__main__":
    main()
