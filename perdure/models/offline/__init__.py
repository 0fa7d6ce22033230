"""The embedded default model: a deterministic planner by rules, so that Perdure runs with no endpoint and no key.

A turn goes through the modules in this order: `requests` cuts the query into separate requests, `schema` reads what
the tools ask for, `values` and `expressions` find values in a request's words, `readers` the one that a parameter can
take, `arguments` fits them to a whole tool, `plan` picks the tool for each request and `answer` puts results into
sentences. `words` is the little the planner knows of English, `zones` what it knows of time zones. None of them knows
a tool by name.
"""

from perdure.models.offline.model import OfflineModel

__all__ = ["OfflineModel"]
