"""Errors that are for people: the command line prints their message, and no traceback."""


class UserError(Exception):
    """Something that the user can put right; the message says what and where."""
