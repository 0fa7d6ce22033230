"""What the tools that ship with Perdure are made of: each keeps its file in activities/tools to what the model reads.

Delete a tool and its module here together; nothing else imports them.
"""
