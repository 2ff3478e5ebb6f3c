"""Between the planes: database rows ↔ frozen records.

The functions here are synchronous and use Django's connections; `database.Database` runs them on one
thread of the process. Each is one transaction, or may be repeated as a whole. Import Django's models
inside this package only after `database.setup`.
"""
