"""The doctor: reads a whole table, tells what is wrong in it, and mends what can be mended without a decision."""
