"""The table `cruddur-messages`: its keys, its items, and the four access patterns (docs/data-model.md).

Within the API, this package alone knows a key format, an attribute name or a call on the table.
"""
