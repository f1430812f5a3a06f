"""The model store, SQLite files and locks, all of which survive a kill."""
