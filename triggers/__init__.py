"""HTTP and timer triggers: read the request, make one call, answer."""
