"""The benchmark: what the API costs beside two baselines, a plain Flask view and a plain boto3 loop, in one run.

`./bin/bench` starts it. It may import anything of this checkout; nothing imports it.
"""
