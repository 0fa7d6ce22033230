"""What the activities of a task do: the side effects of its loop, one module an activity."""
