"""Errors the product raises on purpose.

Anything else that escapes is a defect.

    AngariumError
    ├── ConfigurationError   the operator's settings cannot work; the message says which key and what to do
    ├── InvalidInput         data from a user or a file; the message is shown to them as it stands
    │   └── TemplateError    a template does not compile or cannot be rendered for a recipient
    ├── BrokerUnavailable    the broker did not confirm: it may have it or not (ConnectionError)
    ├── DatabaseUnavailable  the database cannot be reached, or went away in the middle (ConnectionError)
    ├── SpoolUnavailable     the spool cannot take more now, for example a full disk (OSError)
    └── CorruptPacket        bytes that are not a packet; they go to the dead-letter queue (ValueError)
"""


class AngariumError(Exception):
    """Root of the tree; its text is fit for a person."""


class ConfigurationError(AngariumError):
    """The operator's settings cannot work."""


class InvalidInput(AngariumError):
    """What a person or a file gave is wrong; nothing was changed."""


class TemplateError(InvalidInput):
    """A template does not compile, or fails for one recipient."""


class BrokerUnavailable(AngariumError, ConnectionError):
    """No confirm came: the publish may or may not have happened."""


class DatabaseUnavailable(AngariumError, ConnectionError):
    """The call may or may not have been committed."""


class SpoolUnavailable(AngariumError, OSError):
    """The spool cannot take messages now; the broker keeps them."""


class CorruptPacket(AngariumError, ValueError):
    """Bytes that cannot be read as a packet or an event batch."""
