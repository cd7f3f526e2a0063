"""The command line: arguments, changes to a workflow, progress on a terminal or as JSON lines."""
