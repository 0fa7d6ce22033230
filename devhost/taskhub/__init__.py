"""A task hub in one SQLite file, for development and tests: it survives `kill -9` at any moment.

1. Whatever is to happen is a **message** to an orchestration or an entity, or an **activity** to run (`state`).
2. An orchestration with messages is replayed by the worker once: an **episode** (`orchestrations`). What it decides
   (`episode`) is one batch of writes: history, messages consumed and sent, activities, status.
3. Batches are written in the order in which they were made, several in one transaction (`journal`), with
   `synchronous=FULL`. Only then do activities and entities run, and are callers told.
4. An episode may be replayed on messages that are not written yet, for a replay has no effect; its own batch is
   written after theirs, so that after a crash the file holds everything up to some batch, and nothing of a later one.
5. What a client asks (`client`, `queries`) is answered from what is written.

`service` is the whole as the methods of the gRPC service, for callers in this process; `server` is the same over gRPC.
"""
