"""`python -m scratchfcn`: the same as the `scratchfcn` program, for where that is not on the PATH."""

from .cli import main

if __name__ == "__main__":
    main()
