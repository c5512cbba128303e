"""`belabox-metrics`: the command of an operator, a thin front of what the processes and supervisord offer."""
