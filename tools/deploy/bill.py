"""Computes the price of a month on AWS from the number of messages a day, by prices and assumptions.

Counts the resources that cost money by the hour in the templates. bin/docs writes the results into docs/performance.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

from tools.deploy.templates import STACKS, resources, template

SIZES = (1_000, 100_000, 10_000_000)
"""Messages a day."""

DAYS, HOURS, GIGABYTE, MILLION = 30, 730, 1e9, 1e6


class Price(float):
    """Dollars for one. AWS states `dollars` for a `unit`, such as a million. No `source`: from memory."""

    all: ClassVar[list[Price]] = []
    dollars: float
    unit: str
    source: str

    def __new__(cls, dollars: float, unit: str, source: str = "", *, count: float = 1) -> Price:
        price = super().__new__(cls, dollars / count)
        price.dollars, price.unit, price.source = dollars, unit, source
        cls.all.append(price)
        return price


# On-demand prices in us-east-1.
WRITE_UNIT = Price(
    0.625, "a million write units", "https://airbyte.com/data-engineering-resources/dynamodb-pricing", count=MILLION
)
READ_UNIT = Price(
    0.125, "a million read units", "https://airbyte.com/data-engineering-resources/dynamodb-pricing", count=MILLION
)
TABLE_GB = Price(0.25, "a GB of the table, after 25 GB", "https://aws.amazon.com/dynamodb/pricing/")
RECOVERY_GB = Price(0.20, "a GB of point-in-time recovery")
VCPU_HOUR = Price(0.03238, "a vCPU of Fargate on ARM, an hour", "https://www.vantage.sh/blog/fargate-pricing")
MEMORY_GB_HOUR = Price(0.00356, "a GB of its memory, an hour", "https://www.vantage.sh/blog/fargate-pricing")
LAMBDA_CALL = Price(0.20, "a million calls of Lambda", "https://cloudchipr.com/blog/aws-lambda-pricing", count=MILLION)
LAMBDA_GB_SECOND = Price(0.0000166667, "a GB-second of Lambda on x86", "https://cloudchipr.com/blog/aws-lambda-pricing")
BALANCER_HOUR = Price(0.0225, "a load balancer, an hour", "https://cal53.calculator.city/aws-alb-cost-calculator/")
CAPACITY_UNIT_HOUR = Price(0.008, "a capacity unit (LCU) of it, an hour")
ADDRESS_HOUR = Price(
    0.005, "a public address, an hour", "https://www.doit.com/aws-public-ipv4-price-increase-the-complete-guide/"
)
FIREWALL = Price(5, "a web ACL, a month", "https://c3x.dev/blog/aws-waf-cost-explained/")
FIREWALL_RULE = Price(1, "a rule of it, a month", "https://c3x.dev/blog/aws-waf-cost-explained/")
FIREWALL_REQUEST = Price(
    0.60, "a million requests through it", "https://c3x.dev/blog/aws-waf-cost-explained/", count=MILLION
)
ENDPOINT_HOUR = Price(
    0.01,
    "an interface endpoint in a zone, an hour",
    "https://cloudcostkit.com/calculators/aws-vpc-interface-endpoint-cost-calculator",
)
ENDPOINT_GB = Price(0.01, "a GB through it", "https://aws.amazon.com/privatelink/pricing/")
TRANSFER_GB = Price(0.09, "a GB to the internet, after 100 GB", "https://awsglossary.org/terms/data-transfer-costs")
DATABASE_HOUR = {
    "db.t4g.small": Price(
        0.032,
        "a db.t4g.small in a zone, an hour",
        "https://infratally.com/articles/aws-rds-pricing-explained-2026.html",
    ),
    "db.m7g.large": Price(0.168, "a db.m7g.large in a zone, an hour"),
}
DATABASE_GB = Price(
    0.115,
    "a GB of Postgres in a zone, a month",
    "https://www.usage.ai/blogs/aws/reserved-instances/rds/pricing-calculator/",
)
LOG_GB = Price(
    0.50,
    "a GB of log lines",
    "https://www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards/",
)
ALARM = Price(0.10, "an alarm, a month")
METRIC = Price(0.30, "a metric of a filter, a month", "https://signoz.io/guides/cloudwatch-pricing")
SECRET = Price(0.40, "a secret, a month", "https://awsready.net/learn/aws-secrets-manager-parameter-store/")
RULE_EVALUATION = Price(0.001, "an evaluation of a Config rule", "https://www.vantage.sh/blog/aws-config-pricing")
DATA_EVENT = Price(
    0.10, "100,000 data events of CloudTrail", "https://aws.amazon.com/cloudtrail/pricing/", count=100_000
)
LITE = (  # so many users, and the price of each
    (90_000, Price(0.0055, "a user of the tier LITE, from the 10,001st")),
    (900_000, Price(0.0046, "a user of LITE, from the 100,001st")),
    (9_000_000, Price(0.00325, "a user of LITE, from the 1,000,001st")),
)
ESSENTIALS = ((10**9, Price(0.015, "a user of ESSENTIALS, from the 10,001st")),)
FREE_USERS, FREE_TRANSFER_GB, FREE_TABLE_GB = 10_000, 100, 25

# People.
SENT_PER_PERSON = 20  # messages that a person sends on a day with any
VISITS = 5  # of a person on such a day; each lists the inbox, counts the unread messages and opens a stream
STREAM_HOURS = 1.0  # of a person on such a day
ACTIVE = 2  # people of a month for each person of a day
BUSY_HOURS = 12  # of a day; people send all messages in these hours, evenly
PAGES, MARKS, DELIVERIES = 1, 1, 1.5  # for each message: pages of messages, marks as read, open streams of its members
KEPT_DAYS = 365  # the messages of a year are in the table

READS, WRITES = 0, 1
# Units of DynamoDB, by READS and WRITES; tests/unit/test_bill.py compares them with docs/performance.md.
SEND, STREAM_SEND, PAGE, INBOX, UNREAD = (1, 16), (3, 17), (2, 0), (3, 0), (3, 0)
MARK, OPENING, POLL, DELIVERY = (1, 4), (6, 0), (1, 0), (1, 0)
POLLS_PER_HOUR = 120
CALLS = {"send": 2, "page": 1, "mark": 2, "visit": 4, "poll": 1, "delivery": 1}  # of DynamoDB

# Measured with the real server (docs/performance.md).
REQUEST_SECONDS, DELIVERY_SECONDS, STREAM_SHARE = 0.0019, 0.0008, 0.064 / 1000  # CPU; of a core, for an idle stream
LINE_BYTES = 391 + 26  # of a request in the log, and what CloudWatch adds to each line
SEND_BYTES, PAGE_BYTES, MARK_BYTES, VISIT_BYTES, EVENT_BYTES = 1_000, 6_200, 800, 9_500, 700  # of responses
REQUEST_BYTES = 1_200
STORED_BYTES = 345  # of a message: 245, and the 100 that DynamoDB adds to each item
# Estimates.
FUNCTION_SECONDS, FUNCTION_GB, FUNCTION_LOG_BYTES, EVENT_LOG_BYTES = 0.040, 0.5, 600, 1_500
STREAMS_PER_CONTAINER = 4_000


@dataclass(frozen=True, slots=True)
class Month:
    """A month with the same number of messages on each day. All amounts are those of the whole month."""

    messages_per_day: int

    @property
    def messages(self) -> float:
        return self.messages_per_day * DAYS

    @property
    def visits(self) -> float:
        return self.messages / SENT_PER_PERSON * VISITS

    @property
    def users(self) -> float:
        """People who sign in during the month."""
        return self.messages_per_day / SENT_PER_PERSON * ACTIVE

    @property
    def stream_hours(self) -> float:
        return self.messages / SENT_PER_PERSON * STREAM_HOURS

    @property
    def requests(self) -> float:
        return self.messages * (1 + PAGES + MARKS) + self.visits * 3

    @property
    def busy_seconds(self) -> float:
        return DAYS * BUSY_HOURS * 3600

    @property
    def streams(self) -> float:
        """Event streams that are open at the same time in busy hours."""
        return self.stream_hours / (DAYS * BUSY_HOURS)

    @property
    def sent_gigabytes(self) -> float:
        """What the load balancer sends to the internet."""
        of_message = SEND_BYTES + PAGES * PAGE_BYTES + MARKS * MARK_BYTES + DELIVERIES * EVENT_BYTES
        return (self.messages * of_message + self.visits * VISIT_BYTES) / GIGABYTE

    @property
    def database_class(self) -> str:
        small, large = DATABASE_HOUR
        return small if self.messages_per_day <= 1_000_000 else large

    def units(self, kind: int, *, streamed: bool = False) -> float:
        """Units of DynamoDB: `kind` is READS or WRITES."""
        send = STREAM_SEND if streamed else SEND
        of_message = send[kind] + PAGES * PAGE[kind] + MARKS * MARK[kind] + DELIVERIES * DELIVERY[kind]
        of_visit = INBOX[kind] + UNREAD[kind] + OPENING[kind]
        return self.messages * of_message + self.visits * of_visit + self.stream_hours * POLLS_PER_HOUR * POLL[kind]

    @property
    def calls(self) -> float:
        """Calls of the API to DynamoDB."""
        of_message = CALLS["send"] + PAGES * CALLS["page"] + MARKS * CALLS["mark"] + DELIVERIES * CALLS["delivery"]
        polls = self.stream_hours * POLLS_PER_HOUR * CALLS["poll"]
        return self.messages * of_message + self.visits * CALLS["visit"] + polls

    @property
    def containers(self) -> int:
        """Containers in busy hours: enough for the targets of autoscaling and for the open streams."""
        [task] = resources("service", "AWS::ECS::TaskDefinition").values()
        targets: dict[str, float] = {}
        for policy in resources("service", "AWS::ApplicationAutoScaling::ScalingPolicy").values():
            tracking = policy["TargetTrackingScalingPolicyConfiguration"]
            targets[tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]] = tracking["TargetValue"]
        seconds = self.requests * REQUEST_SECONDS + self.messages * DELIVERIES * DELIVERY_SECONDS
        cores = seconds / self.busy_seconds + self.streams * STREAM_SHARE
        return max(
            _fewest_containers(),
            ceil(cores / (int(task["Cpu"]) / 1024 * targets["ECSServiceAverageCPUUtilization"] / 100)),
            ceil(self.requests / self.busy_seconds * 60 / targets["ALBRequestCountPerTarget"]),
            ceil(self.streams / STREAMS_PER_CONTAINER),
        )

    @property
    def capacity_units(self) -> float:
        """The load balancer's capacity units in a busy hour. AWS bills the greatest of its measures."""
        hours = DAYS * BUSY_HOURS
        connections = 2 * self.visits / self.busy_seconds  # new ones a second
        gigabytes = self.sent_gigabytes + self.requests * REQUEST_BYTES / GIGABYTE
        return max(connections / 25, self.streams / 3_000, gigabytes / hours)


def fixed_costs() -> dict[str, float]:
    """The dollars of each line that does not depend on the messages."""
    endpoints = _resources("AWS::EC2::VPCEndpoint")
    interfaces = [endpoint for endpoint in endpoints if endpoint["VpcEndpointType"] == "Interface"]
    rules = [len(acl["Rules"]) for acl in _resources("AWS::WAFv2::WebACL")]
    zones = 2  # of the load balancer
    price_by_type = {
        "AWS::CloudWatch::Alarm": ALARM,
        "AWS::Logs::MetricFilter": METRIC,
        "AWS::SecretsManager::Secret": SECRET,
        "AWS::Config::ConfigRule": RULE_EVALUATION * DAYS,
    }
    return {
        "Interface endpoints": sum(len(endpoint["SubnetIds"]) for endpoint in interfaces) * ENDPOINT_HOUR * HOURS,
        "Load balancer and its addresses": (BALANCER_HOUR + zones * ADDRESS_HOUR) * HOURS,
        "Firewall and its rules": len(rules) * FIREWALL + sum(rules) * FIREWALL_RULE,
        "Alarms, metrics, secrets, Config": sum(len(_resources(kind)) * price for kind, price in price_by_type.items()),
    }


def bill(month: Month, *, streamed: bool = False) -> dict[str, float]:
    """The dollars of each line of the bill. The first lines are fixed costs, or have a minimum."""
    lines = fixed_costs()
    lines["Postgres in two zones"] = database(month, zones=2)
    lines["Containers"] = containers(month)
    lines["DynamoDB: writes"] = month.units(WRITES, streamed=streamed) * WRITE_UNIT
    lines["DynamoDB: reads"] = month.units(READS, streamed=streamed) * READ_UNIT
    lines["DynamoDB: a year of messages, and recovery"] = storage(month)
    lines["Lambda"] = month.messages * function_call() if streamed else 0.0
    lines["Cognito"] = identities(month, LITE)
    lines["Firewall: requests"] = month.requests * FIREWALL_REQUEST
    lines["Load balancer: traffic"] = month.capacity_units * CAPACITY_UNIT_HOUR * BUSY_HOURS * DAYS
    lines["Transfer to the internet"] = max(0.0, month.sent_gigabytes - FREE_TRANSFER_GB) * TRANSFER_GB
    lines["Log lines of requests"] = logs(month)
    return lines


def savings(month: Month) -> dict[str, float]:
    """The dollars that each choice of the operator saves. A negative amount is an extra cost."""
    firewall = fixed_costs()["Firewall and its rules"] + month.requests * FIREWALL_REQUEST
    inline, streamed = (sum(bill(month, streamed=mode).values()) for mode in (False, True))
    recorded = month.calls * (DATA_EVENT + EVENT_LOG_BYTES / GIGABYTE * LOG_GB)
    endpoints = fixed_costs()["Interface endpoints"]
    return {
        "`LogLevel=warning`": logs(month),
        "no firewall (template)": firewall,
        "interface endpoints in one zone (template)": endpoints / 2,
        "Postgres in one zone (template)": database(month, zones=2) - database(month, zones=1),
        "no point-in-time recovery (template)": stored_gigabytes(month) * RECOVERY_GB,
        "`GroupUpdates=stream`": inline - streamed,
        "the tier ESSENTIALS of the user pool": identities(month, LITE) - identities(month, ESSENTIALS),
        "a trail of the programs' calls": -recorded,
    }


def database(month: Month, *, zones: int) -> float:
    gigabytes = int(_resources("AWS::RDS::DBInstance")[0]["AllocatedStorage"])
    return zones * (DATABASE_HOUR[month.database_class] * HOURS + gigabytes * DATABASE_GB)


def containers(month: Month) -> float:
    [task] = resources("service", "AWS::ECS::TaskDefinition").values()
    hour = int(task["Cpu"]) / 1024 * VCPU_HOUR + int(task["Memory"]) / 1024 * MEMORY_GB_HOUR
    busy = BUSY_HOURS / 24
    return hour * HOURS * (month.containers * busy + _fewest_containers() * (1 - busy))


def stored_gigabytes(month: Month) -> float:
    return month.messages_per_day * KEPT_DAYS * STORED_BYTES / GIGABYTE


def storage(month: Month) -> float:
    return max(0.0, stored_gigabytes(month) - FREE_TABLE_GB) * TABLE_GB + stored_gigabytes(month) * RECOVERY_GB


def function_call() -> float:
    """The dollars of a call of message_stream for one message, with its log lines."""
    duration = FUNCTION_SECONDS * FUNCTION_GB * LAMBDA_GB_SECOND
    return LAMBDA_CALL + duration + FUNCTION_LOG_BYTES / GIGABYTE * LOG_GB


def identities(month: Month, tiers: tuple[tuple[int, Price], ...]) -> float:
    users, dollars = month.users - FREE_USERS, 0.0
    for count, price in tiers:
        dollars += max(0.0, min(users, count)) * price
        users -= count
    return dollars


def logs(month: Month) -> float:
    """The dollars for the log lines of requests: CloudWatch takes them in, through an endpoint of the VPC."""
    return month.requests * LINE_BYTES / GIGABYTE * (LOG_GB + ENDPOINT_GB)


def _fewest_containers() -> int:
    return int(template("service")["Parameters"]["LeastContainers"]["Default"])


def _resources(kind: str) -> list[dict[str, Any]]:
    """The properties of the resources of one type in all stacks."""
    return [properties for stack in STACKS for properties in resources(stack, kind).values()]
