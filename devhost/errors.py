"""What can stop the host from starting.

HostError                 a message for the user, no traceback of ours
├── ConfigError           host.json or local.settings.json is missing or wrong
├── IndexingError         the app could not be imported or indexed; carries the app's own traceback
├── PortInUseError        somebody else listens on the port
└── StateError            the file of the task hub cannot be used
"""


class HostError(Exception):
    """The host cannot start; ``str(error)`` is the line to show."""


class ConfigError(HostError):
    """A settings file is missing or wrong."""


class IndexingError(HostError):
    """The app could not be imported or indexed.

    Attributes:
        app_traceback: The traceback of the app's own failure, ready to print.
    """

    def __init__(self, message: str, app_traceback: str) -> None:
        super().__init__(message)
        self.app_traceback = app_traceback


class PortInUseError(HostError):
    """Another program listens on the port."""


class StateError(HostError):
    """The file of the task hub is damaged, read-only, in use by another host, or on a full disk."""
