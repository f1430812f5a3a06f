"""SQLite files that survive a kill."""
