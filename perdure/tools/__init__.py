"""Tools: Python functions that an agent may call."""

from perdure.tools.tool import Tool, ToolContext, ToolError, ToolUnavailable, tool

__all__ = ["Tool", "ToolContext", "ToolError", "ToolUnavailable", "tool"]
