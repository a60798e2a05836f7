import sys

from ultramc.cli import main

if __name__ == "__main__":  # processes of a pool import this module too
    sys.exit(main())
