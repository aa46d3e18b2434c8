"""The exceptions that speak to the user: what was expected, what was found, what to do."""


class InputError(ValueError):
    """Something the user gave is wrong; the message says what to do about it."""


class MissingFileError(InputError, FileNotFoundError):
    """A file the user named, or one that must be fetched first, is not there."""

    def __str__(self) -> str:  # OSError would otherwise format the message as an errno tuple
        return str(self.args[0]) if self.args else ""
