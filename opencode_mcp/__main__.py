"""`python -m opencode_mcp`."""

import sys

from .cli import main

sys.exit(main())
