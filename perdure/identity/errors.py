"""Why a credential says nothing about who calls.

CredentialError
├── CredentialRefused     it is wrong; the message says why, in words for the caller
└── IssuerUnavailable     it cannot be checked now, because its issuer's keys cannot be had
"""


class CredentialError(Exception):
    """The credential was not accepted."""


class CredentialRefused(CredentialError):
    """The credential is not valid, and will not be."""


class IssuerUnavailable(CredentialError):
    """The issuer does not answer; the same credential may be accepted later."""
