"""The one exception that reaches a user."""


class SddError(Exception):
    """Something the user can mend, said in one line.

    The message names what was wrong, what was expected and what to do. The command line prints
    it on standard error and exits with code 2; in Python it is raised as it is.
    """
