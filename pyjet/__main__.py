"""python -m pyjet: the command line."""

import sys

from .tool import main

sys.exit(main())
