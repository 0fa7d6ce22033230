"""Everything with a side effect, one checkpoint each."""
