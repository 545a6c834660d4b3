"""`python -m ganatomy` is the command `ganatomy`."""

import sys

from ganatomy.cli.main import main

sys.exit(main())
