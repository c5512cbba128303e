"""`belabox-metrics`: the operator's command, a thin front end to the processes and supervisord."""
