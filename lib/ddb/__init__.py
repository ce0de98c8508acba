"""The table `cruddur-messages`: its keys, its items, and the four access patterns (docs/data-model.md).

Within the API, only this package knows key formats, attribute names and the calls on the table.
"""
