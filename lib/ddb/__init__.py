"""The table `cruddur-messages`: keys, items, and the four access patterns that run on it (docs/data-model.md).

Nothing outside this package knows a key format, an attribute name or a boto3 call on the table.
"""
