"""The database: the only folder with SQL and a connection; everyone else speaks to it through `Store`."""
