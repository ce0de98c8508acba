"""The doctor compares a whole table with what it should hold, reports each difference, and repairs what it can."""
