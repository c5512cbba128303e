"""The database: the only folder with SQL and a connection; all other code uses it through `Store`."""
