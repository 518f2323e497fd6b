"""Runs clients of LaunchDarkly's Python SDK over its Redis and DynamoDB stores, as told on the standard input.

../README.md has the protocol. With the argument "time" it times the Redis store instead.
"""

import importlib.metadata
import json
import logging
import os
import sys
import time

from ldclient import Context
from ldclient.client import LDClient
from ldclient.config import BigSegmentsConfig, Config
from ldclient.feature_store import CacheConfig
from ldclient.integrations import DynamoDB, Redis
from ldclient.versioned_data_kind import FEATURES

UNCACHED = CacheConfig.disabled()
clients = {}


def open_client(wanted):
    prefix = wanted["prefix"]
    if wanted["store"] == "redis":
        store = Redis.new_feature_store(url=wanted["url"], prefix=prefix, caching=UNCACHED)
        big_segments = Redis.new_big_segment_store(url=wanted["url"], prefix=prefix)
    else:
        options = {
            "endpoint_url": wanted["url"],
            "region_name": "us-east-1",
            "aws_access_key_id": "dummy",
            "aws_secret_access_key": "dummy",
        }
        table = wanted["table"]
        store = DynamoDB.new_feature_store(table, prefix=prefix, dynamodb_opts=options, caching=UNCACHED)
        big_segments = DynamoDB.new_big_segment_store(table, prefix=prefix, dynamodb_opts=options)
    settings = {}
    if wanted["stream"] is None:
        settings["use_ldd"] = True
    else:
        for uri in ("base_uri", "events_uri", "stream_uri"):
            settings[uri] = wanted["stream"]
    config = Config(
        "sdk-key",
        feature_store=store,
        big_segments=BigSegmentsConfig(store=big_segments),
        send_events=False,
        diagnostic_opt_out=True,
        **settings,
    )
    clients[wanted["id"]] = LDClient(config, start_wait=30)
    return {}


def evaluate(wanted):
    client, user = clients[wanted["id"]], Context.create(wanted["user"])
    results = {}
    for flag in wanted["flags"]:
        detail = client.variation_detail(flag, user, None)
        result = {"value": detail.value}
        if detail.reason["kind"] == "ERROR":
            result["error"] = detail.reason["errorKind"]
        if "bigSegmentsStatus" in detail.reason:
            result["bigSegments"] = detail.reason["bigSegmentsStatus"]
        results[flag] = result
    return {"results": results, "all": client.all_flags_state(user).to_values_map()}


def close_client(name):
    clients.pop(name).close()
    return {}


def time_store(url, plan):
    """Prints the microseconds that one call of each operation takes on average."""
    flags, calls, template = plan["flags"], plan["calls"], plan["template"]
    store = Redis.new_feature_store(url=url, prefix=f"time-python-{os.getpid()}", caching=UNCACHED)

    def flag(i, version):
        return json.loads(template.replace("KEY", f"flag-{i}").replace("VERSION", str(version)))

    def average(calls, call):
        call(0)
        start = time.perf_counter()
        for i in range(calls):
            call(i + 1)
        return (time.perf_counter() - start) * 1e6 / calls

    everything = {FEATURES: {f"flag-{i}": flag(i, 1) for i in range(flags)}}
    times = {"init": average(3, lambda _: store.init(everything))}
    times["get"] = average(calls, lambda i: store.get(FEATURES, f"flag-{i % flags}"))
    times["upsert"] = average(calls, lambda i: store.upsert(FEATURES, flag(i % flags, i + 2)))
    times["get_all"] = average(3, lambda _: store.all(FEATURES, lambda found: found))
    print(json.dumps(times))


def main():
    logging.basicConfig(level=logging.ERROR)
    if sys.argv[1:2] == ["time"]:
        time_store(sys.argv[2], json.loads(sys.argv[3]))
        return
    answer = {"versions": f"SDK {importlib.metadata.version('launchdarkly-server-sdk')}"}
    handlers = {"open": open_client, "evaluate": evaluate, "close": close_client}
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        ((what, wanted),) = json.loads(line).items()
        try:
            answer = handlers[what](wanted)
        except Exception as error:  # whatever it is, the one who asked should know
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


main()
