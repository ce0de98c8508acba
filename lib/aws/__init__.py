"""AWS as it is deployed: the functions' packages, and the stacks of aws/cfn. For scripts; the API knows none of it."""
