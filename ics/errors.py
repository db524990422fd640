"""The one exception for mistakes a person can mend."""


class UserError(ValueError):
    """Something in the input is wrong: the message is one line that names the value and what to do.

    Command-line programs print the message and exit with status 2; they show no traceback for it.
    """
