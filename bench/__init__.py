"""The benchmark: what the API costs beside the naive view, its server's floor and a bare boto3 loop, in one run.

`./bin/bench` starts it. It may import anything of this checkout; nothing imports it.
"""
