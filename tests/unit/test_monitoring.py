"""The alarms of all templates, the dashboard of aws/cfn/monitoring.yaml, and docs/troubleshooting.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lib.config import ROOT
from tests.support.documents import table
from tests.support.policies import resolved
from tools.deploy.templates import STACKS, resources, template

TROUBLESHOOTING = ROOT / "docs/troubleshooting.md"
ALARMS = {
    (stack, name): alarm for stack in STACKS for name, alarm in resources(stack, "AWS::CloudWatch::Alarm").items()
}
OWN = {name: alarm for (stack, name), alarm in ALARMS.items() if stack == "monitoring"}
PARAMETERS = template("monitoring")["Parameters"]
DATABASE = resources("network", "AWS::RDS::DBInstance")["Database"]
WIDGETS: list[dict[str, Any]] = json.loads(
    resolved(resources("monitoring", "AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"])
)["widgets"]

Metric = tuple[str, ...]


def test_troubleshooting_says_what_to_do_about_each_alarm() -> None:
    descriptions = [str(alarm["AlarmDescription"]) for alarm in ALARMS.values()]
    rows = table(TROUBLESHOOTING, "Alarm")
    assert sorted(row[0] for row in rows) == sorted(descriptions)
    assert all(len(row) == 2 and row[1] for row in rows)


@pytest.mark.parametrize("alarm", ALARMS.values(), ids=map("-".join, ALARMS))
def test_alarm_says_one_sentence_to_the_topic_and_decides_about_missing_figures(alarm: dict[str, Any]) -> None:
    assert alarm["AlarmActions"] in ([{"Ref": "AlarmTopic"}], [{"Ref": "AlarmTopicArn"}])
    assert not re.search(r"[.:|]\s|\.$", alarm["AlarmDescription"])
    assert alarm["TreatMissingData"] in ("notBreaching", "breaching", "ignore")


def test_figures_of_each_alarm_are_on_the_dashboard_with_the_alarm() -> None:
    shown = {metric for metric, _ in metrics()}
    for name, alarm in OWN.items():
        dimensions = [part for pair in alarm.get("Dimensions", []) for part in (pair["Name"], pair["Value"])]
        namespace, metric, *parts = resolved([alarm["Namespace"], alarm["MetricName"], *dimensions])
        assert key(namespace, metric, *parts) in shown, name
    [alarms] = [widget["properties"]["alarms"] for widget in WIDGETS if widget["type"] == "alarm"]
    assert alarms == [resolved({"Fn::GetAtt": [name, "Arn"]}) for name in OWN]


def test_dashboard_has_the_figures_of_each_part() -> None:
    namespaces = {metric[0] for metric, _ in metrics()}
    assert namespaces == {
        *("AWS/ApplicationELB", "AWS/CertificateManager", "AWS/DynamoDB", "AWS/ECS", "AWS/Lambda", "AWS/RDS"),
        *("AWS/WAFV2", resolved({"Ref": "AWS::StackName"})),
    }
    filters = resources("monitoring", "AWS::Logs::MetricFilter").values()
    counted = {filter["MetricTransformations"][0]["MetricName"] for filter in filters}
    assert counted == {metric[1] for metric, _ in metrics() if not metric[0].startswith("AWS/")}


def test_rules_of_the_firewall_are_on_the_dashboard() -> None:
    rules = {metric[metric.index("Rule") + 1] for metric, _ in metrics() if metric[0] == "AWS/WAFV2"}
    firewall = resources("service", "AWS::WAFv2::WebACL")["Firewall"]
    assert rules == {"ALL", *(rule["VisibilityConfig"]["MetricName"] for rule in firewall["Rules"])}
    assert template("service")["Outputs"]["FirewallMetricName"]["Value"] == firewall["VisibilityConfig"]["MetricName"]


def test_widgets_fill_rows_of_24_columns_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in WIDGETS:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert widget["type"] == "alarm" or widget["properties"]["region"] == resolved({"Ref": "AWS::Region"})


def test_metric_filters_read_events_and_routes_that_the_api_logs() -> None:
    patterns = {
        name: re.findall(r'\$\.(\w+) = "?([\w/]+)', filter["FilterPattern"])
        for name, filter in resources("monitoring", "AWS::Logs::MetricFilter").items()
    }
    assert patterns["KeysNotFetched"] == [("event", "jwks_fetch_failed")]
    assert 'log("jwks_fetch_failed"' in (ROOT / "lib/identity/tokens.py").read_text()
    assert dict(patterns["Sends"]) == {
        "event": "request",
        "method": "POST",
        "route": "/api/messages",
        "status": "200",
    }


def test_latency_is_the_99th_percentile_of_the_time_until_the_headers() -> None:
    latency = OWN["LatencyAlarm"]
    assert (latency["MetricName"], latency["ExtendedStatistic"]) == ("TargetResponseTime", "p99")
    assert latency["EvaluateLowSampleCountPercentile"] == "ignore"


def test_alarms_of_postgres_ring_below_its_limits_and_above_its_usual_load() -> None:
    storage = int(DATABASE["AllocatedStorage"]) * 2**30
    assert OWN["DatabaseStorageAlarm"]["Threshold"] == storage / 5
    service = template("service")["Parameters"]["MostContainers"]
    connections = int(re.findall(r"up to (\d+) connections", service["Description"])[0]) * service["Default"]
    assert connections < PARAMETERS["DatabaseConnections"]["Default"] < 200
    assert OWN["DatabaseMemoryAlarm"]["Threshold"] == 128 * 2**20
    assert "db.t4g.small" in PARAMETERS["DatabaseConnections"]["Description"]
    assert template("network")["Parameters"]["DatabaseClass"]["Default"] == "db.t4g.small"


def test_alarm_of_the_certificate_stays_after_its_end() -> None:
    assert OWN["CertificateAlarm"]["TreatMissingData"] == "ignore"


def test_budget_writes_to_the_address_of_the_alarms_before_the_money_is_spent() -> None:
    budget = resources("monitoring", "AWS::Budgets::Budget")["Budget"]
    assert budget["Budget"]["BudgetLimit"] == {"Amount": {"Ref": "MonthlyBudget"}, "Unit": "USD"}
    kinds = {}
    for subscribed in budget["NotificationsWithSubscribers"]:
        assert subscribed["Subscribers"] == [{"SubscriptionType": "EMAIL", "Address": {"Ref": "AlarmEmail"}}]
        kinds[subscribed["Notification"]["NotificationType"]] = subscribed["Notification"]["Threshold"]
    assert kinds == {"ACTUAL": 80, "FORECASTED": 100}
    assert template("messaging")["Outputs"]["AlarmEmail"]["Condition"] == "HasAlarmEmail"


def metrics() -> Iterator[tuple[Metric, dict[str, Any]]]:
    """The metrics of the dashboard with their options. A `.` repeats the value in the row above."""
    for widget in WIDGETS:
        above: list[str] = []
        for row in widget["properties"].get("metrics", []):
            *parts, options = row
            above = [above[index] if part == "." else part for index, part in enumerate(parts)]
            yield key(*above), options


def key(namespace: str, name: str, *dimensions: str) -> Metric:
    """A metric with its dimensions in the order of their names."""
    pairs = sorted(zip(dimensions[::2], dimensions[1::2], strict=True))
    return (namespace, name, *(part for pair in pairs for part in pair))
