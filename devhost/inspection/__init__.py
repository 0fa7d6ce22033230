"""``python -m devhost inspect``: a look into a task hub's file, while a host uses it or not. It changes nothing.

`waits` finds out what each unfinished orchestration waits for; `report` is all orchestrations and what may be stuck;
`story` is the history of one, line by line; `tables` is how they look in the terminal; `command` is the command.
"""
