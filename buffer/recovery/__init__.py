"""Recovery of damaged databases: detect the damage, rename the file, read it without SQLite, copy its rows back."""
