"""What everything is held against: the naive view of messages and of the inbox, and the server's own floor.

The naive view is what one writes first: a shared boto3 client, one `query`, `json.dumps`. It asks nobody who is
there: no sign-in, no membership, no page but the first, no log line.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
from flask import Flask, Response

from lib.ddb import keys


def create_app() -> Flask:
    """The application; table and endpoint come from the environment, as boto3 itself reads it."""
    app = Flask(__name__, static_folder=None)
    dynamodb = boto3.client("dynamodb")

    def newest(pk: str) -> list[dict[str, Any]]:
        answer = dynamodb.query(
            TableName=os.environ["DDB_TABLE"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ScanIndexForward=False,
            Limit=20,
        )
        items: list[dict[str, Any]] = answer["Items"]
        return items

    @app.get("/floor")
    def floor() -> Response:
        return Response("[]", mimetype="application/json")

    @app.get("/messages/<group_uuid>")
    def messages(group_uuid: str) -> Response:
        rows = [
            {
                "uuid": item["message_uuid"]["S"],
                "display_name": item["user_display_name"]["S"],
                "handle": item["user_handle"]["S"],
                "message": item["message"]["S"],
                "created_at": item["sk"]["S"],
            }
            for item in newest(keys.message_pk(group_uuid))
        ]
        return Response(json.dumps(rows), mimetype="application/json")

    @app.get("/message_groups/<user_uuid>")
    def message_groups(user_uuid: str) -> Response:
        rows = [
            {
                "uuid": item["message_group_uuid"]["S"],
                "display_name": item["user_display_name"]["S"],
                "handle": item["user_handle"]["S"],
                "message": item["message"]["S"],
                "created_at": item["sk"]["S"],
            }
            for item in newest(keys.inbox_pk(user_uuid))
        ]
        return Response(json.dumps(rows), mimetype="application/json")

    return app
