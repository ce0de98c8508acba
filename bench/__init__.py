"""The benchmark that `./bin/bench` runs: the API beside a plain Flask view and a plain boto3 loop."""
