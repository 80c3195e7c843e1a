"""The errors that a user can cure."""


class WorkFailed(Exception):
    """The text is one line: what was given, what is needed, what to do."""


class SettingsError(Exception):
    """The settings cannot be used; the text names the key, the value and the remedy."""
