"""The HTTP side that needs no Functions host: what requests and responses look like, who may do what."""
