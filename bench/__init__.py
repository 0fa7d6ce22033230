"""Speed and memory of Perdure on the devhost, beside the same work on the bare durabletask engine.

`python -m bench` runs everything; bench/README.md says what each figure means.

1. `app` and `engine` put a system in a process of its own and give it one shape, that of `system`.
2. `workloads` gives both systems the same work, turn and turn about, and times it.
3. `startup` times the way to a first answer, and imports; `search` times memory.
4. `table` turns what was measured into Markdown.
"""
