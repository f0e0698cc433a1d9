"""A user's mistake, told in full by its message: what, where, how to mend it.

The command line prints such a message and exits with code 2. Anything else that is
raised is a fault of ckin's own, and keeps its traceback.
"""


class InputError(ValueError):
    """What was asked cannot be done with what was given."""
