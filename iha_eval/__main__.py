"""`python -m iha_eval`: the command line without the console script.

For: environments whose script folder is not on PATH. Not for: any logic of its own.
"""

import sys

from iha_eval.cli import main

sys.exit(main())
