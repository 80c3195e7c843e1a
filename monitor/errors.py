"""The error of a command whose work failed for a reason that its user can cure."""


class WorkFailed(Exception):
    """The text is one line: what was given, what is needed, what to do."""
