"""The one exception that means "the user can mend this".

For: every message that a user of the command line should read as one sentence, without a traceback.
Not for: bugs; those stay ordinary exceptions and keep their traceback.
"""


class UserError(ValueError):
    """A mistake in what was asked for; its text names the thing, its value and the remedy."""
