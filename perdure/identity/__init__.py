"""From a credential to a principal: API keys and tokens of OpenID Connect issuers."""
