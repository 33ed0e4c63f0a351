"""What stops the local stack, told to a person in one line."""


class StackError(Exception):
    """The stack cannot do what was asked; the message says why and what to do about it."""
