"""What ends ``python -m paper`` with a message and no traceback."""


class PaperError(Exception):
    """The paper cannot be made; the message says why, and what to do."""
