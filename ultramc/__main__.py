import sys

from ultramc.cli import main

sys.exit(main())
