"""Traces, metrics and logs of tasks, by OpenTelemetry.

    trace_ids.py    which trace a task belongs to, and the ids of spans that outlive a process
    names.py        names of attributes, from the GenAI conventions and of our own
    spans.py        the spans themselves, and what is measured along with them
    metrics.py      the instruments
    logs.py         log records with the ids of the task they tell of
    settings.py     what is exported where, from the standard variables
    exporters.py    the SDK and the exporters: the only module that imports them, when something is to be exported

Whatever is written down here says how a task went and what it cost, never what was said in it.
"""
