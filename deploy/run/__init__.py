"""`make run`: the whole pipeline in one folder, in the foreground."""
