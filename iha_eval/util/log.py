"""The one logger of the model classes.

For: lines that belong between lm-eval's own in a run's log.
Not for: the summary of a run, which is printed, nor for progress, which has a bar.
"""

import logging

# lm-eval gives a handler to its own loggers only: a child of them is seen, any other one is not.
logger = logging.getLogger("lm_eval.iha_eval")
