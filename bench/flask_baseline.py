"""The naive view, which one writes first: a shared boto3 client, one `query`, `json.dumps`, no sign-in, no log.

Beside it is `/floor`, a constant response: the least that the server costs.
"""

from __future__ import annotations

import json
import os

import boto3
from flask import Flask, Response

from lib.ddb import keys


def create_app() -> Flask:
    """The application. boto3 reads its endpoint from the environment, the view its table."""
    app = Flask(__name__, static_folder=None)
    dynamodb = boto3.client("dynamodb")

    def newest(pk: str, uuid_attribute: str) -> Response:
        page = dynamodb.query(
            TableName=os.environ["DDB_TABLE"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ScanIndexForward=False,
            Limit=20,
        )
        rows = [
            {
                "uuid": item[uuid_attribute]["S"],
                "display_name": item["user_display_name"]["S"],
                "handle": item["user_handle"]["S"],
                "message": item["message"]["S"],
                "created_at": item["sk"]["S"],
            }
            for item in page["Items"]
        ]
        return Response(json.dumps(rows), mimetype="application/json")

    @app.get("/floor")
    def floor() -> Response:
        return Response("[]", mimetype="application/json")

    @app.get("/messages/<group_uuid>")
    def messages(group_uuid: str) -> Response:
        return newest(keys.message_pk(group_uuid), "message_uuid")

    @app.get("/message_groups/<user_uuid>")
    def message_groups(user_uuid: str) -> Response:
        return newest(keys.inbox_pk(user_uuid), "message_group_uuid")

    return app
