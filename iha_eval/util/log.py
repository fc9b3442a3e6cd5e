"""The one logger of the model classes.

For: lines that belong between lm-eval's own in a run's log.
Not for: the summary of a run, which is printed, nor for progress, which has a bar.
"""

import logging

from iha_eval.util.text import clean


def _clean(record: logging.LogRecord) -> bool:
    """Let a record pass, its text fit for a terminal: names in files may hold escape sequences."""
    record.msg, record.args = clean(record.getMessage()), ()
    return True


# lm-eval gives a handler to its own loggers only: a child of them is seen, any other one is not.
logger = logging.getLogger("lm_eval.iha_eval")
logger.addFilter(_clean)
