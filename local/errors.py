"""Errors that end a command; each message is the one line that the user sees."""


class StackError(Exception):
    """The stack cannot do what was asked, and the user can repair the cause."""


class DemoError(Exception):
    """The demo ends early."""
