"""AWS: the API's own client of DynamoDB, endpoints, request signing, metering, and tokens for RDS."""
