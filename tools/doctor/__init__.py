"""The doctor compares a table with its expected content, reports each difference, and repairs what it can."""
